//! mailward itself, and another build of it to stand beside.
//!
//! The defaults, but for the number of sessions that may be held. Its log, a line for each session, goes to a file; the
//! others log nothing.

use super::{Can, Command, Kind, Peer, Setup, shown, words};
use crate::plan::Protocol;

const CAN: Can = Can { tls: true, starttls: true, many_certificates: true, asks_recipient: false };

/// The build that all others are held against.
pub(super) const MAILWARD: Peer = Peer {
    name: "mailward",
    kind: Kind::Ours,
    can: CAN,
    needs: &[],
    version: &[],
    command: Some(|setup| command(setup, &shown(setup.mailward))),
};

/// The build of `--other`.
pub(super) const OTHER: Peer = Peer {
    name: "other",
    kind: Kind::Ours,
    can: CAN,
    needs: &[],
    version: &[],
    command: Some(|setup| command(setup, &shown(setup.other))),
};

fn command(setup: &Setup<'_>, program: &str) -> Command {
    let file = setup.write("proxy.toml", &configuration(setup))?;
    Ok(words([program, "--config", &file]))
}

fn configuration(setup: &Setup<'_>) -> String {
    let Setup { listen, backend, workers, certificate, .. } = setup;
    let protocol = setup.service.protocol();
    let name = protocol.name();
    let recipients = if protocol == Protocol::Smtp { "rcpt-domains = \"*\"\n" } else { "" };
    let implicit = !setup.service.starts_in_clear();
    let (chain, key) = (certificate.chain.display(), certificate.key.display());
    let hosted =
        setup.hosted.map(|hosted| format!("[certificate.hosted]\ndirectory = \"{}\"\n", hosted.pairs.display()));
    format!(
        "[server]\nhostname = \"mail.bench.example\"\nworkers = {workers}\nmax-connections = 9000\n\
         [server.listener.bench]\nbind = \"{listen}\"\nprotocol = \"{name}\"\ntls.implicit = {implicit}\n{recipients}\
         [backend.bench]\naddress = \"{backend}\"\n\
         [certificate.main]\ncert = \"%{{file:{chain}}}%\"\nprivate-key = \"%{{file:{key}}}%\"\ndefault = true\n{}",
        hosted.unwrap_or_default()
    )
}
