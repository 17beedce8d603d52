//! What a newcomer is told at the start: the commands to try against the embedded store.

use std::net::SocketAddr;

use crate::{
    config::{Address, Config, Listener},
    proto::Protocol,
};

/// The commands to try, with the addresses that listeners really have; empty where nothing is embedded.
#[must_use]
pub fn text(config: &Config, addresses: impl Fn(&str) -> Vec<SocketAddr>) -> String {
    let find = |protocol, implicit| {
        let mut all = config.listeners.values().filter(|listener| is_embedded(config, listener));
        let fits = |listener: &&Listener| {
            listener.protocol == protocol && listener.tls.as_ref().is_some_and(|tls| tls.implicit == implicit)
        };
        all.find(fits).and_then(|listener| addresses(&listener.id).first().copied())
    };
    let mut commands = Vec::new();
    if let Some(smtp) = find(Protocol::Smtp, false) {
        commands.push(format!(
            "  swaks --server {smtp} --tls --from me@example.org --to ann@example.org\n  \
             curl -k --ssl-reqd smtp://{smtp} --mail-from me@example.org --mail-rcpt ann@example.org --crlf \
             -T README.md"
        ));
    }
    if let Some(imaps) = find(Protocol::Imap, true) {
        commands.push(format!("  curl -k 'imaps://{imaps}/INBOX;MAILINDEX=1' -u ann:anything"));
    }
    if let Some(pop3) = find(Protocol::Pop3, false) {
        commands.push(format!("  curl -k --ssl-reqd pop3://{pop3}/1 -u ann:anything"));
    }
    if let Some(imaps) = find(Protocol::Imap, true) {
        commands.push(format!(
            "  or point a mail program at {}, port {}, TLS, user ann, any password",
            imaps.ip(),
            imaps.port()
        ));
    }
    if commands.is_empty() {
        return String::new();
    }
    format!(
        "mailward runs, with its embedded mail store behind it (in memory: it forgets everything at the end).\n\
         Send a message, and read it:\n\n{}\n\n\
         Then put the address of a real mail server in place of \"embedded\".\n",
        commands.join("\n")
    )
}

fn is_embedded(config: &Config, listener: &Listener) -> bool {
    config
        .backends
        .get(&listener.backend)
        .is_some_and(|backend| backend.members.iter().any(|member| member.address == Address::Embedded))
}
