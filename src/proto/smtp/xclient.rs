//! XCLIENT, Postfix's extension that Dovecot has too: a server that trusts mailward is told who the client is, and begins
//! the session anew for that client.
//!
//! Promises that only attributes go out that the server lists, the address last, and that a server that does not list the
//! address is not told anything. Who has logged in (LOGIN) is never said: mailward does not know passwords. Nor is what the
//! client calls itself (HELO, PROTO): it says so in the session that follows.

use std::net::{IpAddr, SocketAddr};

use super::{probe::hello, reply::Reply};
use crate::proto::{Complaint, Connection, Input, Introduced, Protocol, Violation};

/// The dialogue: EHLO or LHLO, XCLIENT, and the greeting that answers it.
#[derive(Debug)]
pub struct Xclient {
    hello: Vec<u8>,
    source: SocketAddr,
    destination: SocketAddr,
    told: bool,
}

impl Xclient {
    pub(in crate::proto) fn new(protocol: Protocol, hostname: &str, client: &Connection<'_>) -> Self {
        Self { hello: hello(protocol, hostname), source: client.source, destination: client.destination, told: false }
    }

    pub(in crate::proto) fn begin(&mut self, greeting: Vec<u8>, output: &mut Vec<u8>) -> Result<Introduced, Violation> {
        match Reply::first(&greeting)? {
            Some(reply) if reply.class() == 2 => output.extend_from_slice(&self.hello),
            Some(_) => return Ok(Introduced::Done(greeting)),
            None => return Err(Violation::Backend),
        }
        Ok(Introduced::More)
    }

    pub(in crate::proto) fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Introduced, Violation> {
        let Some(reply) = Reply::first(input.peek())? else { return Ok(Introduced::More) };
        let (length, introduced) = (reply.length(), self.replied(&reply, output)?);
        input.consume(length);
        // What stands behind it would be taken for the reply to what has not been said yet.
        input.emptied().map(|_| introduced).ok_or(Violation::Backend)
    }

    fn replied(&mut self, reply: &Reply<'_>, output: &mut Vec<u8>) -> Result<Introduced, Violation> {
        match (self.told, reply.code) {
            (_, 300..=399) => Err(Violation::Backend),
            (false, 200..=299) => Ok(self.tell(reply, output)),
            // No EHLO, no extension; and a refusal of the command itself: not known, not understood, not permitted.
            (false, 500..) | (true, 500..=504 | 550) => Ok(Introduced::Refused(Complaint::IdentityRefused)),
            // The greeting for the client, or the server's reason not to go on.
            _ => {
                let mut greeting = Vec::new();
                reply.write(&mut greeting);
                Ok(Introduced::Done(greeting))
            }
        }
    }

    /// The server has listed what it offers.
    fn tell(&mut self, reply: &Reply<'_>, output: &mut Vec<u8>) -> Introduced {
        let Some(attributes) = reply.texts().skip(1).find_map(attributes) else {
            return Introduced::Refused(Complaint::IdentityRefused);
        };
        let listed =
            |name: &str| attributes.split(|byte| *byte == b' ').any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        if !listed("ADDR") {
            return Introduced::Refused(Complaint::IdentityRefused);
        }
        self.told = true;
        output.extend_from_slice(b"XCLIENT");
        for (name, value) in self.attributes().iter().filter(|(name, _)| listed(name)) {
            output.extend_from_slice(format!(" {name}={value}").as_bytes());
        }
        output.extend_from_slice(b"\r\n");
        Introduced::More
    }

