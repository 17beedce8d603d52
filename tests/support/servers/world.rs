//! A DNS of its own, from a signed root on: NSD has its zones, Unbound validates them.
//!
//! The zones are in `tests/fixtures/servers/world`. Below `test.` there is one of each kind: `secure.test` is signed
//! and has a name for each case of DANE, `insecure.test` is not signed, `bogus.test` was changed behind its signatures.
//! All mail hosts are at one address, where a [`Sink`] can be.

use std::path::Path;
use std::process::Command;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::template::fill;
use crate::support::gateway::authority::Issued;
use crate::support::namespace::Namespace;
use crate::support::process::supervised::Supervised;
use crate::support::{Authority, Kind, Scratch, run};

/// The servers of a world of their own, which runs as long as the value lives.
#[derive(Debug)]
pub struct World {
    // The servers are to end before what they run in.
    _resolver: Supervised,
    _names: Supervised,
    /// Where everything of this world runs.
    pub namespace: Namespace,
    /// The certificate of the mail hosts, whose key TLSA records name.
    pub certificate: Issued,
    scratch: Scratch,
}

impl World {
    /// Where Unbound answers, on port 53.
    pub const RESOLVER: &str = "10.53.0.2";

    /// Where it answers too.
    pub const LOOPBACK: &str = "127.0.0.1";

    /// Where every mail host is.
    pub const MAIL_HOST: &str = "10.53.0.25";

    /// Signs the zones, starts the servers, and waits until they answer.
    pub fn start() -> Self {
        let scratch = Scratch::new("world");
        let certificate = Authority::new().issue(&["mx.secure.test"], Kind::Ecdsa);
        let (digest, directory) = (digest(&certificate), scratch.path().display().to_string());
        for file in ["root.zone", "test.zone", "insecure.test.zone", "root.hints", "sign.sh"] {
            scratch.write(file, fill(&format!("world/{file}"), &[]));
        }
        for file in ["secure.test.zone", "bogus.test.zone"] {
            scratch.write(file, fill(&format!("world/{file}"), &[("DIGEST", &digest)]));
        }
        for file in ["nsd.conf", "unbound.conf"] {
            scratch.write(file, fill(&format!("world/{file}"), &[("DIR", &directory)]));
        }
        run(Command::new("sh").arg("sign.sh").current_dir(scratch.path()), b"").succeeds();
        let resolv_conf =
            scratch.write("resolv.conf", format!("nameserver {}\noptions edns0 trust-ad\n", Self::RESOLVER));
        let addresses = ["10.53.0.1/24", "10.53.0.2/24", "10.53.0.25/24"];
        let namespace = Namespace::new(&scratch, &addresses, &resolv_conf);
        let names = serve(&namespace, &scratch, "/usr/sbin/nsd", "nsd.conf", "10.53.0.1");
        let resolver = serve(&namespace, &scratch, "/usr/sbin/unbound", "unbound.conf", Self::RESOLVER);
        Self { _resolver: resolver, _names: names, namespace, certificate, scratch }
    }

    /// Starts a mail server at [`Self::MAIL_HOST`] that shows [`Self::certificate`] after STARTTLS and delivers
    /// nothing.
    pub fn sink(&self) -> Sink {
        self.certificate.write(&self.scratch, "sink");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python/sink.py");
        let mut command = self.namespace.command("/usr/bin/python3");
        command.arg(script).args(["--host", Self::MAIL_HOST, "--port", "25"]);
        command.arg("--certificate").arg(self.scratch.join("sink.crt")).arg("--key").arg(self.scratch.join("sink.key"));
        let directory = self.scratch.directory("sink");
        let output = directory.join("output");
        let ready = || std::fs::read_to_string(&output).is_ok_and(|text| text.contains("ready"));
        Sink { _server: Supervised::start(&command, &directory, ready) }
    }
}

/// A mail server that runs as long as the value lives.
#[derive(Debug)]
pub struct Sink {
    _server: Supervised,
}

fn serve(namespace: &Namespace, scratch: &Scratch, program: &str, configuration: &str, address: &str) -> Supervised {
    let mut command = namespace.command(program);
    command.args(["-d", "-c"]).arg(scratch.join(configuration));
    let mut question = namespace.command("dig");
    question.args(["+time=1", "+tries=1", "+short", &format!("@{address}"), "secure.test", "MX"]);
    let directory = scratch.directory(&configuration.replace(".conf", ""));
    Supervised::start(&command, &directory, || run(&question, b"").text().contains("mx.secure.test."))
}

/// The SHA-256 digest of a certificate's key, as a TLSA record `3 1 1` has it.
fn digest(certificate: &Issued) -> String {
    let der = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).expect("a certificate");
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.public_key().raw);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}
