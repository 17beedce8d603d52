//! Mail hosts of a world whose every word a test may choose, and which keep what they are told.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, mem};

use rustls::ServerConfig;

use super::world::World;
use crate::support::gateway::authority::Issued;
use crate::support::gateway::fake::Fake;
use crate::support::gateway::secured::showing;
use crate::support::gateway::talk::Talk;
use crate::support::process::wait::eventually;

/// Mail hosts on port 25 of one or several addresses of a world. They take every message, until a test says otherwise.
#[derive(Debug)]
pub struct MailHosts {
    state: Arc<State>,
}

/// Mail hosts in the making.
pub struct MailHostsBuilder {
    addresses: Vec<Ipv4Addr>,
    manner: Manner,
}

/// One connection, as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// The address that was connected to.
    pub at: String,
    /// The name that was asked for in the handshake, once that is over: inside TLS are the commands behind STARTTLS.
    pub tls: Option<String>,
    /// The commands, without their line ends.
    pub commands: Vec<String>,
    /// The messages that came with their end, without stuffing.
    pub messages: Vec<Vec<u8>>,
    /// What came of a message without an end.
    pub torn: Vec<u8>,
    /// Whether it is over.
    pub is_over: bool,
}

/// What a host is about to answer.
#[derive(Debug)]
pub struct Said<'a> {
    /// The host's address.
    pub at: &'a str,
    /// Which connection it is, from 0, of all hosts together.
    pub visit: usize,
    /// Whether it is inside TLS.
    pub tls: bool,
    /// The command; empty before the greeting, a dot for the end of a message.
    pub command: &'a str,
}

/// What all connections have in common.
#[derive(Debug)]
struct State {
    manner: Mutex<Arc<Manner>>,
    visits: Mutex<Vec<Visit>>,
}

type Words = Box<dyn Fn(&Said<'_>) -> Option<String> + Send + Sync>;

/// How they are.
struct Manner {
    tls: Option<Arc<ServerConfig>>,
    offered: String,
    words: Words,
}

impl MailHosts {
    /// No answer.
    pub const SILENCE: &str = "\0";

    /// One at [`World::MAIL_HOST`] with the world's certificate, and with the usual extensions.
    pub fn builder(world: &World) -> MailHostsBuilder {
        let offered = "PIPELINING\nSIZE 10000000\n8BITMIME\nENHANCEDSTATUSCODES".into();
        let manner = Manner { tls: Some(showing(&world.certificate)), offered, words: Box::new(|_| None) };
        MailHostsBuilder { addresses: vec![World::MAIL_HOST.parse().expect("an address")], manner }
    }

    /// Has them be as those, for connections from now on; the addresses stay.
    pub fn become_those(&self, others: MailHostsBuilder) {
        *locked(&self.state.manner) = Arc::new(others.manner);
    }

    /// Every connection so far, in the order in which they came.
    pub fn visits(&self) -> Vec<Visit> {
        locked(&self.state.visits).clone()
    }

    /// The same, once all of them are over.
    #[track_caller]
    pub fn all(&self) -> Vec<Visit> {
        let all = eventually(|| Some(self.visits()).filter(|visits| visits.iter().all(|visit| visit.is_over)));
        all.unwrap_or_else(|| panic!("not all is over: {:#?}", self.visits()))
    }

    /// The messages so far.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        self.visits().into_iter().flat_map(|visit| visit.messages).collect()
    }

    /// The addresses that were connected to, in that order.
    pub fn order(&self) -> Vec<String> {
        self.visits().into_iter().map(|visit| visit.at).collect()
    }

    /// The verbs of all commands so far.
    pub fn verbs(&self) -> Vec<String> {
        let verb = |command: &String| command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        self.visits().iter().flat_map(|visit| &visit.commands).map(verb).collect()
    }

    /// Forgets all connections so far.
    pub fn forget(&self) {
        self.all();
        locked(&self.state.visits).clear();
    }
}

impl MailHostsBuilder {
    /// At these addresses.
    pub fn at(mut self, addresses: &[&str]) -> Self {
        self.addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self
    }

    /// With this certificate.
    pub fn showing(self, issued: &Issued) -> Self {
        self.with_tls(showing(issued))
    }

