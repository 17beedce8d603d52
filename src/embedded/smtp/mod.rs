//! SMTP, submission and LMTP into the store (RFC 5321, 6409, 2033).
//!
//! Every recipient is local. AUTH takes any password and changes nothing: who may submit is mailward's to say
//! (`require-auth`, `rcpt-domains`).

mod command;
mod envelope;
mod stuffing;

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use command::{Chunk, Command, Hello, Mechanism, Reply};
use envelope::{Envelope, Incoming, Outcomes};
use stuffing::Unstuffing;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    login,
    store::{Refusal, Store},
    stream::{Heard, Stream},
};

/// RFC 4954 §4: AUTH with its first response, and each further line of the exchange, may be this long.
const LINE_LIMIT: usize = 12_288;

const OK: Reply = "250 2.0.0 OK";
const OUT_OF_ORDER: Reply = "503 5.5.1 not now: the order is HELLO, MAIL, RCPT, then DATA or BDAT";

/// The two protocols of this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Smtp,
    Lmtp,
}

/// Serves one session.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    store: Store,
    dialect: Dialect,
    mut stream: Stream<S>,
) -> io::Result<()> {
    let protocol = if dialect == Dialect::Lmtp { "LMTP" } else { "ESMTP" };
    stream.say(format!("220 {} {protocol} mailward, embedded mail store", store.hostname()));
    let mut session = Session { stream, store, dialect, greeted: false, authenticated: false, envelope: None };
    while session.turn().await? == Next::Command {}
    session.stream.close().await
}

struct Session<S> {
    stream: Stream<S>,
    store: Store,
    dialect: Dialect,
    greeted: bool,
    authenticated: bool,
    envelope: Option<Envelope>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Command,
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn turn(&mut self) -> io::Result<Next> {
        match self.stream.line(LINE_LIMIT).await? {
            Heard::Line(text) => match command::parse(&text) {
                Ok(command) => return self.obey(command).await,
                Err(reply) => self.stream.say(reply),
            },
            Heard::Bad => self.stream.say("500 5.5.2 NUL or CR in a command"),
            Heard::TooLong => {
                self.stream.say("500 5.5.2 line too long");
                return Ok(Next::End);
            }
            Heard::Ended => return Ok(Next::End),
        }
        Ok(Next::Command)
    }

