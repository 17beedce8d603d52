//! HAProxy in TCP mode. Its timeouts have no default; these are such that nothing ends while it is measured. There is
//! room for 8,000 sessions.

use super::{Can, Command, Kind, Peer, Setup, words};

pub(super) const HAPROXY: Peer = Peer {
    name: "haproxy",
    kind: Kind::Product,
    can: Can { tls: true, starttls: false, many_certificates: true, asks_recipient: false },
    needs: &[("/usr/sbin/haproxy", "haproxy")],
    version: &["/usr/sbin/haproxy", "-v"],
    command: Some(command),
};

fn command(setup: &Setup<'_>) -> Command {
    let file = setup.write("haproxy.cfg", &configuration(setup))?;
    // In the foreground.
    Ok(words(["/usr/sbin/haproxy", "-db", "-f", &file]))
}

fn configuration(setup: &Setup<'_>) -> String {
    let Setup { listen, backend, workers, certificate, .. } = setup;
    let hosted = setup.hosted.map(|hosted| format!(" crt {}/", hosted.whole.display())).unwrap_or_default();
    format!(
        "global\n  nbthread {workers}\n  maxconn 9000\n\
         defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
         frontend client\n  bind {listen} ssl crt {}{hosted}\n  default_backend mail\n\
         backend mail\n  server mail {backend}\n",
        certificate.both.display()
    )
}
