//! A mail server in good order that keeps every byte it was sent, so that a test can say what did not reach it.

mod server;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use self::server::Server;
use super::dialect::Dialect;
use super::fake::Fake;
use super::talk::Talk;
use crate::support::process::wait::eventually;

/// The server. It offers everything that a gateway has to hide, and takes every login and every message.
#[derive(Debug)]
pub struct Witness {
    fake: Fake,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// What came over one connection.
#[derive(Clone, Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    messages: usize,
    ended: bool,
}

impl Witness {
    /// Starts one for a protocol.
    pub fn start(dialect: &'static Dialect) -> Self {
        Self::lacking(dialect, "nothing")
    }

    /// Starts one without the capabilities that have this word in them.
    pub fn lacking(dialect: &'static Dialect, word: &'static str) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        let fake = Fake::start(move |talk, number| serve(talk, Server::new(dialect, word), &kept, number));
        Self { fake, heard }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.fake.address()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.fake.connections()
    }

    /// Everything that it was sent, once every connection has ended.
    #[track_caller]
    pub fn heard(&self) -> String {
        let whole = self.whole();
        let bytes: Vec<u8> = whole.iter().flat_map(|heard| heard.bytes.clone()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How many messages it took, once every connection has ended.
    #[track_caller]
    pub fn messages(&self) -> usize {
        self.whole().iter().map(|heard| heard.messages).sum()
    }

    #[track_caller]
    fn whole(&self) -> Vec<Heard> {
        let whole = eventually(|| {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (heard.len() == self.connections() && heard.iter().all(|heard| heard.ended)).then_some(heard)
        });
        whole.expect("every connection to the backend ends")
    }
}

fn serve(mut talk: Talk, mut server: Server, heard: &Mutex<Vec<Heard>>, number: usize) {
    let note = |change: &mut dyn FnMut(&mut Heard)| {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() <= number {
            heard.resize(number + 1, Heard::default());
        }
        change(&mut heard[number]);
    };
    note(&mut |_| {});
    let mut open = talk.try_send(server.greeting()).is_ok();
    while open {
        let bytes = talk.some();
        note(&mut |heard| heard.bytes.extend_from_slice(&bytes));
        let answer = server.take(&bytes);
        note(&mut |heard| heard.messages = server.messages);
        open = !bytes.is_empty() && talk.try_send(answer).is_ok() && !server.left;
    }
    note(&mut |heard| heard.ended = true);
}
