//! The embedded mail store: every protocol in dialogue, and with independent clients.
#![allow(clippy::unwrap_used)] // clippy.toml permits it in tests, but takes what they share for none.

use std::{future::Future, time::Duration};

use mailward::{
    embedded::{self, Capacity, Store},
    proto::Protocol,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::LocalSet,
};

#[path = "embedded/clients.rs"]
mod clients;
#[path = "embedded/hostile.rs"]
mod hostile;
#[path = "embedded/imap.rs"]
mod imap;
#[path = "embedded/smtp.rs"]
mod smtp;

/// Runs a test on one thread, as a worker of mailward would, and not for ever.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    let test = local.run_until(async { tokio::time::timeout(Duration::from_secs(60), test).await });
    runtime.block_on(test).expect("the test hangs");
}

/// A client that is connected to a session of its own.
struct Client {
    stream: DuplexStream,
    read: Vec<u8>,
}

impl Client {
    fn connect(store: &Store, protocol: Protocol) -> Self {
        let (stream, server) = tokio::io::duplex(4096);
        tokio::task::spawn_local(embedded::serve(store.clone(), protocol, server));
        Self { stream, read: Vec::new() }
    }

    async fn smtp(store: &Store) -> Self {
        let mut client = Self::connect(store, Protocol::Smtp);
        assert_eq!(client.line().await, "220 mx.example.org ESMTP mailward, embedded mail store");
        client.ask("EHLO client.example.org\r\n", "250 ").await;
        client
    }

    async fn imap(store: &Store, user: &str) -> Self {
        let mut client = Self::connect(store, Protocol::Imap);
        assert!(client.line().await.starts_with("* OK [CAPABILITY IMAP4REV1 "));
        client.ask(&format!("a LOGIN {user} any\r\n"), "a OK").await;
        client
    }

    async fn selected(store: &Store, user: &str) -> Self {
        let mut client = Self::imap(store, user).await;
        client.ask("s SELECT INBOX\r\n", "s OK [READ-WRITE]").await;
        client
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn more(&mut self) -> bool {
        let mut chunk = vec![0; 64 << 10];
        let count = self.stream.read(&mut chunk).await.unwrap();
        self.read.extend_from_slice(&chunk[..count]);
        count > 0
    }

    async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more().await, "ended before {count} bytes");
        }
        self.read.drain(..count).collect()
    }

    async fn line(&mut self) -> String {
        String::from_utf8(self.raw_line().await).unwrap().trim_end_matches("\r\n").to_owned()
    }

    async fn raw_line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                return self.read.drain(..=end).collect();
            }
            assert!(self.more().await, "ended without a line");
        }
    }

    /// Sends, and reads lines up to the one that begins with `last`.
    async fn ask(&mut self, command: &str, last: &str) -> Vec<String> {
        self.send(command).await;
        let mut lines = Vec::new();
        loop {
            lines.push(self.line().await);
            let line = &lines[lines.len() - 1];
            if line.starts_with(last) {
                return lines;
            }
            let tag = last.split(' ').next().unwrap();
            let is_other = ["NO", "BAD", "OK"].iter().any(|end| line.starts_with(&format!("{tag} {end}")));
            assert!(!is_other && !line.starts_with("* BYE") && lines.len() < 1000, "{command:?}: {lines:?}");
        }
    }

    /// One line for one command.
    async fn one(&mut self, command: &str) -> String {
        self.send(command).await;
        self.line().await
    }

    /// What one message is, fetched by IMAP.
    async fn fetched(&mut self, number: usize) -> Vec<u8> {
        let head = self.one(&format!("f FETCH {number} BODY.PEEK[]\r\n")).await;
        let length = head.split_once('{').unwrap().1.trim_end_matches('}').parse().unwrap();
        let message = self.bytes(length).await;
        assert_eq!(self.line().await, ")");
        assert_eq!(self.line().await, "f OK fetched");
        message
    }
}

fn store() -> Store {
    Store::new("mx.example.org")
}

/// With a dot before each line that begins with one, and the end.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        lines.extend_from_slice(if line.starts_with(b".") { b"." } else { b"" });
        lines.extend_from_slice(line);
    }
    lines.extend_from_slice(b".\r\n");
    lines
}

/// Sends a message by SMTP.
async fn deliver(store: &Store, to: &str, message: &[u8]) {
    let mut client = Client::smtp(store).await;
    client.send(format!("MAIL FROM:<eve@example.net>\r\nRCPT TO:<{to}>\r\nDATA\r\n")).await;
    for reply in ["250 ", "250 ", "354 "] {
        assert!(client.line().await.starts_with(reply));
    }
    client.send(stuffed(message)).await;
    assert_eq!(client.line().await, "250 2.0.0 kept");
    assert_eq!(client.one("QUIT\r\n").await, "221 2.0.0 bye");
}

