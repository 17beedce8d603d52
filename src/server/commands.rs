//! What comes in by the control socket becomes an order to the control thread, and what comes of it the reply.

use std::{sync::Arc, time::SystemTime};

use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

use super::{Order, StartError};
use crate::{
    admin::{self, Reply, Request, Socket},
    config,
    inbound::bans::{self, Register},
    outbound::store::Store,
    policy::mta_sts::Known,
};

/// Where requests are answered.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    /// What the control thread is told.
    pub(super) orders: mpsc::Sender<Order>,
    /// Who is banned.
    pub(super) bans: Arc<Register>,
    /// What is remembered of mail on its way out.
    pub(super) remembered: Store,
}

/// Opens the control socket, with `replace` in the place of the one of a process that is relieved. `None` where it cannot be had and nobody asked for it.
///
/// # Errors
/// Why the one that the configuration names cannot be had.
pub(super) fn open(
    runtime: &Runtime,
    server: &config::Server,
    replace: bool,
    desk: Desk,
) -> Result<Option<Socket>, StartError> {
    let _inside = runtime.enter();
    let path = server.control.clone();
    match Socket::open(&path, replace, move |request| desk.clone().answer(request)) {
        Ok(socket) => Ok(Some(socket)),
        Err(source) if server.control_named => Err(StartError::Control { path, source }),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "there is no control socket: no command reaches this process");
            Ok(None)
        }
    }
}

impl Desk {
    async fn answer(self, request: Request) -> Reply {
        let orders = &self.orders;
        let reply = match request {
            Request::Reload => give(orders, Order::Reload).await.map(|reloaded| match reloaded {
                Ok(()) => Reply::Done("reloaded".to_owned()),
                Err(problems) => Reply::Refused(lines(&problems)),
            }),
            Request::Certificates => give(orders, Order::Certificates)
                .await
                .map(|(loaded, reports)| Reply::Certificates(admin::certificates(loaded, &reports, SystemTime::now()))),
            Request::Acme(command) => give(orders, |reply| Order::Acme(command, reply)).await.map(|done| match done {
                Ok(what) => Reply::Done(what),
                Err(what) => Reply::Refused(what),
            }),
            Request::Bans => Some(Reply::Bans(self.bans.list())),
            Request::Unban(whom) => Some(unban(whom.as_deref(), &self.bans)),
            Request::Policies => Some(list_policies(&self.remembered).await),
            Request::ForgetPolicy(domain) => Some(forget_policy(&domain, &self.remembered).await),
            Request::Drain => {
                let sent = orders.send(Order::Drain).await;
                sent.ok().map(|()| Reply::Done("stopping: no new sessions, running ones may end".to_owned()))
            }
        };
        reply.unwrap_or_else(|| Reply::Refused("mailward is stopping".to_owned()))
    }
}

async fn list_policies(remembered: &Store) -> Reply {
    // What the process before has left is among it.
    remembered.settled().await;
    Reply::Policies(admin::policies(remembered.policies()))
}

async fn forget_policy(domain: &str, remembered: &Store) -> Reply {
    remembered.settled().await;
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if remembered.policy(domain) == Known::default() {
        return Reply::Refused(format!("nothing is known of a policy of {domain:?}"));
    }
    remembered.revise_policy(domain, SystemTime::now(), |_| Known::default());
    tracing::info!(domain, "what was known of an MTA-STS policy is forgotten by command");
    Reply::Done("forgotten: the next message for the domain asks for its policy anew".to_owned())
}

fn unban(whom: Option<&str>, bans: &Register) -> Reply {
    let network = match whom.map(|whom| (whom, bans::network(whom))) {
        Some((whom, None)) => return Reply::Refused(format!("{whom:?} is neither an address nor a network")),
        named => named.and_then(|(_, network)| network),
    };
    match (bans.lift(network), whom) {
        (0, Some(whom)) => Reply::Refused(format!("{whom} is not banned")),
        (lifted, _) => {
            tracing::info!(lifted, of = whom.unwrap_or("all"), "bans lifted by command");
            Reply::Done(format!("bans lifted: {lifted}"))
        }
    }
}

/// Gives an order and waits for what comes of it; `None` where nobody takes orders any more.
async fn give<T>(orders: &mpsc::Sender<Order>, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    orders.send(order(reply)).await.ok()?;
    answer.await.ok()
}

fn lines(problems: &config::Problems) -> String {
    problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::mta_sts::{Mode, Policy, Published};
    use std::time::Duration;

    #[tokio::test]
    async fn a_policy_that_has_gone_bad_is_forgotten_whatever_the_case_of_its_name() {
        let remembered = Store::default();
        let (max_age, now) = (Duration::from_secs(86_400), SystemTime::now());
        let policy = Policy { mode: Mode::Enforce, mx: vec!["mx.example.org".into()], max_age, lines: Vec::new() };
        let held = Known::default().fetched(policy, &Published::Id("1".into()), now);
        remembered.revise_policy("example.org", now, |_| held);
        let failed = Known::default().failed("404".into(), &Published::Id("1".into()), now);
        remembered.revise_policy("failed.example", now, |_| failed);
        let Reply::Policies(all) = list_policies(&remembered).await else { panic!("no list") };
        let domains: Vec<_> = all.iter().map(|policy| (policy.domain.as_str(), policy.held.is_some())).collect();
        assert_eq!(domains, [("example.org", true), ("failed.example", false)]);
        for domain in ["Example.ORG.", "failed.example"] {
            assert!(matches!(forget_policy(domain, &remembered).await, Reply::Done(_)));
            let refused = forget_policy(domain, &remembered).await;
            assert!(matches!(refused, Reply::Refused(_)), "{refused:?}");
        }
        assert_eq!(list_policies(&remembered).await, Reply::Policies(Vec::new()));
    }
}
