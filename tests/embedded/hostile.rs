//! What no client should send: nothing of it may panic, hang, or reach into another session.

use super::{Client, run, store};
use mailward::{embedded, proto::Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DIALOGUES: [(Protocol, &[u8]); 4] = [
    (
        Protocol::Smtp,
        b"EHLO x\r\nAUTH PLAIN\r\nAGFubgB4\r\nMAIL FROM:<a@b> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<\"a\\\"b\"@c>\r\nDATA\r\n\
        ..\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<@a:b@c>\r\nBDAT 4\r\nA: bBDAT 2 LAST\r\n\r\nRSET\r\nVRFY x\r\nQUIT\r\n",
    ),
    (Protocol::Lmtp, b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a>\r\nRCPT TO:<b>\r\nDATA\r\n.\r\nQUIT\r\n"),
    (
        Protocol::Pop3,
        b"CAPA\r\nUSER ann\r\nPASS x\r\nSTAT\r\nLIST\r\nUIDL 1\r\nTOP 1 0\r\nRETR 1\r\nDELE 1\r\nRSET\r\nQUIT\r\n",
    ),
    (
        Protocol::Imap,
        b"a LOGIN {3}\r\nann {1+}\r\nx\r\nb APPEND INBOX (\\Seen k) \"01-Jan-2024 00:00:00 +0000\" {86+}\r\n\
        Content-Type: multipart/mixed; boundary=b\r\nFrom: a:b@c;\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n1234567890\r\n\
        c SELECT INBOX\r\nd FETCH 1:* FULL\r\nd FETCH 1:*,3:2 (UID FLAGS ENVELOPE BODYSTRUCTURE BODY[1.MIME]<0.9> \
        BODY[HEADER.FIELDS (To)] RFC822.SIZE)\r\ne UID SEARCH OR (NOT SEEN BEFORE 1-Jan-2024) TEXT {1}\r\nx SINCE \
        1-Feb-1994 UID 1:*\r\nf STORE 1 +FLAGS.SILENT (\\Deleted $k)\r\ng UID COPY 1 INBOX\r\nh CREATE a/b\r\ni RENAME \
        a c\r\nj LIST \"\" *\r\nk LSUB \"\" %\r\nl IDLE\r\nDONE\r\nm UID MOVE 1 c\r\nn STATUS c (MESSAGES RECENT UNSEEN)\r\n\
        o UID EXPUNGE 1:*\r\np ID (\"a\" NIL)\r\nq NAMESPACE\r\nr CLOSE\r\ns LOGOUT\r\n",
    ),
];

/// A generator of numbers that are the same in each run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn spoilt(dialogue: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut bytes = dialogue.to_vec();
    for _ in 0..=noise.below(4) {
        let at = noise.below(bytes.len().max(1));
        match noise.below(5) {
            _ if bytes.is_empty() => {}
            0 => bytes[at] = noise.below(256) as u8,
            1 => bytes.insert(at, b"\r\n\0\"{}()*<>\\ 9"[noise.below(14)]),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at.max(1)),
            _ => {
                let end = (at + noise.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

#[test]
fn spoilt_dialogues_end_without_panic() {
    run(async {
        let mut noise = Noise(42);
        for (protocol, dialogue) in DIALOGUES {
            let mut store = store();
            for round in 0..400 {
                if round % 20 == 0 {
                    store = super::store();
                }
                let sent = if round == 0 { dialogue.to_vec() } else { spoilt(dialogue, &mut noise) };
                let (mut client, server) = tokio::io::duplex(1 << 20);
                client.write_all(&sent).await.unwrap();
                client.shutdown().await.unwrap();
                let session = tokio::task::spawn_local(embedded::serve(store.clone(), protocol, server));
                let mut said = Vec::new();
                client.read_to_end(&mut said).await.unwrap();
                session.await.unwrap_or_else(|panic| panic!("{}: {panic}", sent.escape_ascii())).unwrap();
            }
        }
    });
}

#[test]
fn whole_dialogues_are_understood() {
    run(async {
        for (protocol, dialogue) in DIALOGUES {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            client.write_all(dialogue).await.unwrap();
            let session = tokio::task::spawn_local(embedded::serve(store(), protocol, server));
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            session.await.unwrap().unwrap();
            assert!(!said.lines().any(|line| line.contains(" BAD ") || line.starts_with('5')), "{protocol}: {said}");
        }
    });
}

#[test]
fn endless_lines_and_literals_are_cut_off() {
    run(async {
        for (protocol, last) in [
            (Protocol::Smtp, "500 5.5.2 line too long"),
            (Protocol::Pop3, "-ERR line too long"),
            (Protocol::Imap, "* BYE line too long"),
        ] {
            let mut client = Client::connect(&store(), protocol);
            client.line().await;
            let _ = client.stream.write_all(&[b'x'; 80 << 10]).await;
            assert_eq!(client.line().await, last);
        }
        let mut imap = Client::connect(&store(), Protocol::Imap);
        imap.line().await;
        assert_eq!(imap.one("a LOGIN {999999}\r\n").await, "a NO [TOOBIG] the message is too large");
        assert_eq!(imap.one("a APPEND INBOX {999999+}\r\n").await, "* BYE literal too long");
    });
}

#[test]
fn a_message_nested_without_end_is_described_all_the_same() {
    run(async {
        let store = store();
        let message = b"Content-Type: message/rfc822\r\n\r\n".repeat(50_000);
        super::deliver(&store, "ann", &message).await;
        let mut imap = Client::selected(&store, "ann").await;
        imap.ask("b FETCH 1 (BODYSTRUCTURE ENVELOPE)\r\n", "b OK").await;
        assert_eq!(imap.ask("c SEARCH BODY nothing\r\n", "c OK").await[0], "* SEARCH");
    });
}

const MIME: &[u8] = b"Date: Mon, 1 Jan 2024 23:00:00 -0500\r\nFrom: =?utf-8?Q?J=C3=BC?= \"x\" (note) <j@[1.2.3.4]>\r\n\
    To: A group: a@b, =?utf-8?B?w7w=?= <c@d>;, e@f\r\nSubject: =?iso-8859-1?Q?=FC?=\r\n folded\r\nMessage-ID: <1@x>\r\n\
    References: <2@x> <3@x>\r\nContent-Type: multipart/mixed; boundary=\"b c\"\r\n\r\n--b c\r\n\
    Content-Type: text/plain; charset=utf-8; name*0*=utf-8''%c3; name*1*=%bc\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC=\r\n=\r\n--b c\r\n\
    Content-Type: multipart/alternative; boundary=d\r\n\r\n--d\r\nContent-Type: text/html; charset=koi8-r\r\n\
    Content-Transfer-Encoding: base64\r\n\r\n8fHx\r\n--d\r\nContent-Type: image/png\r\n\
    Content-Disposition: attachment; filename=\"a\\\"b\"\r\nContent-ID: <4@x>\r\n\r\n\x89PNG\r\n--d--\r\n--b c\r\n\
    Content-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: multipart/digest; boundary=e\r\n\r\n--e\r\n\r\n\
    Subject: deep\r\n\r\nx\r\n--e--\r\n--b c--\r\nepilogue\r\n";

#[test]
fn spoilt_messages_are_described_and_searched() {
    run(async {
        let mut noise = Noise(7);
        let store = store();
        let mut imap = Client::selected(&store, "ann").await;
        for round in 0..300 {
            let mut message = if round == 0 { MIME.to_vec() } else { spoilt(MIME, &mut noise) };
            message.retain(|&byte| byte != 0);
            imap.send(format!("a APPEND INBOX {{{}+}}\r\n", message.len())).await;
            imap.send(
                [
                    &message,
                    b"\r\nb FETCH * (ENVELOPE BODY BODYSTRUCTURE BODY[1.MIME] BODY[3.1.HEADER] BODY[2.1])\r\n"
                        .as_slice(),
                ]
                .concat(),
            )
            .await;
            imap.send(
                "c SEARCH * OR TEXT \"none such\" SENTBEFORE 1-Jan-1900\r\nd STORE * +FLAGS.SILENT (\\Deleted)\r\n",
            )
            .await;
            imap.send("e EXPUNGE\r\n").await;
            while !imap.raw_line().await.starts_with(b"e OK") {}
        }
    });
}
