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
};

/// Opens the control socket, with `replace` in the place of the one of a process that is relieved. `None` where it cannot be had and nobody asked for it.
///
/// # Errors
/// Why the one that the configuration names cannot be had.
pub(super) fn open(
    runtime: &Runtime,
    server: &config::Server,
    orders: &mpsc::Sender<Order>,
    replace: bool,
    bans: &Arc<Register>,
) -> Result<Option<Socket>, StartError> {
    let _inside = runtime.enter();
    let (path, orders, bans) = (server.control.clone(), orders.clone(), bans.clone());
    match Socket::open(&path, replace, move |request| answer(request, orders.clone(), bans.clone())) {
        Ok(socket) => Ok(Some(socket)),
        Err(source) if server.control_named => Err(StartError::Control { path, source }),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "there is no control socket: no command reaches this process");
            Ok(None)
        }
    }
}

async fn answer(request: Request, orders: mpsc::Sender<Order>, bans: Arc<Register>) -> Reply {
    let reply = match request {
        Request::Reload => give(&orders, Order::Reload).await.map(|reloaded| match reloaded {
            Ok(()) => Reply::Done("reloaded".to_owned()),
            Err(problems) => Reply::Refused(lines(&problems)),
        }),
        Request::Certificates => give(&orders, Order::Certificates)
            .await
            .map(|(loaded, reports)| Reply::Certificates(admin::certificates(loaded, &reports, SystemTime::now()))),
        Request::Acme(command) => give(&orders, |reply| Order::Acme(command, reply)).await.map(|done| match done {
            Ok(what) => Reply::Done(what),
            Err(what) => Reply::Refused(what),
        }),
        Request::Bans => Some(Reply::Bans(bans.list())),
        Request::Unban(whom) => Some(unban(whom.as_deref(), &bans)),
        Request::Drain => {
            let sent = orders.send(Order::Drain).await;
            sent.ok().map(|()| Reply::Done("stopping: no new sessions, running ones may end".to_owned()))
        }
    };
    reply.unwrap_or_else(|| Reply::Refused("mailward is stopping".to_owned()))
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
