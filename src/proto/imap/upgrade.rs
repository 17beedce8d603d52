//! A backend's replies on the way to TLS (RFC 9051 §6.2.1).

use super::greeting::greeting_end;
use super::response::{LIMIT, Response, Status};
use crate::proto::line::{self, Line};
use crate::proto::{
    Violation,
    upgrade::{Answer, Stage},
};

/// The command; its tag is the only one in the session.
pub(in crate::proto) const STARTTLS: &[u8] = b"1 STARTTLS\r\n";

/// The reply at the front of `input`; `None` while it is incomplete.
pub(in crate::proto) fn answer(stage: Stage, input: &[u8]) -> Result<Option<Answer<'_>>, Violation> {
    match stage {
        Stage::Greeting => {
            let Some(length) = greeting_end(input)? else { return Ok(None) };
            let text = line::without_end(&input[..length]);
            Ok(Some(Answer { length, is_yes: matches!(Response::parse(text), Some(Response::Line)), text }))
        }
        Stage::List | Stage::StartTls => tagged(input),
    }
}

/// The tagged reply, behind the untagged ones that may come before it and that nobody has asked for.
fn tagged(input: &[u8]) -> Result<Option<Answer<'_>>, Violation> {
    let mut at = 0;
    while at <= LIMIT {
        let (text, length) = match line::first(&input[at..], LIMIT) {
            Line::Partial => return Ok(None),
            Line::Whole { text, length } => (text, length),
            Line::Bad { .. } | Line::Long { .. } | Line::Endless => return Err(Violation::Backend),
        };
        at += length;
        let is_yes = match Response::parse(text) {
            Some(Response::Tagged(tagged)) if tagged.tag == b"1" => tagged.status == Status::Ok,
            Some(Response::Bye) => false,
            Some(Response::Line) => continue,
            _ => return Err(Violation::Backend),
        };
        return Ok(Some(Answer { length: at, is_yes, text }));
    }
    Err(Violation::Backend)
}
