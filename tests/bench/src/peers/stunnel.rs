//! stunnel. A thread for each session: it has no workers to be told of, so that one worker means one processor.
//! `TCP_NODELAY` on both sides, and no log, as with the others.

use super::{Can, Command, Kind, Peer, Setup, words};

pub(super) const STUNNEL: Peer = Peer {
    name: "stunnel",
    kind: Kind::Product,
    can: Can { tls: true, starttls: true, many_certificates: false, asks_recipient: false },
    needs: &[("/usr/bin/stunnel4", "stunnel4")],
    version: &["/usr/bin/stunnel4", "-version"],
    command: Some(command),
};

fn command(setup: &Setup<'_>) -> Command {
    let file = setup.write("stunnel.conf", &configuration(setup))?;
    Ok(words(["/usr/bin/stunnel4", &file]))
}

fn configuration(setup: &Setup<'_>) -> String {
    let Setup { listen, backend, certificate, service, .. } = setup;
    let upgrade =
        if service.starts_in_clear() { format!("protocol = {}\n", service.protocol().name()) } else { String::new() };
    format!(
        "foreground = yes\npid =\ndebug = crit\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n\
         [mail]\naccept = {listen}\nconnect = {backend}\ncert = {}\nkey = {}\nTIMEOUTidle = 3600\n{upgrade}",
        certificate.chain.display(),
        certificate.key.display()
    )
}
