//! A client that says all it may say at once (RFC 2920), and looks at each reply.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::sender::{Mail, Sender, Told};
use crate::support::{Namespace, Talk, relaying, stuffed};

/// How long a client waits at most for the reply to RCPT and most others, to DATA, to the end of a message, and for a
/// stretch of it to be taken (RFC 5321 §4.5.3.2).
const REPLY: Duration = Duration::from_mins(5);
const DATA: Duration = Duration::from_mins(2);
const END: Duration = Duration::from_mins(10);
const BLOCK: Duration = Duration::from_mins(3);

/// The client. It keeps what it has to send again.
pub(crate) struct Raw<'a> {
    namespace: &'a Namespace,
    lmtp: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    told: HashMap<String, Vec<Told>>,
    kept: Vec<Mail>,
    broken: Vec<String>,
}

impl<'a> Raw<'a> {
    /// A client of one of the listeners.
    pub(crate) fn new(namespace: &'a Namespace, lmtp: bool) -> Self {
        Self { namespace, lmtp, state: Mutex::default() }
    }

    /// Sends some of a message, or all of it, waits `until` then, and goes away.
    pub(crate) fn go_away_after(&self, to: &[String], text: &[u8], until: impl FnOnce()) {
        let mut session = self.session();
        session.begin(to).expect("replies");
        session.talk.send(text);
        until();
        session.talk.cut();
    }

    /// How long the reply to each recipient of one message takes to come, from when all were asked for.
    pub(crate) fn waits_for(&self, to: &[String]) -> Vec<Duration> {
        let mut session = self.session();
        session.greet().expect("a greeting");
        session.ask_for(to);
        let begun = Instant::now();
        session.expect("250").expect("the reply to MAIL");
        to.iter().map(|_| session.reply(REPLY).map(|_| begun.elapsed()).expect("a reply")).collect()
    }

    fn session(&self) -> Session {
        let address: SocketAddr = if self.lmtp { relaying::LMTP } else { relaying::SMTP };
        let talk = self.namespace.inside(|| Talk::to(address));
        talk.socket().set_write_timeout(Some(BLOCK)).expect("a timeout");
        Session { talk, lmtp: self.lmtp, replies: Vec::new() }
    }

    fn attempt(&self, mail: &Mail) {
        let mut session = self.session();
        let done = session.send(mail);
        let mut state = self.state();
        let mut again = Vec::new();
        for to in &mail.to {
            let replies = session.replies.iter().filter(|(it, _)| it == to).map(|(_, reply)| reply);
            match replies.collect::<Vec<_>>().as_slice() {
                [reply] => {
                    let told = told(reply);
                    again.extend(told.is_later().then(|| to.clone()));
                    state.told.entry(to.clone()).or_default().push(told);
                }
                replies => state.broken.push(format!("{to}: {} replies: {replies:?}", replies.len())),
            }
        }
        state.broken.extend(done.err().map(|error| format!("{}: {error}", mail.to.join(" "))));
        if !again.is_empty() {
            state.kept.push(Mail { to: again, text: mail.text.clone() });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(reply: &str) -> Told {
    let words = reply.to_owned();
    match reply.as_bytes().first() {
        Some(b'2') => Told::Yes(words),
        Some(b'4') => Told::Later(words),
        _ => Told::Never(words),
    }
}

impl Sender for Raw<'_> {
    fn name(&self) -> &str {
        if self.lmtp { "a pipelining client by LMTP" } else { "a pipelining client by SMTP" }
    }

    fn send(&self, mails: &[Mail]) {
        thread::scope(|scope| mails.iter().for_each(|mail| drop(scope.spawn(|| self.attempt(mail)))));
    }

    fn told(&self) -> HashMap<String, Vec<Told>> {
        self.state().told.clone()
    }

    fn flush(&self) {
        let kept = std::mem::take(&mut self.state().kept);
        self.send(&kept);
    }

    fn queued(&self) -> usize {
        self.state().kept.len()
    }

    fn broken(&self) -> Vec<String> {
        self.state().broken.clone()
    }
}

/// One session, with one message.
struct Session {
    talk: Talk,
    lmtp: bool,
    /// The last word about each recipient: each is to have one.
    replies: Vec<(String, String)>,
}

impl Session {
    fn greet(&mut self) -> Result<(), String> {
        self.expect("220")?;
        self.talk.send(if self.lmtp { "LHLO raw.example.net\r\n" } else { "EHLO raw.example.net\r\n" });
        let offered = self.expect("250")?;
        if offered.contains("PIPELINING") { Ok(()) } else { Err(format!("no PIPELINING: {offered:?}")) }
    }

    fn ask_for(&mut self, to: &[String]) {
        let recipients: String = to.iter().map(|to| format!("RCPT TO:<{to}>\r\n")).collect();
        self.talk.send(format!("MAIL FROM:<raw@example.net>\r\n{recipients}DATA\r\n"));
    }

    /// Comes as far as the reply to DATA, and returns who was accepted, if the message may come.
    fn begin(&mut self, to: &[String]) -> Result<Vec<String>, String> {
        self.greet()?;
        self.ask_for(to);
        self.expect("250")?;
        let mut accepted = Vec::new();
        for to in to {
            let reply = self.reply(REPLY)?;
            match reply.starts_with('2') {
                true => accepted.push(to.clone()),
                false => self.replies.push((to.clone(), reply)),
            }
        }
        let reply = self.reply(DATA)?;
        match reply.as_bytes().first() {
            Some(b'3') if accepted.is_empty() => Err(format!("DATA for nobody: {reply:?}")),
            Some(b'3') => Ok(accepted),
            // RFC 2033 §4.2, RFC 5321 §3.3
            _ if accepted.is_empty() && (reply.starts_with("503 ") || reply.starts_with("554 ")) => Ok(vec![]),
            _ if accepted.is_empty() => Err(format!("DATA for nobody: {reply:?}")),
            _ => {
                self.replies.extend(accepted.into_iter().map(|to| (to, reply.clone())));
                Ok(vec![])
            }
        }
    }

    fn send(&mut self, mail: &Mail) -> Result<(), String> {
        // Once it may send it has to.
        let all = [stuffed(&mail.text).as_slice(), b"QUIT\r\n"].concat();
        let accepted = self.begin(&mail.to)?;
        if accepted.is_empty() {
            self.talk.send("QUIT\r\n");
        } else {
            self.talk.try_send(all).map_err(|error| format!("the message is not taken: {error}"))?;
            if self.lmtp {
                for to in accepted {
                    let reply = self.reply(END)?;
                    self.replies.push((to, reply));
                }
            } else {
                let reply = self.reply(END)?;
                self.replies.extend(accepted.into_iter().map(|to| (to, reply.clone())));
            }
        }
        self.expect("221")?;
        match self.talk.rest() {
            rest if rest.is_empty() => Ok(()),
            rest => Err(format!("more than was asked for: {:?}", String::from_utf8_lossy(&rest))),
        }
    }

    fn expect(&mut self, code: &str) -> Result<String, String> {
        let reply = self.reply(REPLY)?;
        if reply.starts_with(code) { Ok(reply) } else { Err(format!("expected {code}, and there came {reply:?}")) }
    }

    /// A reply, which is an error where the session ended.
    fn reply(&mut self, within: Duration) -> Result<String, String> {
        self.talk.socket().set_read_timeout(Some(within)).expect("a timeout");
        let mut reply = String::new();
        loop {
            let line = self.talk.heard();
            if line.is_empty() {
                return Err(format!("no reply after {reply:?} and {:?}", self.replies));
            }
            reply += &line;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(reply.trim_end().to_owned());
            }
        }
    }
}