    /// What there is to say. All of it is made of what xtext (RFC 3461 §4) leaves as it is, and fits into one command
    /// line of 512 bytes.
    fn attributes(&self) -> [(&'static str, String); 5] {
        [
            // Without it the client's address would stand beside mailward's own name. Nobody has looked the client's up.
            ("NAME", "[UNAVAILABLE]".to_owned()),
            ("PORT", self.source.port().to_string()),
            ("DESTADDR", address(self.destination.ip())),
            ("DESTPORT", self.destination.port().to_string()),
            // The last, as the server may judge the others by it.
            ("ADDR", address(self.source.ip())),
        ]
    }
}

/// The attributes on the list of an EHLO reply's line, if it is the one for XCLIENT.
fn attributes(text: &[u8]) -> Option<&[u8]> {
    let (keyword, list) = text.trim_ascii().split_at_checked(7)?;
    (keyword.eq_ignore_ascii_case(b"XCLIENT") && list.first().is_none_or(|byte| *byte == b' ')).then_some(list)
}

/// RFC 5321 §4.1.3: the form in which an address of version 6 is known for one.
fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("IPV6:{ip}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTFIX: &str =
        "250-mx\r\n250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT\r\n250 DSN\r\n";
    const FROM: &str = "192.0.2.7:40000";
    const FROM_SIX: &str = "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535";

    /// What the dialogue comes to where the server answers with these in turn, byte by byte, and what it is told.
    fn talk(source: &str, greeting: &str, replies: &[&str]) -> (Result<Introduced, Violation>, String) {
        let client = Connection { source: source.parse().unwrap(), destination: source.parse().unwrap(), tls: None };
        let mut xclient = Xclient::new(Protocol::Smtp, "mw.example", &client);
        let (mut input, mut output) = (Input::new(), Vec::new());
        let mut came_to = xclient.begin(greeting.as_bytes().to_vec(), &mut output);
        for byte in replies.concat().bytes() {
            assert_eq!(came_to, Ok(Introduced::More));
            input.push(&[byte]);
            came_to = xclient.step(&mut input, &mut output);
        }
        (came_to, String::from_utf8(output).unwrap())
    }

    fn done(greeting: &str) -> Result<Introduced, Violation> {
        Ok(Introduced::Done(greeting.as_bytes().to_vec()))
    }

    const REFUSED: Result<Introduced, Violation> = Ok(Introduced::Refused(Complaint::IdentityRefused));

    #[test]
    fn the_client_is_told_and_the_greeting_behind_it_is_the_one() {
        let (came_to, said) = talk(FROM, "220 for mailward\r\n", &[POSTFIX, "220 for the client\r\n"]);
        assert_eq!(came_to, done("220 for the client\r\n"));
        let told = "XCLIENT NAME=[UNAVAILABLE] PORT=40000 DESTADDR=192.0.2.7 DESTPORT=40000 ADDR=192.0.2.7";
        assert_eq!(said, format!("EHLO mw.example\r\n{told}\r\n"));
    }

    #[test]
    fn only_what_is_listed_is_said() {
        let dovecot = "250-mx\r\n250 xclient ADDR port PROTO HELO LOGIN SESSION TTL TIMEOUT\r\n";
        let (_, said) = talk(FROM, "220 mx\r\n", &[dovecot]);
        assert_eq!(said, "EHLO mw.example\r\nXCLIENT PORT=40000 ADDR=192.0.2.7\r\n");
    }

    #[test]
    fn the_longest_line_is_short_and_needs_no_xtext() {
        let (_, said) = talk(FROM_SIX, "220 mx\r\n", &[POSTFIX]);
        let line = said.lines().nth(1).unwrap();
        assert!(line.ends_with(" ADDR=IPV6:2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), "{line}");
        assert!(line.len() + 2 <= 512);
        let values = line.split(' ').skip(1).map(|attribute| attribute.split_once('=').unwrap().1);
        assert!(values.flat_map(str::bytes).all(|byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'+' | b'=')));
    }

    #[test]
    fn a_server_that_does_not_list_it_is_told_nothing() {
        for list in
            ["250 mx\r\n", "250-mx\r\n250 XCLIENTS ADDR\r\n", "250-mx\r\n250 XCLIENT NAME ADDRESS\r\n", "502 what?\r\n"]
        {
            let (came_to, said) = talk(FROM, "220 mx\r\n", &[list]);
            assert_eq!((came_to, said.as_str()), (REFUSED, "EHLO mw.example\r\n"), "{list}");
        }
    }

    #[test]
    fn a_refusal_of_the_command_is_told_from_one_of_the_client() {
        for refusal in ["501 bad\r\n", "503 later\r\n", "550 5.7.0 insufficient authorization\r\n"] {
            assert_eq!(talk(FROM, "220 mx\r\n", &[POSTFIX, refusal]).0, REFUSED, "{refusal}");
        }
        for greeting in ["554 5.7.1 blocked\r\n", "421 4.3.2 busy\r\n", "450 later\r\n"] {
            assert_eq!(talk(FROM, "220 mx\r\n", &[POSTFIX, greeting]).0, done(greeting), "{greeting}");
        }
    }

    #[test]
    fn a_server_that_takes_nobody_is_not_asked() {
        assert_eq!(talk(FROM, "554 no\r\n", &[]), (done("554 no\r\n"), String::new()));
        assert_eq!(talk(FROM, "220 mx\r\n", &["421 busy\r\n"]).0, done("421 busy\r\n"));
    }

    #[test]
    fn more_than_was_asked_for_is_a_violation() {
        let client = Connection { source: FROM.parse().unwrap(), destination: FROM.parse().unwrap(), tls: None };
        for replies in [format!("{POSTFIX}220 early\r\n"), "354 what?\r\n".to_owned(), "* OK\r\n".to_owned()] {
            let mut xclient = Xclient::new(Protocol::Lmtp, "mw.example", &client);
            let (mut input, mut output) = (Input::new(), Vec::new());
            assert_eq!(xclient.begin(b"220 mx\r\n".to_vec(), &mut output), Ok(Introduced::More));
            assert_eq!(output, b"LHLO mw.example\r\n");
            input.push(replies.as_bytes());
            assert_eq!(xclient.step(&mut input, &mut output), Err(Violation::Backend), "{replies}");
        }
    }
}
