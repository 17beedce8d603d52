//! A backend's replies on the way to TLS (RFC 3207 §4).

use super::reply::Reply;
use crate::proto::{
    Violation,
    upgrade::{Answer, Stage},
};

/// The reply at the front of `input`; `None` while it is incomplete.
pub(in crate::proto) fn answer(stage: Stage, input: &[u8]) -> Result<Option<Answer<'_>>, Violation> {
    let Some(reply) = Reply::first(input)? else { return Ok(None) };
    let is_yes = match stage {
        Stage::Greeting => reply.class() == 2,
        Stage::List => reply.class() == 2 && reply.texts().skip(1).any(is_starttls),
        Stage::StartTls => reply.code == 220,
    };
    Ok(Some(Answer { length: reply.length(), is_yes, text: reply.first_line() }))
}

fn is_starttls(text: &[u8]) -> bool {
    text.trim_ascii().eq_ignore_ascii_case(b"STARTTLS")
}
