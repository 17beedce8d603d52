//! The example configurations in `deploy/examples`, tried: what stands in them is what runs, but for addresses and directories.

mod support;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use support::{Gateway, NAME, Pebble, SClient, Scratch, Supervised, Target, reserve_port};

/// An example, with each of these replaced, which must be in it.
fn example(name: &str, changes: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(name);
    let mut text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    text
}

/// An example of mailward, with the authority of the test in place of the real one and no more of the machine than the test may
/// have. `bind` is where the listener of the authority goes.
fn started(name: &str, pebble: &Pebble, bind: (&str, SocketAddr)) -> Gateway {
    let builder = Gateway::builder();
    let scratch = builder.scratch().path().display().to_string();
    let authority = format!("directory = \"{}\"\nca = \"{}\"", pebble.directory(), pebble.ca().display());
    let free = |port: u16| (format!("[::]:{port}"), "127.0.0.1:0".to_owned());
    let ports = [25, 465, 587, 993].map(free);
    let mut changes = vec![
        ("directory = \"https://acme-staging-v02.api.letsencrypt.org/directory\"", authority),
        ("/var/lib/mailward", format!("{scratch}/state")),
        ("/run/mailward", format!("{scratch}/run")),
        ("[\"10.0.0.5\"]", "\"embedded\"".to_owned()),
        (bind.0, bind.1.to_string()),
    ];
    changes.extend(ports.iter().map(|(from, to)| (from.as_str(), to.clone())));
    builder.scratch().directory("run");
    builder.whole(&example(name, &changes)).start()
}

/// A real client verifies what each mail listener of the examples shows.
fn is_verified(gateway: &Gateway, pebble: &Pebble) {
    let smtp = Target::starttls(gateway.address("smtp"), NAME, &pebble.root(0));
    let imaps = Target::implicit(gateway.address("imaps"), NAME, &pebble.root(0));
    gateway.shows("imaps", &pebble.roots(0));
    SClient::at(&smtp, "smtp").handshake();
    SClient::at(&imaps, "imap").handshake();
    gateway.certs_say(NAME);
}

#[test]
fn mailward_on_port_443_gets_its_certificate_by_tls_alpn_01() {
    let pebble = Pebble::builder().hurried().start();
    let gateway = started("acme-on-443.toml", &pebble, ("[::]:443", pebble.tls()));
    is_verified(&gateway, &pebble);
}

#[test]
fn mailward_behind_a_web_server_gets_its_certificate_by_http_01() {
    let pebble = Pebble::builder().hurried().start();
    let inside = reserve_port();
    let web = Web::start(&pebble, inside.address());
    let gateway = started("acme-behind-a-web-server.toml", &pebble, ("127.0.0.1:8402", inside.address()));
    is_verified(&gateway, &pebble);
    drop(web);
}

/// nginx with what the example has for it, where the authority comes by.
struct Web {
    _server: Supervised,
    _scratch: Scratch,
}

impl Web {
    fn start(pebble: &Pebble, inside: SocketAddr) -> Self {
        let scratch = Scratch::new("nginx");
        let outside = pebble.http();
        let site = example(
            "nginx.conf",
            &[
                ("listen 80;", format!("listen {outside};")),
                ("listen [::]:80;", String::new()),
                ("127.0.0.1:8402", inside.to_string()),
            ],
        );
        let text = format!("daemon off;\npid nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{site}}}\n");
        let configuration = scratch.write("nginx.conf", text);
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(scratch.path()).args(["-e", "stderr", "-c"]).arg(configuration);
        let server = Supervised::start(&command, scratch.path(), || TcpStream::connect(outside).is_ok());
        Self { _server: server, _scratch: scratch }
    }
}

/// What the examples name below /run and /var/lib is there under the unit, and may be written to.
#[test]
fn the_service_has_the_directories_that_the_examples_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = fs::read_to_string(root.join("deploy/systemd/mailward.service")).expect("text");
    for (directory, line) in
        [("/run/mailward", "RuntimeDirectory=mailward"), ("/var/lib/mailward", "StateDirectory=mailward")]
    {
        let names = |name: &str| example(name, &[]).contains(directory);
        assert!(["acme-on-443.toml", "acme-behind-a-web-server.toml"].into_iter().all(names), "{directory}");
        assert!(unit.lines().any(|own| own == line), "{line}");
    }
}
