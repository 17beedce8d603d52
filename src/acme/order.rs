//! One order, from the names to a certificate in the cache (RFC 8555 §7.4).
//!
//! Its URL is kept from the moment the authority says it, so that whoever is interrupted goes on with it instead of
//! asking for another.

use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::KeyPair;
use tokio::sync::watch;

use super::{
    Answers,
    account::{Accounts, Opened},
    cache::{Cache, SavedOrder, State, Wanted},
    chain,
    challenge::{self, Proof},
    client::Https,
    fault::{Fault, words_of},
    key,
};
use crate::{
    config::{Acme, KeyType},
    policy::renewal::Failing,
    tls::{self, Loaded},
};

/// How the authority is asked how far it is, where it does not say when to ask.
const POLL: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(Duration::from_secs(300));

/// Everything that an order needs.
pub(super) struct Ordering<'a> {
    pub settings: &'a Acme,
    pub key_type: KeyType,
    pub cache: &'a Cache,
    pub answers: &'a Answers,
    pub https: &'a Https,
    /// Says when the process stops: what was shown to the authority is then taken away at once.
    pub stopping: watch::Receiver<bool>,
}

impl Ordering<'_> {
    /// Gets a certificate, in place of `old`, and keeps it.
    ///
    /// # Errors
    /// Whatever came in between. An order that may still be gone on with is in `state`, and in the cache.
    pub(super) async fn obtain(&mut self, state: &mut State, old: Option<&Loaded>) -> Result<Loaded, Fault> {
        let key = key::for_order(self.settings, self.key_type, self.cache)?;
        let accounts = Accounts { settings: self.settings, cache: self.cache, https: self.https };
        let mut account = match accounts.open().await {
            Err(fault) if fault.is("accountDoesNotExist") => accounts.open_again().await?,
            opened => opened?,
        };
        let order = match self.order(&account.account, state, old).await {
            Err(fault) if fault.is("accountDoesNotExist") => {
                account = accounts.open_again().await?;
                state.order = None;
                self.order(&account.account, state, old).await
            }
            order => order,
        };
        let pem = self.fulfil(order?, &key, &account, state).await?;
        self.keep(&key, &pem, state)
    }

    /// The order under way, if it can be gone on with, or a new one.
    async fn order(&self, account: &Account, state: &mut State, old: Option<&Loaded>) -> Result<Order, Fault> {
        let wanted = Wanted::by(self.settings);
        if let Some(SavedOrder { url, .. }) = state.order.clone().filter(|saved| saved.wanted == wanted)
            && let Some(order) = self.go_on(account, url).await?
        {
            return Ok(order);
        }
        let order = self.new_order(account, old).await?;
        state.order = Some(SavedOrder { url: order.url().to_owned(), wanted });
        self.cache.keep_state(self.key_type, state)?;
        Ok(order)
    }

    /// The order at `url`; `None` where it is closed or forgotten by now.
    async fn go_on(&self, account: &Account, url: String) -> Result<Option<Order>, Fault> {
        match account.order(url).await.map_err(|error| self.fault(error)) {
            Ok(mut order) => Ok((order.state().status != OrderStatus::Invalid).then_some(order)),
            Err(fault) if fault.failing == Failing::Refused && !fault.is("accountDoesNotExist") => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn new_order(&self, account: &Account, old: Option<&Loaded>) -> Result<Order, Fault> {
        let names: Vec<_> = self.settings.domains.iter().cloned().map(Identifier::Dns).collect();
        let plain = || {
            let order = NewOrder::new(&names);
            match &self.settings.profile {
                Some(profile) => order.profile(profile),
                None => order,
            }
        };
        // RFC 9773 §5: it names the certificate that it takes the place of. An authority without renewal information
        // knows no such thing, and one that has taken it for replaced already refuses; neither is a reason to fail.
        if let Some(replaced) = old.and_then(|old| CertificateIdentifier::try_from(&old.key.cert[0]).ok()) {
            match account.new_order(&plain().replaces(replaced)).await {
                Ok(order) => return Ok(order),
                Err(instant_acme::Error::Unsupported(_)) => {}
                // It made an order and did not repeat the field, as it should have.
                Err(instant_acme::Error::Other(inner)) if !inner.is::<Fault>() => {}
                Err(error) => match self.fault(error) {
                    fault if fault.is("alreadyReplaced") || fault.is("conflict") => {}
                    fault => return Err(fault),
                },
            }
        }
        account.new_order(&plain()).await.map_err(|error| self.fault(error).while_doing("the order"))
    }

    /// Everything between an order and its certificate.
    async fn fulfil(
        &mut self,
        mut order: Order,
        key: &KeyPair,
        account: &Opened,
        state: &mut State,
    ) -> Result<String, Fault> {
        let fulfilled = self.try_fulfil(&mut order, key, account).await;
        if let Err(fault) = &fulfilled {
            // An order that the authority has closed leads nowhere any more.
            let refreshed = order.refresh().await;
            if refreshed.is_ok_and(|seen| seen.status == OrderStatus::Invalid) {
                state.order = None;
                return Err(self.reason(&mut order).await.unwrap_or_else(|| fault.clone()));
            }
        }
        fulfilled
    }

    async fn try_fulfil(&mut self, order: &mut Order, key: &KeyPair, account: &Opened) -> Result<String, Fault> {
        if order.state().status == OrderStatus::Pending {
            self.prove(order).await?;
        }
        if order.state().status == OrderStatus::Ready {
            let request = key::request(self.settings, key)?;
            let finalized = order.finalize_csr(&request).await;
            finalized.map_err(|error| self.fault(error).while_doing("the request for the certificate"))?;
        }
        let chain = order.poll_certificate(&POLL).await;
        let chain = chain.map_err(|error| self.fault(error).while_doing("the certificate"))?;
        match &self.settings.preferred_chain {
            None => Ok(chain),
            Some(root) => chain::choose(root, chain, &self.https.heard.alternates(), self.https, account).await,
        }
    }

    /// Shows the authority all that it wants to see, until it has seen it.
    async fn prove(&mut self, order: &mut Order) -> Result<(), Fault> {
        let proofs = self.proofs(order).await?;
        let mut stopping = self.stopping.clone();
        let proved = tokio::select! {
            proved = self.show(order, &proofs) => proved,
            _ = stopping.wait_for(|stopping| *stopping) => Err(Fault::ours("mailward is stopping")),
        };
        challenge::withdraw(self.settings, self.answers, &proofs).await;
        proved
    }

    async fn proofs(&self, order: &mut Order) -> Result<Vec<Proof>, Fault> {
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.fault(error))?;
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => {
                    let name = authorization.identifier().to_string();
                    return Err(Fault::refused(format!("{name}: the authorization is {status:?}")));
                }
            }
            let offered: Vec<_> = authorization.challenges.iter().map(|one| format!("{:?}", one.r#type)).collect();
            let name = authorization.identifier().to_string();
            match authorization.challenge(challenge::kind(&self.settings.challenge)) {
                Some(challenge) => proofs.push(Proof::of(&challenge)),
                None => {
                    let words = format!("{name}: the authority does not offer the challenge; it offers {offered:?}");
                    return Err(Fault::refused(words));
                }
            }
        }
        Ok(proofs)
    }

    async fn show(&self, order: &mut Order, proofs: &[Proof]) -> Result<(), Fault> {
        challenge::present(self.settings, self.answers, proofs).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.fault(error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            if let Some(mut challenge) = authorization.challenge(challenge::kind(&self.settings.challenge)) {
                challenge.set_ready().await.map_err(|error| self.fault(error))?;
            }
        }
        match order.poll_ready(&POLL).await.map_err(|error| self.fault(error))? {
            OrderStatus::Ready => Ok(()),
            status => Err(Fault::refused(format!("the order is {status:?}"))),
        }
    }

    /// Why the authority has closed an order: the reason stands in the challenges' errors.
    async fn reason(&self, order: &mut Order) -> Option<Fault> {
        let mut words = Vec::new();
        let mut fault = None;
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.refresh().await.is_err() {
                continue;
            }
            let name = authorization.identifier().to_string();
            for problem in authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref()) {
                words.push(format!("{name}: {}", words_of(problem)));
                fault = Some(Fault::of_problem(problem));
            }
        }
        fault.map(|fault| Fault { words: words.join("; "), retry_at: self.https.heard.retry_at(), ..fault })
    }

    /// Looks at what the authority sent before it comes into force.
    fn keep(&self, key: &KeyPair, chain: &str, state: &mut State) -> Result<Loaded, Fault> {
        let pem = key.serialize_pem();
        let loaded = tls::load_certificate(chain, &pem, SystemTime::now()).map_err(|error| {
            // The next attempt has nothing to gain from this order.
            state.order = None;
            Fault::refused(format!("the certificate that the authority sent cannot be used: {error}"))
        })?;
        if let Some(missing) = self.settings.domains.iter().find(|name| !loaded.names.contains(name)) {
            state.order = None;
            return Err(Fault::refused(format!("the certificate that the authority sent is not for {missing}")));
        }
        self.cache.keep_certificate(self.key_type, &pem, chain)?;
        Ok(loaded)
    }

    fn fault(&self, error: instant_acme::Error) -> Fault {
        Fault::of(error, self.https.heard.retry_at())
    }
}