    /// With TLS by this configuration.
    pub fn with_tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.manner.tls = Some(config);
        self
    }

    /// Without STARTTLS.
    pub fn clear(mut self) -> Self {
        self.manner.tls = None;
        self
    }

    /// With these extensions beside STARTTLS, one a line.
    pub fn offering(mut self, offered: &str) -> Self {
        self.manner.offered = offered.into();
        self
    }

    /// With these words where there are any; empty ones close the connection, and [`MailHosts::SILENCE`] is nothing
    /// more, until the client goes.
    pub fn saying<W: Into<String>>(mut self, words: impl Fn(&Said<'_>) -> Option<W> + Send + Sync + 'static) -> Self {
        self.manner.words = Box::new(move |said| words(said).map(Into::into));
        self
    }

    /// Has them listen.
    pub fn start(self, world: &World) -> MailHosts {
        let state = Arc::new(State { manner: Mutex::new(Arc::new(self.manner)), visits: Mutex::default() });
        let start = |address: &Ipv4Addr| {
            let (state, at) = (state.clone(), address.to_string());
            Fake::at((*address, 25).into(), move |talk, _| Session::new(&at, &state).serve(talk));
        };
        world.namespace.inside(|| self.addresses.iter().for_each(start));
        MailHosts { state }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection's server.
struct Session<'a> {
    at: &'a str,
    manner: Arc<Manner>,
    visits: &'a Mutex<Vec<Visit>>,
    number: usize,
    held: Vec<u8>,
}

impl<'a> Session<'a> {
    fn new(at: &'a str, state: &'a State) -> Self {
        let mut visits = locked(&state.visits);
        visits.push(Visit { at: at.into(), ..Visit::default() });
        let (manner, number) = (locked(&state.manner).clone(), visits.len() - 1);
        Self { at, manner, visits: &state.visits, number, held: Vec::new() }
    }

    fn note(&self, change: impl FnOnce(&mut Visit)) {
        // A test may have forgotten it.
        if let Some(visit) = locked(self.visits).get_mut(self.number) {
            change(visit);
        }
    }

    fn serve(mut self, talk: Talk) {
        self.talk(talk);
        self.note(|visit| visit.is_over = true);
    }

    /// Ends where the client goes away, however it does, or the test has the connection closed.
    fn talk(&mut self, mut talk: Talk) -> Option<()> {
        let mut tls = false;
        self.say(&mut talk, tls, "", "220 mx ESMTP")?;
        loop {
            let command = self.line(&mut talk)?;
            self.note(|visit| visit.commands.push(command.clone()));
            let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let list = self.list(tls);
            let usual = match verb.as_str() {
                "EHLO" => &list,
                "STARTTLS" if self.manner.tls.is_some() && !tls => "220 2.0.0 go on",
                "MAIL" => "250 2.1.0 fine",
                "RCPT" => "250 2.1.5 fine",
                "DATA" => "354 go on",
                "RSET" | "NOOP" => "250 2.0.0 fine",
                "QUIT" => "221 2.0.0 bye",
                _ => "500 5.5.1 what",
            };
            let said = self.say(&mut talk, tls, &command, usual)?;
            match (verb.as_str(), said) {
                ("QUIT", _) => return Some(()),
                ("STARTTLS", 220) => {
                    talk = talk.serve_tls(self.manner.tls.clone()?).ok()?;
                    tls = true;
                    let name = talk.serving().server_name().unwrap_or_default().to_owned();
                    self.note(|visit| visit.tls = Some(name));
                }
                ("DATA", 354) => {
                    let message = self.message(&mut talk)?;
                    self.note(|visit| visit.messages.push(message));
                    self.say(&mut talk, tls, ".", "250 2.0.0 taken")?;
                }
                _ => {}
            }
        }
    }

    fn list(&self, tls: bool) -> String {
        let start_tls = (self.manner.tls.is_some() && !tls).then_some("STARTTLS");
        let lines: Vec<_> = self.manner.offered.lines().chain(start_tls).chain(["HELP"]).collect();
        let last = lines.len() - 1;
        let line = |(at, line)| format!("\r\n250{}{line}", if at < last { '-' } else { ' ' });
        format!("250-mx{}", lines.iter().enumerate().map(line).collect::<String>())
    }

    /// Says the test's words or else the usual ones; the code.
    fn say(&self, talk: &mut Talk, tls: bool, command: &str, usual: &str) -> Option<u16> {
        let said = Said { at: self.at, visit: self.number, tls, command };
        let words = (self.manner.words)(&said).unwrap_or_else(|| usual.into());
        if words == MailHosts::SILENCE {
            talk.rest();
            return None;
        }
        if words.is_empty() {
            talk.cut();
            return None;
        }
        talk.try_send(format!("{words}\r\n")).ok()?;
        words.lines().last()?.get(..3)?.parse().ok()
    }

    fn line(&mut self, talk: &mut Talk) -> Option<String> {
        let line = self.through(talk, b"\r\n").ok()?;
        Some(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
    }

    fn message(&mut self, talk: &mut Talk) -> Option<Vec<u8>> {
        // The line end of DATA is one that a dot may follow.
        self.held.splice(..0, *b"\r\n");
        match self.through(talk, b"\r\n.\r\n") {
            Ok(stuffed) => Some(unstuffed(&stuffed[2..stuffed.len() - 3])),
            Err(torn) => {
                self.note(|visit| visit.torn = torn[2..].to_vec());
                None
            }
        }
    }

    /// What comes up to and with this; or all that came before the end.
    fn through(&mut self, talk: &mut Talk, end: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        loop {
            if let Some(at) = self.held.windows(end.len()).position(|window| window == end) {
                return Ok(self.held.drain(..at + end.len()).collect());
            }
            let some = talk.some();
            if some.is_empty() {
                return Err(mem::take(&mut self.held));
            }
            self.held.extend(some);
        }
    }
}

/// RFC 5321 §4.5.2: without the dot in front of a line that begins with one; only CRLF ends a line.
fn unstuffed(stuffed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(stuffed.len());
    for (at, byte) in stuffed.iter().enumerate() {
        let is_first = at == 0 || stuffed[..at].ends_with(b"\r\n");
        plain.extend((!is_first || *byte != b'.').then_some(*byte));
    }
    plain
}

impl fmt::Debug for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manner").field("offered", &self.offered).finish_non_exhaustive()
    }
}
