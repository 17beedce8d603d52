//! Certificates that clients show: who is served with which, and who is told of their names (`tls.client-auth`).

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

use rcgen::date_time_ymd;
use support::gateway::authority::Authority;
use support::{Gateway, GatewayBuilder, Kind, NAME, Pebble, SClient, Scratch};

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// The authority of the clients, its certificate, and what clients show: one of it, one that has expired, one of a stranger's.
struct Clients {
    scratch: Scratch,
    authority: Authority,
}

impl Clients {
    fn new() -> Self {
        let (scratch, authority) = (Scratch::new("clients"), Authority::new());
        scratch.write("clients.pem", authority.pem());
        authority.issue(&["ann"], Kind::Ecdsa).write(&scratch, "ann");
        let expired = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2001, 1, 1);
        authority.issue_with(&["ann"], Kind::Ecdsa, expired).write(&scratch, "expired");
        Authority::new().issue(&["ann"], Kind::Ecdsa).write(&scratch, "stranger");
        Self { scratch, authority }
    }

    fn root(&self) -> PathBuf {
        self.scratch.join("clients.pem")
    }

    /// `imaps` in front of the embedded store, which asks its clients so.
    fn gateway(&self, auth: &str) -> Gateway {
        asking(Gateway::builder().implicit("imaps", "imap", "embedded"), auth, &self.root()).start()
    }

    /// Connects as whoever has this certificate, if any, and logs out.
    fn visit(&self, gateway: &Gateway, version: &str, certificate: &str, more: &[&str]) -> String {
        let mut client = SClient::at(&gateway.implicit("imaps"), "imap").version(version).arguments(more);
        if !certificate.is_empty() {
            let file = |kind: &str| self.scratch.join(&format!("{certificate}.{kind}")).display().to_string();
            client = client.arguments(&["-cert", &file("crt"), "-key", &file("key")]);
        }
        client.talk(b"a LOGOUT\r\n").all()
    }
}

fn asking(builder: GatewayBuilder, auth: &str, root: &Path) -> GatewayBuilder {
    builder.with("imaps", &format!("tls.client-auth = \"{auth}\"\ntls.client-ca = \"{}\"", root.display()))
}

const BYE: &str = "* BYE";

#[test]
fn where_one_is_required_nobody_is_served_without_a_good_one() {
    let clients = Clients::new();
    let gateway = clients.gateway("require");
    let mut number = 0;
    for version in VERSIONS {
        let refused = [
            ("", "no-client-certificate"),
            ("stranger", "client-certificate-not-verified"),
            ("expired", "client-certificate-not-verified"),
        ];
        for (certificate, reason) in refused {
            let said = clients.visit(&gateway, version, certificate, &[]);
            assert!(!said.contains(BYE) && said.contains("alert"), "{version} {certificate}: {said}");
            let session = gateway.nth_session("imaps", number);
            assert_eq!((&session["outcome"], &session["reason"]), (&"tls-failed".into(), &reason.into()), "{session}");
            number += 1;
        }
        assert!(clients.visit(&gateway, version, "ann", &[]).contains(BYE));
        let session = gateway.nth_session("imaps", number);
        assert_eq!((&session["outcome"], &session["client_cert"]), (&"ok".into(), &"ann".into()), "{session}");
        number += 1;
    }
}

#[test]
fn where_it_is_optional_everybody_is_served_and_a_good_one_is_named() {
    let clients = Clients::new();
    let gateway = clients.gateway("optional");
    let mut number = 0;
    for version in VERSIONS {
        for (certificate, name) in [("", ""), ("stranger", ""), ("expired", ""), ("ann", "ann")] {
            assert!(clients.visit(&gateway, version, certificate, &[]).contains(BYE), "{version} {certificate}");
            let session = gateway.nth_session("imaps", number);
            assert_eq!((&session["outcome"], &session["client_cert"]), (&"ok".into(), &name.into()), "{session}");
            number += 1;
        }
    }
}

#[test]
fn a_resumed_session_is_named_as_long_as_the_certificate_is_good() {
    let clients = Clients::new();
    for version in VERSIONS {
        let gateway = clients.gateway("optional");
        let ticket = gateway.scratch.join("session").display().to_string();
        clients.visit(&gateway, version, "ann", &["-sess_out", &ticket]);
        let resumed = |number: usize| {
            clients.visit(&gateway, version, "", &["-sess_in", &ticket]);
            let session = gateway.nth_session("imaps", number);
            assert_eq!(session["resumed"], true, "{version}: {session}");
            session["client_cert"].as_str().expect("a name").to_owned()
        };
        assert_eq!(resumed(1), "ann");
        // The roots are another's from now on.
        clients.scratch.write("clients.pem", Authority::new().pem());
        assert!(gateway.reload());
        assert_eq!(resumed(2), "");
        gateway.edit("\"optional\"", "\"require\"");
        assert!(gateway.reload());
        let said = clients.visit(&gateway, version, "", &["-sess_in", &ticket]);
        assert!(!said.contains(BYE), "{said}");
        assert_eq!(gateway.nth_session("imaps", 3)["outcome"], "tls-failed");
        clients.scratch.write("clients.pem", clients.authority.pem());
    }
}

#[test]
fn a_backend_is_told_of_a_name_that_was_verified_and_of_no_other() {
    let clients = Clients::new();
    let backend = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = backend.local_addr().expect("an address");
    let builder = Gateway::builder().implicit("imaps", "imap", address).backend("imaps", "identity = \"proxy-v2\"");
    let gateway = asking(builder, "optional", &clients.root()).start();
    for (certificate, is_told) in [("ann", true), ("stranger", false)] {
        let header = thread::scope(|scope| {
            let header = scope.spawn(|| {
                let (mut stream, _) = backend.accept().expect("a connection");
                let mut header = [0; 16];
                stream.read_exact(&mut header).expect("a header");
                let mut fields = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
                stream.read_exact(&mut fields).expect("its fields");
                // One that fails would be left out for the next.
                stream.write_all(b"* OK ready\r\n").expect("a listener");
                let _ = stream.read(&mut [0; 64]);
                fields
            });
            clients.visit(&gateway, "-tls1_3", certificate, &[]);
            header.join().expect("a header")
        });
        // The field of TLS: type 0x20, its length, the flags, and four bytes of what came of the certificate.
        let at = header.windows(2).position(|pair| pair == [0x20, 0]).expect("a field of TLS");
        let (flags, verified) = (header[at + 3], &header[at + 4..at + 8]);
        assert_eq!((flags, verified == [0; 4]), (if is_told { 7 } else { 1 }, is_told), "{certificate}: {header:?}");
        let name = [&[0x22, 0, 3][..], b"ann"].concat();
        assert_eq!(header.windows(name.len()).any(|field| field == name), is_told, "{certificate}: {header:?}");
    }
}

#[test]
fn an_authority_validates_where_everybody_else_needs_a_certificate() {
    let clients = Clients::new();
    let pebble = Pebble::builder().start();
    let gateway = asking(Gateway::imaps_from(&pebble), "require", &clients.root()).start();
    gateway.log_line("the certificate to be in force", |line| line["message"] == "a certificate was read anew");
    // Nobody else gets in by what an authority offers.
    let client = SClient::at(&gateway.implicit("imaps"), "imap").server_name(NAME).alpn("acme-tls/1,imap");
    let said = client.talk(b"a LOGOUT\r\n").all();
    assert!(!said.contains(BYE), "{said}");
    assert_eq!(gateway.session("imaps", "tls-failed")["reason"], "no-client-certificate");
}
