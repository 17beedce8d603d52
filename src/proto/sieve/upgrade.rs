//! A backend's replies on the way to TLS (RFC 5804 §2.2).

use super::reply::{self, Status};
use crate::proto::{Violation, line, upgrade::Answer};

/// The reply at the front of `input`, the list of the greeting included; `None` while it is incomplete.
pub(in crate::proto) fn answer(input: &[u8]) -> Result<Option<Answer<'_>>, Violation> {
    let Some(reply) = reply::first(input)? else { return Ok(None) };
    let text = line::without_end(reply.last);
    Ok(Some(Answer { length: reply.length, is_yes: reply.status == Status::Positive, text }))
}
