//! The account at an authority: asked for once, kept, and asked for again only where the authority has lost it.
//!
//! Without an external binding the key is kept before the account is asked for, so that nothing can be lost between the
//! two. With one, which is often good for one account only, instant-acme makes the key itself; the cache has then been
//! proved writable before ([`Cache::prove`]).

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use instant_acme::{Account, ExternalAccountKey, Key, NewAccount};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::{
    cache::{Cache, SavedAccount},
    client::Https,
    fault::Fault,
};
use crate::config::{Acme, Binding};

/// An account that can be used.
pub(super) struct Opened {
    /// The library's view of it.
    pub account: Account,
    /// Its private key, PKCS#8 in DER.
    pub key: Vec<u8>,
}

/// The way to one account.
pub(super) struct Accounts<'a> {
    pub settings: &'a Acme,
    pub cache: &'a Cache,
    pub https: &'a Https,
}

impl Accounts<'_> {
    /// The account that there is, or a new one.
    pub(super) async fn open(&self) -> Result<Opened, Fault> {
        match (self.known()?, &self.settings.binding) {
            (Some(SavedAccount { url: Some(url), key, contact, .. }), _) => self.reopen(&url, &key, &contact).await,
            (_, Some(binding)) => self.bind(binding).await,
            (Some(known), None) => self.register(known).await,
            (None, None) => {
                let (_, key) = Key::generate_pkcs8().map_err(|error| self.fault(error))?;
                self.register(self.saved(key.secret_pkcs8_der(), None, &[])).await
            }
        }
    }

    /// The authority does not know the account any more: it is asked for with the same key, as if it were new.
    pub(super) async fn open_again(&self) -> Result<Opened, Fault> {
        tracing::warn!(acme = %self.settings.id, "the authority has lost the account; a new one is asked for");
        match (&self.settings.binding, self.known()?) {
            (None, Some(known)) => self.register(SavedAccount { url: None, ..known }).await,
            (Some(binding), _) => self.bind(binding).await,
            (None, None) => self.open().await,
        }
    }

    /// What the cache has of an account at this directory.
    fn known(&self) -> Result<Option<SavedAccount>, Fault> {
        Ok(self.cache.account()?.filter(|saved| saved.directory == self.settings.directory))
    }

    async fn reopen(&self, url: &str, key: &str, told: &[String]) -> Result<Opened, Fault> {
        let der = decode(key)?;
        let builder = Account::builder_with_http(Box::new(self.https.clone()));
        let parts = (url.to_owned(), PrivatePkcs8KeyDer::from(&*der), self.settings.directory.clone());
        let account = builder.from_parts(parts.0, parts.1, parts.2).await.map_err(|error| self.fault(error))?;
        if told != self.settings.contact {
            self.tell_contacts(&account, &der).await?;
        }
        Ok(Opened { account, key: der })
    }

    /// Asks for the account of a key, which is in the cache by then; one that exists already is what one gets.
    async fn register(&self, saved: SavedAccount) -> Result<Opened, Fault> {
        self.cache.keep_account(&saved)?;
        let der = decode(&saved.key)?;
        let key = Key::from_pkcs8_der(PrivatePkcs8KeyDer::from(&*der)).map_err(|error| self.fault(error))?;
        let both = (key, PrivatePkcs8KeyDer::from(der.clone()).into());
        let builder = Account::builder_with_http(Box::new(self.https.clone()));
        let created = builder.create_from_key(both, self.settings.directory.clone()).await;
        let (account, _) = created.map_err(|error| self.fault(error))?;
        self.cache.keep_account(&self.saved(&der, Some(account.id()), &[]))?;
        if !self.settings.contact.is_empty() {
            self.tell_contacts(&account, &der).await?;
        }
        Ok(Opened { account, key: der })
    }

    async fn bind(&self, binding: &Binding) -> Result<Opened, Fault> {
        let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = ExternalAccountKey::new(binding.kid.clone(), &binding.hmac_key);
        let builder = Account::builder_with_http(Box::new(self.https.clone()));
        let created = builder.create(&new, self.settings.directory.clone(), Some(&external)).await;
        let (account, credentials) = created.map_err(|error| self.fault(error))?;
        let key = credentials.private_key().secret_pkcs8_der().to_vec();
        self.cache.keep_account(&self.saved(&key, Some(account.id()), &self.settings.contact))?;
        Ok(Opened { account, key })
    }

    async fn tell_contacts(&self, account: &Account, key: &[u8]) -> Result<(), Fault> {
        let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
        account.update_contacts(&contact).await.map_err(|error| self.fault(error))?;
        Ok(self.cache.keep_account(&self.saved(key, Some(account.id()), &self.settings.contact))?)
    }

    fn saved(&self, key: &[u8], url: Option<&str>, contact: &[String]) -> SavedAccount {
        SavedAccount {
            directory: self.settings.directory.clone(),
            key: BASE64_URL_SAFE_NO_PAD.encode(key),
            url: url.map(str::to_owned),
            contact: contact.to_vec(),
        }
    }

    fn fault(&self, error: instant_acme::Error) -> Fault {
        let fault = Fault::of(error, self.https.heard.retry_at()).while_doing("the account");
        if fault.is("externalAccountRequired") && self.settings.binding.is_none() {
            let words = "the authority wants an account that it knows already: set eab.kid and eab.hmac-key";
            return Fault { words: format!("{words} ({})", fault.words), ..fault };
        }
        fault
    }
}

fn decode(key: &str) -> Result<Vec<u8>, Fault> {
    BASE64_URL_SAFE_NO_PAD.decode(key).map_err(|error| Fault::ours(format!("the key in account.json: {error}")))
}
