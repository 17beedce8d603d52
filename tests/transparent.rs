//! Backends that see the client's own address on their connection, in network namespaces with routes of their own.

mod support;

use std::process::{self, Command};

use support::{Gateway, Ran, Running, run, start};

/// A client's machine, mailward's, and a backend's whose way to everywhere is through mailward's.
struct Network {
    name: String,
}

const SET_UP: &str = r"
set -e
for side in client gateway backend; do
    ip netns add $1-$side
    ip -n $1-$side link set lo up
done
join() { # NAMESPACE INTERFACE ADDRESS ADDRESS-OF-VERSION-6
    ip -n $1 address add $3 dev $2
    ip -n $1 address add $4 dev $2 nodad
    ip -n $1 link set $2 up
}
ip -n $1-client link add outside type veth peer name outside netns $1-gateway
ip -n $1-backend link add inside type veth peer name inside netns $1-gateway
join $1-client outside 10.77.1.7/24 fd77:1::7/64
join $1-gateway outside 10.77.1.1/24 fd77:1::1/64
join $1-gateway inside 10.77.2.1/24 fd77:2::1/64
join $1-backend inside 10.77.2.2/24 fd77:2::2/64
for version in -4 -6; do
    # What comes from the backend is for this machine, whomever it is addressed to.
    ip -n $1-gateway $version rule add iif inside lookup 100
    ip -n $1-gateway $version route add local default dev lo table 100
done
ip -n $1-backend route add default via 10.77.2.1
ip -n $1-backend -6 route add default via fd77:2::1
";

/// A backend that greets with the address of whoever connects.
const BACKEND: &str = r#"
import socket, threading
listener = socket.create_server(("::", 25), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
def serve(stream, peer):
    stream.sendall(b"220 " + peer[0].removeprefix("::ffff:").encode() + b"\r\n")
    while stream.recv(4096):
        stream.sendall(b"221 bye\r\n")
while True:
    threading.Thread(target=serve, args=listener.accept(), daemon=True).start()
"#;

/// A client that says what it is told to say first, prints the greeting and takes its leave.
const CLIENT: &str = r#"
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as stream:
    stream.sendall(b"".join(line.encode() + b"\r\n" for line in sys.argv[3:]))
    lines = stream.makefile("rb")
    print(lines.readline().decode().strip())
    stream.sendall(b"QUIT\r\n")
    lines.read()
"#;

impl Network {
    fn set_up() -> Self {
        let network = Self { name: format!("mailward-{}", process::id()) };
        let mut script = Command::new("sh");
        script.args(["-c", SET_UP, "sh", &network.name]);
        run(&script, b"").succeeds();
        network
    }

    fn inside(&self, side: &str) -> [String; 4] {
        ["ip".into(), "netns".into(), "exec".into(), format!("{}-{side}", self.name)]
    }

    fn python(&self, side: &str, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(&self.inside(side)[1..]).args(["python3", "-c", program]).args(arguments);
        command
    }

    fn backend(&self) -> Running {
        let mut backend = start(&self.python("backend", BACKEND, &[]));
        assert_eq!(backend.line(), "ready");
        backend
    }

    fn gateway(&self, change: &[&str]) {
        let mut command = Command::new("ip");
        command.arg("-n").arg(format!("{}-gateway", self.name)).args(change);
        run(&command, b"").succeeds();
    }

    fn client(&self, address: &str, port: &str) -> Ran {
        run(&self.python("client", CLIENT, &[address, port]), b"").succeeds()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for side in ["client", "gateway", "backend"] {
            // What is left of it goes with the machine.
            let _ = Command::new("ip").args(["netns", "delete", &format!("{}-{side}", self.name)]).status();
        }
    }
}

#[test]
fn the_backend_accepts_a_connection_of_the_clients() {
    let network = Network::set_up();
    let _backend = network.backend();
    let gateway = network.inside("gateway");
    let both = |port: u16| format!("bind = [\"10.77.1.1:{port}\", \"[fd77:1::1]:{port}\"]\ntls.enable = false");
    let gateway = Gateway::builder()
        .listener("four", "smtp", "10.77.2.2:25")
        .with("four", &both(2504))
        .backend("four", "identity = \"transparent\"\ntimeout.connect = \"2s\"")
        .listener("six", "smtp", "[fd77:2::2]:25")
        .with("six", &both(2506))
        .backend("six", "identity = \"transparent\"")
        .listener("proxied", "smtp", "10.77.2.2:25")
        .with("proxied", &both(2507))
        .with("proxied", "proxy.trusted-networks = \"10.77.1.7\"")
        .backend("proxied", "identity = \"transparent\"")
        .listener("untold", "smtp", "10.77.2.2:25")
        .with("untold", &both(2500))
        .under(&gateway.each_ref().map(String::as_str))
        .start();
    network.client("10.77.1.1", "2500").prints("220 10.77.2.1\n");
    network.client("10.77.1.1", "2504").prints("220 10.77.1.7\n");
    network.client("fd77:1::1", "2506").prints("220 fd77:1::7\n");
    // There is no connection between the families, and no other client is to suffer for it.
    for (address, port, listener) in [("fd77:1::1", "2504", "four"), ("10.77.1.1", "2506", "six")] {
        network.client(address, port).prints("421 4.3.2");
        assert_eq!(gateway.session(listener, "backend-down")["reason"], "other-address-family");
    }
    network.client("10.77.1.1", "2504").prints("220 10.77.1.7\n");
    network.client("fd77:1::1", "2506").prints("220 fd77:1::7\n");
    let warned = |line: &serde_json::Value| line["level"] == "WARN" && line["advice"].is_string();
    assert_eq!(gateway.count(warned), 2, "{:?}", gateway.log());
    // Where a proxy leaves the client open, mailward's own address does not stand in for it.
    let header = "PROXY TCP4 0.0.0.0 10.77.1.1 1 25";
    run(&network.python("client", CLIENT, &["10.77.1.1", "2507", header]), b"").succeeds().prints("421 4.3.2");
    let header = "PROXY TCP4 10.77.1.9 10.77.1.1 1 25";
    run(&network.python("client", CLIENT, &["10.77.1.1", "2507", header]), b"").succeeds().prints("220 10.77.1.9\n");
    // Without the way back it is told what to look at, and who needs no way back is served.
    network.gateway(&["rule", "delete", "iif", "inside", "lookup", "100"]);
    network.client("10.77.1.1", "2504").prints("421 4.3.2");
    gateway.log_line("a warning of the way back", |line| {
        line["advice"].as_str().is_some_and(|advice| advice.contains("deploy/transparent.md"))
    });
    network.client("10.77.1.1", "2500").prints("220 10.77.2.1\n");
}

#[test]
fn without_the_capability_it_does_not_start_and_check_says_so() {
    let gateway =
        Gateway::builder().listener("imap", "imap", "127.0.0.1:1").backend("imap", "identity = \"transparent\"");
    gateway.write();
    let file = gateway.scratch().join("proxy.toml");
    let bounded = ["setpriv", "--bounding-set", "-net_admin,-net_raw"];
    let mut check = Command::new(bounded[0]);
    check.args(&bounded[1..]).arg(env!("CARGO_BIN_EXE_mailward")).args(["check", "--config"]).arg(file);
    let why = "backend.imap.identity: \"transparent\" cannot be had: no socket may take a client's address";
    run(&check, b"").succeeds().prints(&format!("warning: {why}")).prints("CAP_NET_RAW");
    let said = gateway.under(&bounded).start_fails();
    assert!(said.contains(why) && !said.contains("warning: backend"), "{said}");
}