    async fn obey(&mut self, command: Command) -> io::Result<Next> {
        let reply = match command {
            Command::Data => return self.data().await,
            Command::Bdat(chunk) => return self.bdat(chunk).await,
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial).await?,
            Command::Quit => {
                self.stream.say("221 2.0.0 bye");
                return Ok(Next::End);
            }
            Command::Hello(hello) => self.hello(hello),
            Command::Mail { size } => self.mail(size).unwrap_or_else(|refusal| refusal),
            Command::Rcpt(account) => self.rcpt(account).unwrap_or_else(|refusal| refusal),
            Command::Rset => {
                self.envelope = None;
                OK
            }
            Command::Noop => OK,
            Command::Vrfy => "252 2.0.0 every address is taken here",
            Command::Help => "214 2.0.0 HELO EHLO LHLO AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT",
        };
        self.stream.say(reply);
        Ok(Next::Command)
    }

    fn hello(&mut self, hello: Hello) -> Reply {
        if (hello == Hello::Lhlo) != (self.dialect == Dialect::Lmtp) {
            return "500 5.5.1 EHLO and HELO are SMTP, LHLO is LMTP";
        }
        // RFC 5321 §4.1.4: a new greeting ends the transaction as RSET does.
        self.envelope = None;
        self.greeted = true;
        if hello == Hello::Helo {
            return "250 pleased to meet you";
        }
        self.stream.say(format!("250-{}", self.store.hostname()));
        self.stream.say(format!("250-SIZE {}", self.store.capacity().message));
        if self.dialect == Dialect::Smtp {
            self.stream.say("250-AUTH PLAIN LOGIN");
        }
        for extension in ["250-8BITMIME", "250-SMTPUTF8", "250-CHUNKING", "250-ENHANCEDSTATUSCODES"] {
            self.stream.say(extension);
        }
        "250 PIPELINING"
    }

    fn mail(&mut self, size: Option<u64>) -> Result<Reply, Reply> {
        if !self.greeted || self.envelope.is_some() {
            return Err(OUT_OF_ORDER);
        }
        if size.is_some_and(|size| size > self.store.capacity().message as u64) {
            return Err(envelope::reply(Refusal::MessageTooLarge));
        }
        self.envelope = Some(Envelope::default());
        Ok("250 2.1.0 OK")
    }

    fn rcpt(&mut self, account: String) -> Result<Reply, Reply> {
        let envelope = self.envelope.as_mut().filter(|envelope| !envelope.has_chunks()).ok_or(OUT_OF_ORDER)?;
        envelope.add(&self.store, account)?;
        Ok("250 2.1.5 OK")
    }

    /// The transaction, if somebody is there to get the message.
    fn ready_envelope(&mut self) -> Option<&mut Envelope> {
        self.envelope.as_mut().filter(|envelope| !envelope.is_empty())
    }

    async fn data(&mut self) -> io::Result<Next> {
        if self.ready_envelope().is_none_or(|envelope| envelope.has_chunks()) {
            self.stream.say(OUT_OF_ORDER);
            return Ok(Next::Command);
        }
        self.stream.say("354 send the message, end with a dot on a line of its own");
        let incoming = self.read_body().await?;
        let outcomes = self.envelope.take().map(|envelope| envelope.deliver(incoming));
        self.answer(outcomes.unwrap_or_default());
        Ok(Next::Command)
    }

    async fn read_body(&mut self) -> io::Result<Incoming> {
        let mut incoming = Incoming::new(&self.store);
        let (mut unstuffing, mut piece) = (Unstuffing::default(), Vec::new());
        loop {
            let bytes = self.stream.bytes().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (used, ended) = unstuffing.feed(bytes, &mut piece);
            self.stream.consume(used);
            incoming.push(&piece);
            piece.clear();
            if ended {
                return Ok(incoming);
            }
        }
    }

    async fn bdat(&mut self, chunk: Chunk) -> io::Result<Next> {
        self.read_chunk(chunk.size).await?;
        let Some(mut envelope) = self.envelope.take().filter(|envelope| !envelope.is_empty()) else {
            self.stream.say(OUT_OF_ORDER);
            return Ok(Next::Command);
        };
        if chunk.last {
            let outcomes = envelope.deliver_chunks(&self.store);
            self.answer(outcomes);
        } else if let Some(refusal) = envelope.chunks(&self.store).refusal() {
            self.stream.say(refusal);
        } else {
            self.stream.say(OK);
            self.envelope = Some(envelope);
        }
        Ok(Next::Command)
    }

    /// Reads a chunk into the transaction, or past it: the octets of a refused one come all the same
    /// (RFC 3030 §2).
    async fn read_chunk(&mut self, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let bytes = self.stream.bytes().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if let Some(envelope) = self.envelope.as_mut().filter(|envelope| !envelope.is_empty()) {
                envelope.chunks(&self.store).push(&bytes[..count]);
            }
            self.stream.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    async fn auth(&mut self, mechanism: Mechanism, initial: Option<Vec<u8>>) -> io::Result<Reply> {
        if self.dialect == Dialect::Lmtp {
            return Ok("502 5.5.1 not offered here");
        }
        if !self.greeted || self.authenticated || self.envelope.is_some() {
            return Ok("503 5.5.1 not now, or not twice");
        }
        let user = match mechanism {
            Mechanism::Plain => self.answer_or_ask(initial, b"").await?.map(|message| login::plain(&message)),
            Mechanism::Login => self.auth_login(initial).await?,
        };
        Ok(match user {
            Ok(Some(_)) => {
                self.authenticated = true;
                "235 2.7.0 welcome"
            }
            Ok(None) => "535 5.7.8 a user name is needed; any password will do",
            Err(refusal) => refusal,
        })
    }

    async fn auth_login(&mut self, initial: Option<Vec<u8>>) -> io::Result<Result<Option<String>, Reply>> {
        let user = match self.answer_or_ask(initial, b"Username:").await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let password = self.answer_or_ask(None, b"Password:").await?;
        Ok(password.map(|_any| std::str::from_utf8(&user).ok().and_then(login::account_name)))
    }

    /// The client's response, which it may have sent with the command.
    async fn answer_or_ask(&mut self, initial: Option<Vec<u8>>, ask: &[u8]) -> io::Result<Result<Vec<u8>, Reply>> {
        if let Some(response) = initial {
            return Ok(Ok(response));
        }
        self.stream.say(format!("334 {}", STANDARD.encode(ask)));
        match self.stream.line(LINE_LIMIT).await? {
            Heard::Line(text) if text == b"*" => Ok(Err("501 5.7.0 authentication cancelled")),
            Heard::Line(text) => Ok(command::decode(&text)),
            Heard::Bad | Heard::TooLong => Ok(Err("501 5.5.2 not base64")),
            Heard::Ended => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// One reply, or in LMTP one for each recipient (RFC 2033 §4.2).
    fn answer(&mut self, outcomes: Outcomes) {
        if self.dialect == Dialect::Lmtp {
            for (name, outcome) in outcomes {
                match outcome {
                    Ok(()) => self.stream.say(format!("250 2.1.5 kept for {name}")),
                    Err(refusal) => self.stream.say(refusal),
                }
            }
            return;
        }
        let refusal = outcomes.into_iter().find_map(|(_, outcome)| outcome.err());
        self.stream.say(refusal.unwrap_or("250 2.0.0 kept"));
    }
}