fn awkward() -> Vec<(&'static str, Vec<u8>)> {
    let noise = (0..2_usize << 20).map(|at| match at % 76 {
        74 => b'\r',
        75 => b'\n',
        _ => 0x80 | (at.wrapping_mul(2_654_435_761) >> 7 & 0x7f) as u8,
    });
    vec![
        ("leading dots", b"Subject: dots\r\n\r\n.\r\n..\r\n...x\r\n.\r\n\r\n".to_vec()),
        ("8-bit", b"Subject: \xc3\xbc\r\n\r\n\xff\xfe\x80 raw\r\n".to_vec()),
        ("a long line", [b"Subject: long\r\n\r\n".as_slice(), &[b'x'; 100_000], b"\r\n"].concat()),
        ("no body", b"Subject: none\r\n\r\n".to_vec()),
        ("2 MiB", [b"Subject: big\r\n\r\n".as_slice(), &noise.collect::<Vec<u8>>(), b"\r\n"].concat()),
    ]
}

#[test]
fn awkward_messages_come_back_byte_for_byte() {
    run(async {
        let store = store();
        for (_, message) in awkward() {
            deliver(&store, "Ann@Example.ORG", &message).await;
        }
        let mut imap = Client::selected(&store, "ann").await;
        let mut pop3 = Client::connect(&store, Protocol::Pop3);
        pop3.ask("USER ann@elsewhere\r\nPASS any\r\n", "+OK 5 messages").await;
        for (at, (name, message)) in awkward().into_iter().enumerate() {
            assert!(imap.fetched(at + 1).await == message, "{name} by IMAP");
            assert_eq!(pop3.one(&format!("RETR {}\r\n", at + 1)).await, "+OK the message follows");
            let wire = stuffed(&message);
            assert!(pop3.bytes(wire.len()).await == wire, "{name} by POP3");
        }
    });
}

#[test]
fn what_does_not_fit_is_refused_and_the_session_goes_on() {
    run(async {
        let capacity = Capacity { bytes: 60_000, message: 20_000, accounts: 3, ..Capacity::default() };
        let store = Store::with_capacity("mx.example.org", capacity);
        let mut smtp = Client::smtp(&store).await;
        assert_eq!(smtp.one("MAIL FROM:<> SIZE=20001\r\n").await, "552 5.3.4 message too large");
        smtp.send("MAIL FROM:<>\r\nRCPT TO:<bob>\r\nRCPT TO:<carl>\r\nRCPT TO:<ann>\r\nRCPT TO:<dora>\r\nRSET\r\n")
            .await;
        for reply in ["250", "250", "250", "250", "452 4.3.1", "250"] {
            assert!(smtp.line().await.starts_with(reply));
        }
        for (size, reply) in
            [(20_001, "552 5.3.4"), (20_000, "250 2.0.0"), (20_000, "250 2.0.0"), (20_000, "452 4.3.1")]
        {
            smtp.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\n").await;
            for _ in 0..3 {
                smtp.line().await;
            }
            smtp.send([b"\r\n", &vec![b'x'; size - 4][..], b"\r\n.\r\n"].concat()).await;
            let said = smtp.line().await;
            assert!(said.starts_with(reply), "{size}: {said}");
        }
        let mut imap = Client::selected(&store, "ann").await;
        assert_eq!(imap.one("b APPEND INBOX {20001}\r\n").await, "b NO [TOOBIG] the message is too large");
        let append = ["c APPEND INBOX {19000+}\r\n", &"x".repeat(19_000), "\r\n"].concat();
        assert_eq!(imap.one(&append).await, "c NO [OVERQUOTA] the mail store is full");
        imap.ask("d STORE 1 +FLAGS.SILENT (\\Deleted)\r\n", "d OK").await;
        imap.ask("e EXPUNGE\r\n", "e OK").await;
        imap.ask(&append, "c OK [APPENDUID ").await;
    });
}

#[test]
fn pop3_deletes_at_quit_alone() {
    run(async {
        let store = store();
        deliver(&store, "ann", b"A: b\r\n\r\none\r\ntwo\r\n").await;
        let mut lost = Client::connect(&store, Protocol::Pop3);
        lost.ask("AUTH PLAIN AGFubgB4\r\nDELE 1\r\n", "+OK 1 messages").await;
        assert_eq!(lost.line().await, "+OK");
        drop(lost);
        let mut pop3 = Client::connect(&store, Protocol::Pop3);
        pop3.ask("USER ann\r\nPASS x\r\n", "+OK 1 messages").await;
        assert_eq!(pop3.one("STAT\r\n").await, "+OK 1 18");
        assert_eq!(pop3.ask("TOP 1 1\r\n", ".").await[1..], ["A: b", "", "one", "."]);
        assert_eq!(pop3.ask("LIST\r\n", ".").await[1..], ["1 18", "."]);
        assert!(pop3.one("UIDL 1\r\n").await.ends_with("-1"));
        assert_eq!(pop3.one("DELE 1\r\n").await, "+OK");
        assert!(pop3.one("RETR 1\r\n").await.starts_with("-ERR"));
        assert_eq!(pop3.one("QUIT\r\n").await, "+OK bye");
        let mut imap = Client::imap(&store, "ann").await;
        assert_eq!(imap.ask("b STATUS INBOX (MESSAGES)\r\n", "b OK").await[0], "* STATUS INBOX (MESSAGES 0)");
    });
}

#[test]
fn managesieve_is_sent_away() {
    run(async {
        let mut sieve = Client::connect(&store(), Protocol::ManageSieve);
        assert!(sieve.line().await.starts_with("BYE "));
        assert!(!sieve.more().await);
    });
}
