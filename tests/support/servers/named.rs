//! BIND: a name server that takes dynamic updates signed with a key.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use domain::base::iana::Opcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::Txt;

use super::template::fill;
use crate::support::Scratch;
use crate::support::process::port::{Port, reserve_port};
use crate::support::process::supervised::Supervised;

/// A running BIND.
#[derive(Debug)]
pub struct Named {
    server: Supervised,
    port: Port,
    scratch: Scratch,
}

/// What a test may ask of BIND before it starts.
#[derive(Debug, Default)]
pub struct NamedBuilder {
    zones: Vec<String>,
    further: String,
    files: Vec<(String, String)>,
    copies: usize,
}

impl Named {
    /// The name of the key (`hmac-sha256`) that may change TXT records in every zone.
    pub const KEY: &str = "mailward";

    /// The key's secret in base64.
    pub const SECRET: &str = "b3BlbiBzZXNhbWUsIHNhaWQgdGhlIGdhdGV3YXkgISE=";

    /// A BIND without a zone, until the builder says otherwise.
    pub fn builder() -> NamedBuilder {
        NamedBuilder::default()
    }

    /// Where it answers, by UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number()).into()
    }

    /// The TXT records of a name, sorted.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let reply = ask(self.address(), Opcode::QUERY, name, Rtype::TXT).expect("BIND answers");
        let answer = reply.answer().expect("BIND's own message").limit_to::<Txt<_>>();
        let text = |record: Txt<_>| String::from_utf8(record.text::<Vec<u8>>()).expect("the tests write text");
        let mut texts: Vec<_> = answer.map(|record| text(record.expect("a record").into_data())).collect();
        texts.sort();
        texts
    }

    /// Tells a secondary that the zone has changed, so that it fetches it now.
    pub fn notify(&self, zone: &str) {
        ask(self.address(), Opcode::NOTIFY, zone, Rtype::SOA).expect("BIND answers");
    }

    /// What BIND printed so far.
    pub fn log(&self) -> String {
        self.server.output()
    }
}

impl NamedBuilder {
    /// A zone where the key may change every TXT record, with an SOA record and one name server, this one.
    pub fn zone(self, origin: &str) -> Self {
        self.zone_with(origin, "", &format!("grant {} zonesub TXT;", Named::KEY))
    }

    /// A zone with further records (lines of a zone file) and with these rules of BIND's `update-policy`.
    pub fn zone_with(mut self, origin: &str, records: &str, policy: &str) -> Self {
        let statements = format!("type primary; file \"{origin}.zone\"; update-policy {{ {policy} }};");
        self.zones.push(format!("zone \"{origin}\" {{ {statements} }};\n"));
        self.files.push((format!("{origin}.zone"), zone_file(records)));
        self
    }

    /// A zone that is fetched from another server, and again only after [`Named::notify`].
    pub fn secondary(mut self, origin: &str, primary: &Named) -> Self {
        let from = primary.address();
        let statements = format!(
            "type secondary; file \"{origin}.copy\"; primaries {{ {} port {}; }}; allow-notify {{ any; }};",
            from.ip(),
            from.port()
        );
        self.zones.push(format!("zone \"{origin}\" {{ {statements} }};\n"));
        self.copies += 1;
        self
    }

    /// Adds lines to the end of the configuration, a further key for example.
    pub fn further(mut self, lines: &str) -> Self {
        self.further += lines;
        self
    }

    /// Starts it and waits until it answers for its zones.
    pub fn start(self) -> Named {
        let scratch = Scratch::new("named");
        let port = reserve_port();
        for (name, content) in &self.files {
            scratch.write(name, content);
        }
        let configuration = scratch.write("named.conf", self.configuration(scratch.path(), &port));
        let mut command = Command::new("/usr/sbin/named");
        // -g keeps it in the foreground and prints its log.
        command.args(["-g", "-n", "1", "-c"]).arg(configuration);
        let ready = || is_ready(&scratch, self.copies);
        let server = Supervised::start(&command, scratch.path(), ready);
        Named { server, port, scratch }
    }

    fn configuration(&self, directory: &Path, port: &Port) -> String {
        let (directory, port) = (directory.display().to_string(), port.number().to_string());
        let values = [("DIR", directory.as_str()), ("PORT", &port), ("KEY", Named::KEY), ("SECRET", Named::SECRET)];
        fill("named/named.conf", &values) + &self.further + &self.zones.concat()
    }
}

/// Whether it answers, and has fetched what it is a secondary for.
fn is_ready(scratch: &Scratch, copies: usize) -> bool {
    let log = std::fs::read_to_string(scratch.join("output")).unwrap_or_default();
    log.contains(" running\n") && log.matches("transferred serial").count() >= copies
}

/// A zone that lives for an hour everywhere and asks for nothing by itself.
fn zone_file(records: &str) -> String {
    let mut file = String::from("$TTL 3600\n@ SOA ns hostmaster 1 3600 3600 86400 3600\n");
    // Records that name other servers stand alone.
    if !records.contains("@ NS ") {
        file += "@ NS ns\nns A 127.0.0.1\n";
    }
    writeln!(file, "{records}").expect("a string takes everything");
    file
}

/// Asks once, by UDP; `None` where nothing comes back.
fn ask(server: SocketAddr, opcode: Opcode, name: &str, rtype: Rtype) -> Option<Message<Vec<u8>>> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_opcode(opcode);
    let mut message = message.question();
    message.push((Name::vec_from_str(name).expect("a name"), rtype)).expect("it fits");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    socket.send_to(&message.finish(), server).expect("loopback takes it");
    let mut reply = vec![0; 65_535];
    let length = socket.recv(&mut reply).ok()?;
    reply.truncate(length);
    Message::from_octets(reply).ok()
}
