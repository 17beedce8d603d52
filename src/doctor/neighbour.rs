//! What the backend does for mailward itself, without any client: whether it would relay for its address.

use super::dialogue::{Dialogue, Until};
use crate::{inbound::backend::Target, proto::Protocol, snapshot::Mail};

/// A domain that nobody's mail server is responsible for (RFC 2606 §3).
const ELSEWHERE: &str = "mailward-doctor@example.net";

/// Whether the backend takes a recipient of another domain from mailward's address without a login; `None` where that
/// cannot be asked. No message follows.
pub(super) async fn relays(mail: &Mail, target: &Target) -> Option<bool> {
    if !matches!(mail.config.protocol, Protocol::Smtp | Protocol::Submission) || *target == Target::Embedded {
        return None;
    }
    let reached = mail.backend.reach(target, mail.tls.is_some()).await.ok()?;
    let mut dialogue = Dialogue::new(reached.stream);
    let name = &mail.settings.hostname;
    dialogue.ask(&format!("EHLO {name}"), Until::Code).await?;
    // The null sender is everybody's, and no sender's domain is looked at.
    let mut answer = dialogue.ask("MAIL FROM:<>", Until::Code).await?;
    if is_yes(&answer) {
        answer = dialogue.ask(&format!("RCPT TO:<{ELSEWHERE}>"), Until::Code).await?;
    }
    let relays = is_yes(&answer);
    dialogue.ask("RSET", Until::Code).await?;
    dialogue.ask("QUIT", Until::Code).await?;
    Some(relays)
}

fn is_yes(reply: &[String]) -> bool {
    reply.first().is_some_and(|line| line.starts_with('2'))
}
