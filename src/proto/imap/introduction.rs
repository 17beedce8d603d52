//! ID with fields that Dovecot believes of a proxy that it trusts (RFC 2971; the fields are Dovecot's): who the client is.
//!
//! Promises that it is said before anything of the client's, from whose own ID such fields are taken out (`id`).

use super::{
    id::quote,
    response::{LIMIT, Response, Status},
};
use crate::proto::{
    Complaint, Connection, Input, Introduced, LONGEST_REPLY, Violation,
    line::{self, Line},
    literal,
};

/// What our one command is called.
const TAG: &[u8] = b"i";

/// The dialogue: one ID and the answer to it.
#[derive(Debug)]
pub struct Identification {
    command: Vec<u8>,
    greeting: Vec<u8>,
}

/// How the backend has answered.
enum Answer {
    /// With this status.
    Tagged(Status),
    /// With a farewell, which is this line.
    Bye(Vec<u8>),
}

impl Identification {
    pub(in crate::proto) fn new(client: &Connection<'_>) -> Self {
        let (source, destination) = (client.source, client.destination);
        let server_name = client.tls.as_ref().map_or("", |tls| tls.server_name);
        let fields = [
            ("x-originating-ip", source.ip().to_string()),
            ("x-originating-port", source.port().to_string()),
            ("x-connected-ip", destination.ip().to_string()),
            ("x-connected-port", destination.port().to_string()),
            ("x-connected-name", server_name.to_owned()),
        ];
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        let fields =
            fields.filter_map(|(name, value)| Some([quote(name.as_bytes())?, quote(value.as_bytes())?].join(&b' ')));
        let command = [TAG, b" ID (", &fields.collect::<Vec<_>>().join(&b' '), b")"].concat();
        Self { command, greeting: Vec::new() }
    }

    pub(in crate::proto) fn begin(&mut self, greeting: Vec<u8>, output: &mut Vec<u8>) -> Result<Introduced, Violation> {
        let Line::Whole { text, .. } = line::first(&greeting, LIMIT) else { return Err(Violation::Backend) };
        if Response::parse(text) != Some(Response::Line) {
            return Ok(Introduced::Done(greeting));
        }
        line::write(&self.command, output);
        self.greeting = greeting;
        Ok(Introduced::More)
    }

    pub(in crate::proto) fn step(&mut self, input: &mut Input) -> Result<Introduced, Violation> {
        let Some((length, answer)) = answer(input.peek())? else { return Ok(Introduced::More) };
        input.consume(length);
        // What stands behind it would be taken for the answer to a command of the client's.
        input.emptied().ok_or(Violation::Backend)?;
        Ok(match answer {
            Answer::Tagged(Status::Ok) => Introduced::Done(std::mem::take(&mut self.greeting)),
            Answer::Tagged(_) => Introduced::Refused(Complaint::IdentityRefused),
            Answer::Bye(line) => Introduced::Done(line),
        })
    }
}

