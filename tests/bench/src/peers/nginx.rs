//! nginx twice: the stream module, which relays whatever comes, and the mail module, which speaks IMAP and SMTP until
//! the login or the first recipient, and has STARTTLS.
//!
//! Both have room for 8,000 sessions of two connections, for which a worker takes its memory at the start. The stream
//! module has `reuseport` where there are two workers, so that the kernel spreads clients; the mail module knows no
//! such thing. It is told not to look up its clients' names, and asks our backend for the server of each session
//! (`auth_http`), which it cannot do without.

use super::{Can, Command, Kind, Peer, Setup, words};
use crate::plan::Protocol;

const PROGRAM: (&str, &str) = ("/usr/sbin/nginx", "nginx");

/// The stream module. Names and certificates cannot be told apart in this version, but by loading them in each
/// handshake.
pub(super) const STREAM: Peer = Peer {
    name: "nginx stream",
    kind: Kind::Product,
    can: Can { tls: true, starttls: false, many_certificates: false, asks_recipient: false },
    needs: &[PROGRAM, ("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream")],
    version: &[PROGRAM.0, "-v"],
    command: Some(|setup| command(setup, "stream", &stream(setup))),
};

/// The mail module.
pub(super) const MAIL: Peer = Peer {
    name: "nginx mail",
    kind: Kind::Product,
    can: Can { tls: true, starttls: true, many_certificates: false, asks_recipient: true },
    needs: &[PROGRAM, ("/usr/lib/nginx/modules/ngx_mail_module.so", "libnginx-mod-mail")],
    version: &[PROGRAM.0, "-v"],
    command: Some(|setup| command(setup, "mail", &mail(setup))),
};

fn command(setup: &Setup<'_>, module: &str, block: &str) -> Command {
    let workers = setup.workers;
    let text = format!(
        "load_module /usr/lib/nginx/modules/ngx_{module}_module.so;\ndaemon off;\nmaster_process on;\n\
         worker_processes {workers};\npid nginx.pid;\nerror_log error.log;\nworker_rlimit_nofile 18000;\n\
         events {{ worker_connections 18000; }}\n{block}"
    );
    let file = setup.write("nginx.conf", &text)?;
    let folder = setup.folder.display().to_string();
    Ok(words([PROGRAM.0, "-p", &folder, "-e", "error.log", "-c", &file]))
}

fn stream(setup: &Setup<'_>) -> String {
    let (listen, tls, backend) = (listen(setup), tls(setup), setup.backend);
    let reuseport = if setup.workers > 1 { " reuseport" } else { "" };
    format!("stream {{ server {{ {listen}{reuseport}; {tls} proxy_pass {backend}; proxy_timeout 1h; }} }}\n")
}

fn mail(setup: &Setup<'_>) -> String {
    let (listen, tls, auth_http) = (listen(setup), tls(setup), setup.auth_http);
    let upgrade = if setup.service.starts_in_clear() { "starttls on;" } else { "" };
    let protocol = match setup.service.protocol() {
        Protocol::Imap => "protocol imap;",
        Protocol::Smtp => "protocol smtp; smtp_auth none; xclient off; smtp_capabilities PIPELINING 8BITMIME;",
    };
    format!(
        "mail {{ server_name mail.bench.example; auth_http {auth_http}/; resolver off; timeout 1h; proxy_timeout 1h;\n\
         server {{ {listen}; {tls} {upgrade} {protocol} }} }}\n"
    )
}

fn listen(setup: &Setup<'_>) -> String {
    let tls = if setup.service.starts_in_clear() { "" } else { " ssl" };
    format!("listen {}{tls} backlog=4096", setup.listen)
}

fn tls(setup: &Setup<'_>) -> String {
    let certificate = setup.certificate;
    let (chain, key) = (certificate.chain.display(), certificate.key.display());
    format!("ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {chain}; ssl_certificate_key {key};")
}
