//! hitch. It wants a user to become when root starts it: `nobody`, who then reads nothing of ours. The backlog is as
//! long as that of the others.

use super::{Can, Command, Kind, Peer, Setup, words};

pub(super) const HITCH: Peer = Peer {
    name: "hitch",
    kind: Kind::Product,
    can: Can { tls: true, starttls: false, many_certificates: true, asks_recipient: false },
    needs: &[("/usr/sbin/hitch", "hitch")],
    version: &["/usr/sbin/hitch", "--version"],
    command: Some(command),
};

fn command(setup: &Setup<'_>) -> Command {
    let file = setup.write("hitch.conf", &configuration(setup))?;
    Ok(words(["/usr/sbin/hitch", "--config", &file]))
}

fn configuration(setup: &Setup<'_>) -> String {
    let Setup { listen, backend, workers, certificate, .. } = setup;
    let hosted = setup.hosted.map(|hosted| format!("pem-dir = \"{}/\"\n", hosted.whole.display())).unwrap_or_default();
    let user = if is_root() { "user = \"nobody\"\ngroup = \"nogroup\"\n" } else { "" };
    format!(
        "frontend = {{ host = \"{}\" port = \"{}\" }}\nbackend = \"[{}]:{}\"\nworkers = {workers}\nbacklog = 4096\n\
         pem-file = \"{}\"\nocsp-dir = \"\"\ndaemon = off\n{user}{hosted}",
        listen.ip(),
        listen.port(),
        backend.ip(),
        backend.port(),
        certificate.both.display()
    )
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Uid:").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0")))
}
