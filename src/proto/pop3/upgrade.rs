//! A backend's replies on the way to TLS (RFC 2595 §4).

use super::reply::{self, Status, greeting_end};
use crate::proto::{
    Violation,
    upgrade::{Answer, Stage},
};

/// The reply at the front of `input`; `None` while it is incomplete.
pub(in crate::proto) fn answer(stage: Stage, input: &[u8]) -> Result<Option<Answer<'_>>, Violation> {
    if stage == Stage::Greeting && greeting_end(input)?.is_none() {
        return Ok(None);
    }
    let Some(reply) = reply::first(input, false)? else { return Ok(None) };
    Ok(Some(Answer { length: reply.length, is_yes: reply.status == Status::Positive, text: reply.text }))
}
