//! What comes in by the control socket becomes an order to the control thread, and what comes of it the reply.

use std::time::SystemTime;

use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

use super::{Order, StartError};
use crate::{
    admin::{self, Reply, Request, Socket},
    config,
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
) -> Result<Option<Socket>, StartError> {
    let _inside = runtime.enter();
    let (path, orders) = (server.control.clone(), orders.clone());
    match Socket::open(&path, replace, move |request| answer(request, orders.clone())) {
        Ok(socket) => Ok(Some(socket)),
        Err(source) if server.control_named => Err(StartError::Control { path, source }),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "there is no control socket: no command reaches this process");
            Ok(None)
        }
    }
}

async fn answer(request: Request, orders: mpsc::Sender<Order>) -> Reply {
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
        Request::Drain => {
            let sent = orders.send(Order::Drain).await;
            sent.ok().map(|()| Reply::Done("stopping: no new sessions, running ones may end".to_owned()))
        }
    };
    reply.unwrap_or_else(|| Reply::Refused("mailward is stopping".to_owned()))
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
