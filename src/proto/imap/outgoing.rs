//! A command on its way to the backend, in as many parts as its synchronizing literals ask for.

use std::collections::VecDeque;

use super::arguments::Token;
use super::command::Tag;

/// What the backend is still to be sent of a command. Each part but the last ends in `{n}`, and the next is sent
/// when the backend has answered it with `+`.
pub(super) struct Outgoing {
    parts: VecDeque<Vec<u8>>,
}

impl Outgoing {
    /// `TAG VERB ARGUMENT …`, every argument in the form the client gave it.
    pub(super) fn new(tag: &Tag, verb: &str, arguments: &[Token]) -> Self {
        let mut parts = VecDeque::new();
        let mut part = [tag.as_bytes(), b" ", verb.as_bytes()].concat();
        for argument in arguments {
            part.push(b' ');
            write(*argument, &mut part, &mut parts);
        }
        part.extend_from_slice(b"\r\n");
        parts.push_back(part);
        Self { parts }
    }

    /// The next part.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.parts.pop_front()
    }

    /// Whether the backend has it all.
    pub(super) fn is_sent(&self) -> bool {
        self.parts.is_empty()
    }
}

fn write(argument: Token, part: &mut Vec<u8>, parts: &mut VecDeque<Vec<u8>>) {
    match argument {
        Token::Atom(word) => part.extend_from_slice(word),
        Token::Quoted(escaped) => part.extend_from_slice(&[b"\"", escaped, b"\""].concat()),
        Token::Literal { bytes, plus } => {
            part.extend_from_slice(format!("{{{}{}}}\r\n", bytes.len(), if plus { "+" } else { "" }).as_bytes());
            if !plus {
                parts.push_back(std::mem::take(part));
            }
            part.extend_from_slice(bytes);
        }
        Token::Space | Token::Open | Token::Close => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(arguments: &[Token]) -> Vec<String> {
        let outgoing = Outgoing::new(&Tag::parse(b"a1").unwrap(), "LOGIN", arguments);
        outgoing.parts.into_iter().map(|part| String::from_utf8(part).unwrap()).collect()
    }

    #[test]
    fn a_command_without_waiting_literals_is_one_part() {
        let literal = Token::Literal { bytes: b"a b", plus: true };
        assert_eq!(parts(&[Token::Atom(b"tim"), Token::Quoted(b"\\\"")]), ["a1 LOGIN tim \"\\\"\"\r\n"]);
        assert_eq!(parts(&[literal, literal]), ["a1 LOGIN {3+}\r\na b {3+}\r\na b\r\n"]);
    }

    #[test]
    fn a_part_ends_where_the_backend_must_be_waited_for() {
        let literal = Token::Literal { bytes: b"", plus: false };
        assert_eq!(parts(&[literal, Token::Atom(b"x")]), ["a1 LOGIN {0}\r\n", " x\r\n"]);
    }
}
