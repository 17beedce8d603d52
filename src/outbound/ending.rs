//! What comes of a message for a recipient: what the sender is told, and what that means for the next attempt.

use super::{conversation::Broken, store::Reply};
use crate::{
    policy::{strategy::LastError, verdict::Refusal},
    proto::smtp::{Answer, Obstacle, in_brackets},
};

/// What comes of a message for a recipient.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// What the sender is told.
    pub(super) answer: Answer,
    /// What that means for the next attempt.
    pub(super) last_error: LastError,
}

impl Ending {
    /// By what the server `mx` has said.
    pub(super) fn said(answer: &Answer, mx: &str) -> Self {
        let last_error = if answer.is_positive() { LastError::None } else { LastError::UnexpectedReply };
        Self { answer: answer.relayed(mx), last_error }
    }

    /// By what it has said before.
    pub(super) fn remembered(reply: &Reply) -> Self {
        Self { answer: Answer::told(reply.code, &reply.text), last_error: LastError::None }
    }

    /// By what keeps the message from the server.
    pub(super) fn kept_from(obstacle: Obstacle, mx: &str) -> Self {
        Self { answer: obstacle.answer(&in_brackets(mx)), last_error: LastError::UnexpectedReply }
    }

    /// Where the conversation with it has broken off.
    pub(super) fn broken(obstacle: Obstacle, mx: &str, broken: &Broken) -> Self {
        let last_error = match obstacle {
            Obstacle::OutcomeUnknown => LastError::Ambiguous,
            _ => broken.last_error(),
        };
        Self { answer: obstacle.answer(&format!("{} {broken}", in_brackets(mx))), last_error }
    }

    /// Where there is no server, and nothing was said.
    pub(super) fn no_address() -> Self {
        Self { answer: Obstacle::NoAddress.answer(""), last_error: LastError::Dns }
    }

    /// What is to be remembered of it.
    pub(super) fn reply(&self) -> Reply {
        Reply { code: self.answer.code(), text: self.answer.text() }
    }
}

/// Where no envelope may be sent to a host.
impl From<&Refusal> for Ending {
    fn from(refusal: &Refusal) -> Self {
        let text = format!("{} {}", refusal.enhanced, refusal.text);
        Self { answer: Answer::told(refusal.code, &text), last_error: refusal.last_error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::smtp::remote::Asked;

    #[test]
    fn an_address_is_in_brackets_once() {
        let broken = Broken::Closed(Some(Asked::Recipient));
        for host in ["192.0.2.1", "[192.0.2.1]"] {
            let told = Ending::broken(Obstacle::Broken, host, &broken).answer.to_string();
            assert!(told.contains(": [192.0.2.1] the server has closed"), "{told}");
            let told = Ending::kept_from(Obstacle::NoUtf8, host).answer.to_string();
            assert!(told.ends_with("SMTPUTF8: [192.0.2.1]"), "{told}");
        }
    }
}
