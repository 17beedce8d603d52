//! POP3 out of the store (RFC 1939, 2449, 5034): the INBOX of an account.
//!
//! What a session sees is settled at login; deletions are carried out at QUIT. There is no exclusive lock: messages
//! are known by identifiers that never change their meaning, so sessions cannot harm one another.

mod maildrop;

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use maildrop::{Maildrop, Reply};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    login,
    store::Store,
    stream::{Heard, Stream},
};
use crate::proto::line;

/// RFC 2449 §4 asks for 255; an AUTH line may be longer.
const LINE_LIMIT: usize = 12_288;

/// Serves one session.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(store: Store, mut stream: Stream<S>) -> io::Result<()> {
    // No timestamp: a store that takes any password has no APOP.
    stream.say(format!("+OK {} POP3 mailward, embedded mail store", store.hostname()));
    let mut session = Session { stream, store, state: State::Authorization { user: None } };
    while session.turn().await? == Next::Command {}
    session.stream.close().await
}

struct Session<S> {
    stream: Stream<S>,
    store: Store,
    state: State,
}

/// RFC 1939 §3; UPDATE is over as soon as it is entered.
enum State {
    Authorization { user: Option<String> },
    Transaction(Maildrop),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Command,
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn turn(&mut self) -> io::Result<Next> {
        let text = match self.stream.line(LINE_LIMIT).await? {
            Heard::Line(text) => text,
            Heard::Bad => {
                self.stream.say("-ERR NUL or CR in a command");
                return Ok(Next::Command);
            }
            Heard::TooLong => {
                self.stream.say("-ERR line too long");
                return Ok(Next::End);
            }
            Heard::Ended => return Ok(Next::End),
        };
        let (verb, rest) = line::word(&text);
        let rest = String::from_utf8_lossy(rest);
        match verb.to_ascii_uppercase().as_slice() {
            b"QUIT" => {
                self.quit();
                return Ok(Next::End);
            }
            b"CAPA" => self.capabilities(),
            b"AUTH" => self.auth(&rest).await?,
            verb => self.obey(verb, &rest).await?,
        }
        Ok(Next::Command)
    }

    async fn obey(&mut self, verb: &[u8], rest: &str) -> io::Result<()> {
        match (&mut self.state, verb) {
            (State::Authorization { user }, b"USER") => {
                *user = login::account_name(rest.trim());
                self.stream.say("+OK any password will do");
            }
            (State::Authorization { user }, b"PASS") => match user.take() {
                Some(user) => self.open(&user),
                None => self.stream.say("-ERR USER with a name comes first"),
            },
            (State::Authorization { .. }, _) => self.stream.say("-ERR log in first"),
            (State::Transaction(maildrop), verb) => {
                let reply = maildrop.obey(verb, rest);
                self.answer(reply).await?;
            }
        }
        Ok(())
    }

    async fn answer(&mut self, reply: Reply) -> io::Result<()> {
        match reply {
            Reply::Line(text) => self.stream.say(text),
            Reply::Listing(lines) => {
                self.stream.say("+OK");
                lines.iter().for_each(|line| self.stream.say(line));
                self.stream.say(".");
            }
            Reply::Message { message, end } => {
                self.stream.say("+OK the message follows");
                self.send_stuffed(message.bytes().get(..end).unwrap_or_default()).await?;
                self.stream.say(".");
            }
        }
        Ok(())
    }

    /// Sends `message` with a dot before each line that begins with one (RFC 1939 §3), and a line end where the
    /// last line has none.
    async fn send_stuffed(&mut self, message: &[u8]) -> io::Result<()> {
        let mut start = 0;
        let ends = memmem::find_iter(message, b"\r\n").map(|at| at + 2).chain([message.len()]);
        for end in ends {
            let line = &message[start..end];
            if line.starts_with(b".") {
                self.stream.put(b".");
            }
            self.stream.send(line).await?;
            start = end;
        }
        if !message.is_empty() && !message.ends_with(b"\r\n") {
            self.stream.put(b"\r\n");
        }
        Ok(())
    }

    fn open(&mut self, user: &str) {
        match self.store.account(user) {
            Ok(account) => {
                let maildrop = Maildrop::new(account);
                self.stream.say(format!("+OK {} messages", maildrop.count()));
                self.state = State::Transaction(maildrop);
            }
            Err(refusal) => self.stream.say(format!("-ERR [SYS/TEMP] {refusal}")),
        }
    }

    fn capabilities(&mut self) {
        self.stream.say("+OK");
        for capability in ["USER", "SASL PLAIN", "TOP", "UIDL", "PIPELINING", "RESP-CODES", "IMPLEMENTATION mailward"] {
            self.stream.say(capability);
        }
        self.stream.say(".");
    }

    async fn auth(&mut self, rest: &str) -> io::Result<()> {
        let (mechanism, initial) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
        if matches!(self.state, State::Transaction(_)) {
            self.stream.say("-ERR logged in already");
        } else if mechanism.is_empty() {
            // Not in any RFC, but asked by old clients: the list of mechanisms.
            self.stream.say("+OK\r\nPLAIN\r\n.");
        } else if mechanism.eq_ignore_ascii_case("PLAIN") {
            self.auth_plain(initial.trim()).await?;
        } else {
            self.stream.say("-ERR mechanism not offered");
        }
        Ok(())
    }

    async fn auth_plain(&mut self, initial: &str) -> io::Result<()> {
        let mut response = initial.as_bytes().to_vec();
        if response.is_empty() {
            self.stream.say("+ ");
            response = match self.stream.line(LINE_LIMIT).await? {
                Heard::Line(text) => text,
                Heard::Bad | Heard::TooLong => Vec::new(),
                Heard::Ended => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        match STANDARD.decode(response).ok().and_then(|message| login::plain(&message)) {
            Some(user) => self.open(&user),
            None => self.stream.say("-ERR a user name is needed; any password will do"),
        }
        Ok(())
    }

    fn quit(&mut self) {
        if let State::Transaction(maildrop) = &self.state {
            maildrop.update();
        }
        self.stream.say("+OK bye");
    }
}
