//! A world, a gateway in it that carries mail on, and its senders.

use std::net::SocketAddr;

use serde_json::Value;

pub(crate) use crate::support::relaying::{LMTP, SMTP};
use crate::support::{Gateway, Kind, NAME, Talk, World, message, stuffed};

/// Who sends.
pub(crate) const SENDER: &str = "ann@old.example.org";

/// A gateway where a world is.
pub(crate) struct Bed {
    // It is to end before what it runs in.
    pub(crate) gateway: Gateway,
    pub(crate) world: World,
}

impl Bed {
    /// One whose gateway believes in the world's authority, and has further `tables`.
    pub(crate) fn new(tables: &str) -> Self {
        let world = World::start();
        let ca = format!("ca = [\"{}\"]\n", world.scratch.join("ca.pem").display());
        Self { gateway: gateway(&world, &ca, tables), world }
    }

    /// One whose gateway believes in nobody.
    pub(crate) fn unbelieving() -> Self {
        let world = World::start();
        Self { gateway: gateway(&world, "", ""), world }
    }

    /// A session by LMTP in which nothing was said but the greetings.
    pub(crate) fn lmtp(&self) -> Talk {
        self.greeted(LMTP, "LHLO old.example.org")
    }

    /// A session by SMTP in which nothing was said but the greetings; its listener has TLS for who wants it.
    pub(crate) fn smtp(&self) -> Talk {
        self.greeted(SMTP, "EHLO old.example.org")
    }

    /// A session by SMTP inside TLS.
    pub(crate) fn smtp_in_tls(&self) -> (Talk, String) {
        let mut talk = self.smtp();
        talk.ask("STARTTLS", "220");
        let mut talk = talk.tls(self.gateway.authority.roots());
        let list = talk.send("EHLO old.example.org\r\n").reply("250");
        (talk, list)
    }

    fn greeted(&self, address: SocketAddr, hello: &str) -> Talk {
        let mut talk = self.world.talk(address);
        talk.reply("220");
        talk.send(format!("{hello}\r\n")).reply("250");
        talk
    }

    /// Sends a message for one recipient by LMTP: what is said in the end.
    pub(crate) fn send(&self, to: &str) -> String {
        let mut talk = self.lmtp();
        let said = deliver(&mut talk, &[to], &message("one", 2000)).remove(0);
        talk.ask("QUIT", "221");
        said
    }

    /// The lines of the log on attempts at hosts of a domain, so far: all of what was answered.
    pub(crate) fn attempts(&self, domain: &str) -> Vec<Value> {
        let is_one = |line: &Value| line["message"] == "attempt" && line["domain"] == domain;
        self.gateway.log().into_iter().filter(is_one).collect()
    }

    /// The last of them.
    #[track_caller]
    pub(crate) fn attempt(&self, domain: &str) -> Value {
        self.attempts(domain).pop().unwrap_or_else(|| panic!("no attempt for {domain}: {:#?}", self.gateway.log()))
    }
}

fn gateway(world: &World, ca: &str, tables: &str) -> Gateway {
    let builder = Gateway::builder().under(&world.namespace.prefix());
    let own = builder.scratch().path().display().to_string();
    let text = format!(
        "[server]\nhostname = \"gate.test\"\nworkers = 2\nstate = \"{own}/state\"\n{ca}\
         [server.listener.lmtp]\nbind = \"{LMTP}\"\nprotocol = \"lmtp\"\nrelay = true\nsmtp-utf8 = true\n\
         [server.listener.smtp]\nbind = \"{SMTP}\"\nprotocol = \"smtp\"\nrelay = true\ntls.enable = true\n\
         [certificate.main]\ncert = \"%{{file:{own}/mail.crt}}%\"\nprivate-key = \"%{{file:{own}/mail.key}}%\"\n{tables}"
    );
    builder.issue("mail", &[NAME], Kind::Ecdsa).whole(&text).start()
}

/// Sends a message in a session of LMTP: for each recipient what is said in the end.
#[track_caller]
pub(crate) fn deliver(talk: &mut Talk, to: &[&str], message: &[u8]) -> Vec<String> {
    talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
    let mut said: Vec<_> = to
        .iter()
        .map(|to| {
            talk.send(format!("RCPT TO:<{to}>\r\n"));
            talk.reply("").trim_end().to_owned()
        })
        .collect();
    if said.iter().all(|reply| !reply.starts_with('2')) {
        talk.ask("RSET", "250");
        return said;
    }
    talk.ask("DATA", "354");
    talk.send(stuffed(message));
    for reply in said.iter_mut().filter(|reply| reply.starts_with('2')) {
        *reply = talk.reply("").trim_end().to_owned();
    }
    said
}

/// Sends a message in a session of SMTP to recipients that are all accepted: what is said in the end.
#[track_caller]
pub(crate) fn deliver_by_smtp(talk: &mut Talk, to: &[&str], message: &[u8]) -> String {
    talk.ask(&format!("MAIL FROM:<{SENDER}>"), "250");
    to.iter().for_each(|to| drop(talk.ask(&format!("RCPT TO:<{to}>"), "250")));
    talk.ask("DATA", "354");
    talk.send(stuffed(message)).reply("").trim_end().to_owned()
}

/// Rules by which mail for one domain goes by the strategy `strict`, which is this.
pub(crate) fn strict_for(domain: &str, strategy: &str) -> String {
    format!(
        "[queue.tls.strict]\n{strategy}\n[queue.strategy]\ntls = [{{ if = \"rcpt_domain == '{domain}'\", then = \"'strict'\" }}, \
         {{ if = \"retry_num > 0 && last_error == 'tls'\", then = \"'invalid-tls'\" }}, {{ else = \"'default'\" }}]\n"
    )
}

/// Says that a reply begins so, and what it was otherwise.
#[track_caller]
pub(crate) fn assert_begins(reply: &str, start: &str) {
    assert!(reply.starts_with(start), "expected {start:?}…, and there came {reply:?}");
}