/// The answer at the front of `input`, with the data that may come before it, and how long both are; `None` while they are
/// incomplete.
fn answer(input: &[u8]) -> Result<Option<(usize, Answer)>, Violation> {
    let (mut at, mut inside) = (0, false);
    while let Some(rest) = input.get(at..) {
        let (text, length) = match line::first(rest, LIMIT) {
            Line::Whole { text, length } => (text, length),
            Line::Partial => break,
            _ => return Err(Violation::Backend),
        };
        at += length;
        match Response::parse(text) {
            _ if inside => {}
            Some(Response::Data | Response::Line) => {}
            Some(Response::Tagged(tagged)) if tagged.tag == TAG => {
                return Ok(Some((at, Answer::Tagged(tagged.status))));
            }
            Some(Response::Bye) => return Ok(Some((at, Answer::Bye(rest[..length].to_vec())))),
            _ => return Err(Violation::Backend),
        }
        let literal = literal::announced(text);
        inside = literal.is_some();
        at = at.saturating_add(literal.map_or(0, |literal| literal.size.unwrap_or(usize::MAX)));
    }
    if at.max(input.len()) > LONGEST_REPLY { Err(Violation::Backend) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Encryption;

    const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 ID] ready\r\n";

    fn client(server_name: &str) -> Connection<'_> {
        let tls =
            Encryption { version: "TLSv1.3", cipher: "".into(), group: "", server_name, application: "", client: None };
        Connection {
            source: "[2001:db8::7]:40000".parse().unwrap(),
            destination: "192.0.2.1:993".parse().unwrap(),
            tls: Some(tls),
        }
    }

    /// What the dialogue comes to where the backend answers so, byte by byte, and what it is told.
    fn talk(greeting: &str, answer: &str) -> (Result<Introduced, Violation>, String) {
        let mut identification = Identification::new(&client("mail.example.org"));
        let (mut input, mut output) = (Input::new(), Vec::new());
        let mut came_to = identification.begin(greeting.as_bytes().to_vec(), &mut output);
        for byte in answer.bytes() {
            assert_eq!(came_to, Ok(Introduced::More), "{answer}");
            input.push(&[byte]);
            came_to = identification.step(&mut input);
        }
        (came_to, String::from_utf8(output).unwrap())
    }

    fn done(greeting: &str) -> Result<Introduced, Violation> {
        Ok(Introduced::Done(greeting.as_bytes().to_vec()))
    }

    #[test]
    fn the_client_is_told_and_the_greeting_stays() {
        let (came_to, said) = talk(GREETING, "* ID (\"name\" \"Dovecot\")\r\ni OK done\r\n");
        assert_eq!(came_to, done(GREETING));
        assert_eq!(
            said,
            "i ID (\"x-originating-ip\" \"2001:db8::7\" \"x-originating-port\" \"40000\" \"x-connected-ip\" \"192.0.2.1\" \
             \"x-connected-port\" \"993\" \"x-connected-name\" \"mail.example.org\")\r\n"
        );
    }

    #[test]
    fn data_before_the_answer_may_hold_literals() {
        for data in [
            "* ID (\"name\" {6}\r\ni OK\r\n)\r\n",
            "* OK still here\r\n* ID NIL\r\n",
            "* ID (\"a\" {0}\r\n \"b\" {2}\r\n\r\n)\r\n",
        ] {
            assert_eq!(talk(GREETING, &format!("{data}i OK done\r\n")).0, done(GREETING), "{data}");
        }
    }

    #[test]
    fn a_backend_that_does_not_know_id_is_told_from_one_that_leaves() {
        for refusal in ["i BAD what?\r\n", "i NO not you\r\n"] {
            assert_eq!(talk(GREETING, refusal).0, Ok(Introduced::Refused(Complaint::IdentityRefused)));
        }
        assert_eq!(talk(GREETING, "* BYE busy\r\n").0, done("* BYE busy\r\n"));
        for greeting in ["* BYE no\r\n", "* PREAUTH hello\r\n"] {
            assert_eq!(talk(greeting, ""), (done(greeting), String::new()));
        }
    }

    #[test]
    fn what_is_no_answer_or_more_than_one_is_a_violation() {
        let endless = "* ID NIL\r\n".repeat(10_000);
        let huge = "* ID (\"a\" {99999999999999999999}\r\n";
        for wrong in ["+ go on\r\n", "x OK\r\n", "i OK\r\n* OK\r\n", "* PREAUTH\r\n", "\r\n", &endless, huge] {
            let mut identification = Identification::new(&client(""));
            let (mut input, mut output) = (Input::new(), Vec::new());
            assert_eq!(identification.begin(GREETING.into(), &mut output), Ok(Introduced::More));
            assert!(!String::from_utf8_lossy(&output).contains("x-connected-name"));
            input.push(wrong.as_bytes());
            assert_eq!(identification.step(&mut input), Err(Violation::Backend), "{wrong:.40}");
        }
    }
}
