//! Asking a backend what it offers, once, for the clients that go on in plaintext (spec §4.1).

use super::{Extensions, reply::Reply};
use crate::proto::{Input, Protocol, Violation};

/// A dialogue of greeting, EHLO and QUIT, from the client's side.
pub struct Probe {
    hello: Vec<u8>,
    asked: bool,
}

/// What a [`Probe`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// More of the backend's bytes are needed.
    More,
    /// What the backend offers; nothing, where it does not know EHLO. QUIT is in the output: send it and close.
    Known(Extensions),
    /// The backend does not take the session now. QUIT is in the output.
    Refused,
}

impl Probe {
    /// A probe that calls itself `hostname` (`server.hostname`).
    #[must_use]
    pub fn new(protocol: Protocol, hostname: &str) -> Self {
        Self { hello: hello(protocol, hostname), asked: false }
    }

    /// Uses up the replies in `input` and writes the commands to `output`.
    ///
    /// # Errors
    /// [`Violation::Backend`] where the backend does not speak SMTP.
    pub fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Probed, Violation> {
        while let Some(reply) = Reply::first(input.peek())? {
            let (class, length, listed) = (reply.class(), reply.length(), Extensions::listed_in(&reply));
            input.consume(length);
            if self.asked || class != 2 {
                output.extend_from_slice(b"QUIT\r\n");
                // A 5xx to EHLO is an old server's way to say that it has no extensions (RFC 5321 §4.1.4).
                let known = self.asked && class != 4;
                return Ok(if known { Probed::Known(listed) } else { Probed::Refused });
            }
            self.asked = true;
            output.extend_from_slice(&self.hello);
        }
        Ok(Probed::More)
    }
}

/// The command by which a client that calls itself `hostname` asks for the list.
pub(in crate::proto) fn hello(protocol: Protocol, hostname: &str) -> Vec<u8> {
    let verb = if protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
    format!("{verb} {hostname}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(replies: &str) -> (Result<Probed, Violation>, String) {
        let (mut probe, mut input, mut output) = (Probe::new(Protocol::Smtp, "mw.example"), Input::new(), Vec::new());
        let mut probed = Ok(Probed::More);
        for byte in replies.bytes() {
            input.push(&[byte]);
            probed = probe.step(&mut input, &mut output);
            if probed != Ok(Probed::More) {
                break;
            }
        }
        (probed, String::from_utf8(output).unwrap())
    }

    #[test]
    fn a_backend_is_asked_and_left_in_good_order() {
        let (probed, said) = probe("220-mx\r\n220 ESMTP\r\n250-mx\r\n250 DSN\r\n");
        assert_eq!(probed, Ok(Probed::Known(Extensions { dsn: true, ..Extensions::default() })));
        assert_eq!(said, "EHLO mw.example\r\nQUIT\r\n");
    }

    #[test]
    fn an_old_server_has_no_extensions() {
        assert_eq!(probe("220 mx\r\n502 what?\r\n").0, Ok(Probed::Known(Extensions::default())));
    }

    #[test]
    fn a_refusal_is_told_from_an_answer() {
        assert_eq!(probe("554 no\r\n"), (Ok(Probed::Refused), "QUIT\r\n".to_owned()));
        assert_eq!(probe("220 mx\r\n421 busy\r\n").0, Ok(Probed::Refused));
        assert_eq!(probe("* OK IMAP4rev1\r\n").0, Err(Violation::Backend));
    }

    #[test]
    fn lmtp_is_asked_with_lhlo() {
        let (mut input, mut output) = (Input::new(), Vec::new());
        input.push(b"220 mx LMTP\r\n");
        Probe::new(Protocol::Lmtp, "mw.example").step(&mut input, &mut output).unwrap();
        assert_eq!(output, b"LHLO mw.example\r\n");
    }
}
