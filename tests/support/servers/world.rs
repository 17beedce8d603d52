//! A DNS of its own, from a signed root on: NSD has its zones, Unbound validates them.
//!
//! The zones are in `tests/fixtures/servers/world`. Below `test.` there is one of each kind: `secure.test` is signed
//! and has a name for each case of DANE, `insecure.test` is not signed, `bogus.test` was changed behind its signatures.
//! Nearly all mail hosts are at one address, where a [`Sink`] can be, or the test's own [`MailHosts`](super::mail_hosts::MailHosts), and all hosts of
//! MTA-STS policies at another, where a [`PolicyHost`] can be. `many.test`, which is not signed, has
//! domains with a host and an address of their own, where an [`Mx`] can be.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::mx::{Mx, Script};
use super::template::fill;
use crate::support::gateway::authority::Issued;
use crate::support::gateway::secured::showing;
use crate::support::gateway::talk::Talk;
use crate::support::namespace::Namespace;
use crate::support::process::supervised::Supervised;
use crate::support::{Authority, Kind, Scratch, run};

/// The servers of a world of their own, which runs as long as the value lives.
#[derive(Debug)]
pub struct World {
    // The servers are to end before what they run in.
    resolver: Supervised,
    refuser: Supervised,
    _names: Supervised,
    /// Where everything of this world runs.
    pub namespace: Namespace,
    /// The certificate of the mail hosts, whose key TLSA records name. It is for `mx.secure.test` and
    /// `mx.insecure.test`.
    pub certificate: Issued,
    /// The authority that it is from. `ca.pem` in the scratch directory is its own.
    pub authority: Authority,
    /// Where its files are.
    pub scratch: Scratch,
}

impl World {
    /// Where Unbound answers, on port 53.
    pub const RESOLVER: &str = "10.53.0.2";

    /// Where it answers too.
    pub const LOOPBACK: &str = "127.0.0.1";

    /// Where every mail host is, but for those of [`Self::OTHER_HOSTS`].
    pub const MAIL_HOST: &str = "10.53.0.25";

    /// Where `a.insecure.test`, `b.insecure.test` and `c.insecure.test` are.
    pub const OTHER_HOSTS: [&str; 3] = ["10.53.0.27", "10.53.0.28", "10.53.0.29"];

    /// Where the name server is that answers no question about TLSA records.
    const REFUSER: &str = "10.53.0.3";

    /// Where every host of a policy is.
    pub const POLICY_HOST: &str = "10.53.0.26";

    /// How many domains `many.test` has.
    pub const DOMAINS: u8 = 64;

    /// A domain of `many.test`.
    pub fn domain(number: u8) -> String {
        assert!(number < Self::DOMAINS, "there are {} domains", Self::DOMAINS);
        format!("d{number}.many.test")
    }

    /// Where the one host of that domain is.
    pub const fn host(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 53, 1, number + 1)
    }

    /// Signs the zones, starts the servers, and waits until they answer.
    pub fn start() -> Self {
        let scratch = Scratch::new("world");
        let authority = Authority::new();
        let certificate = authority.issue(&["mx.secure.test", "mx.insecure.test"], Kind::Ecdsa);
        scratch.write("ca.pem", authority.pem());
        let (digest, directory) = (digest(&certificate), scratch.path().display().to_string());
        for file in ["root.zone", "test.zone", "insecure.test.zone", "root.hints", "sign.sh"] {
            scratch.write(file, fill(&format!("world/{file}"), &[]));
        }
        for file in ["secure.test.zone", "bogus.test.zone"] {
            scratch.write(file, fill(&format!("world/{file}"), &[("DIGEST", &digest)]));
        }
        scratch.write("many.test.zone", fill("world/many.test.zone", &[("HOSTS", &hosts())]));
        for file in ["nsd.conf", "unbound.conf"] {
            scratch.write(file, fill(&format!("world/{file}"), &[("DIR", &directory)]));
        }
        run(Command::new("sh").arg("sign.sh").current_dir(scratch.path()), b"").succeeds();
        let resolv_conf =
            scratch.write("resolv.conf", format!("nameserver {}\noptions edns0 trust-ad\n", Self::RESOLVER));
        let addresses = ["10.53.0.1", Self::RESOLVER, Self::REFUSER, Self::MAIL_HOST, Self::POLICY_HOST].into_iter();
        // On this interface each is its whole network, and so are all hosts of many.test.
        let many = Self::host(0).to_string();
        let addresses = addresses.chain(Self::OTHER_HOSTS).chain([many.as_str()]);
        let addresses: Vec<_> = addresses.map(|address| format!("{address}/24")).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let namespace = Namespace::new(&scratch, &addresses, &resolv_conf);
        let names = serve(&namespace, &scratch, "/usr/sbin/nsd", "nsd.conf", "10.53.0.1");
        let resolver = serve(&namespace, &scratch, "/usr/sbin/unbound", "unbound.conf", Self::RESOLVER);
        let mut refuser = python(&namespace, "refuser.py");
        refuser.args(["--host", Self::REFUSER]);
        let refuser = start_python(&refuser, &scratch, "refuser");
        Self { resolver, refuser, _names: names, namespace, certificate, authority, scratch }
    }

    /// What the resolver was asked so far, whoever asked: `TYPE NAME`, the name without its last dot.
    pub fn asked(&self) -> Vec<String> {
        let output = self.resolver.output();
        // [TIME] unbound[PROCESS:THREAD] info: CLIENT NAME. TYPE CLASS
        let question = |line: &str| {
            let words: Vec<_> = line.split_once(" info: ")?.1.split(' ').collect();
            let [client, name, kind, "IN"] = words[..] else { return None };
            client.parse::<IpAddr>().ok()?;
            Some(format!("{kind} {}", name.strip_suffix('.')?))
        };
        output.lines().filter_map(question).collect()
    }

    /// How many questions reached the name server that answers none.
    pub fn refused(&self) -> usize {
        self.refuser.output().lines().filter(|line| line.starts_with("asked")).count()
    }

    /// A connection from where the world is.
    #[track_caller]
    pub fn talk(&self, address: SocketAddr) -> Talk {
        self.namespace.inside(|| Talk::to(address))
    }

    /// Starts a mail server at [`Self::MAIL_HOST`] that shows [`Self::certificate`] after STARTTLS and delivers
    /// nothing.
    pub fn sink(&self) -> Sink {
        self.sink_with(&[])
    }

    /// Like [`Self::sink`], with these options of `sink.py`.
    pub fn sink_with(&self, options: &[&str]) -> Sink {
        self.sink_showing(&self.certificate, options)
    }

    /// Like [`Self::sink_with`], with another certificate.
    pub fn sink_showing(&self, certificate: &Issued, options: &[&str]) -> Sink {
        certificate.write(&self.scratch, "sink");
        let mut command = self.python("sink.py", "sink");
        command.args(["--host", Self::MAIL_HOST, "--port", "25"]).args(options);
        let output = self.scratch.directory("sink").join("output");
        Sink { _server: start_python(&command, &self.scratch, "sink"), output }
    }

    /// Starts an HTTPS server at [`Self::POLICY_HOST`] that has a certificate of [`Self::authority`] for the policy
    /// hosts of the `certified` domains, and says what stands in `answers`: for each domain a status, a media type, and
    /// a policy.
    pub fn policy_host(&self, certified: &[&str], answers: &[(&str, u16, &str, &str)]) -> PolicyHost {
        let names: Vec<_> = certified.iter().map(|domain| format!("mta-sts.{domain}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.authority.issue(&names, Kind::Ecdsa).write(&self.scratch, "policies");
        let answers: serde_json::Map<_, _> = answers
            .iter()
            .map(|(domain, status, kind, body)| (format!("mta-sts.{domain}"), serde_json::json!([status, kind, body])))
            .collect();
        let file = self.scratch.write("policies.json", serde_json::Value::Object(answers).to_string());
        let mut command = self.python("policies.py", "policies");
        command.args(["--host", Self::POLICY_HOST, "--port", "443", "--answers"]).arg(file);
        let output = self.scratch.directory("policies").join("output");
        PolicyHost { _server: start_python(&command, &self.scratch, "policies"), output }
    }

    /// Starts the mail server of a domain of `many.test`, which shows a certificate of [`Self::authority`] after STARTTLS.
    pub fn mx(&self, number: u8, script: Option<Script>) -> Mx {
        let certificate = self.authority.issue(&["*.many.test"], Kind::Ecdsa);
        Mx::start(&self.namespace, Self::host(number), showing(&certificate), script)
    }

    fn python(&self, script: &str, certificate: &str) -> Command {
        let mut command = python(&self.namespace, script);
        let file = |kind: &str| self.scratch.join(&format!("{certificate}.{kind}"));
        command.arg("--certificate").arg(file("crt")).arg("--key").arg(file("key"));
        command
    }
}

fn python(namespace: &Namespace, script: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python").join(script);
    let mut command = namespace.command("/usr/bin/python3");
    // Warnings of what is out of date are no news.
    command.args(["-W", "ignore"]).arg(script);
    command
}

fn start_python(command: &Command, scratch: &Scratch, name: &str) -> Supervised {
    let directory = scratch.directory(name);
    let output = directory.join("output");
    Supervised::start(command, &directory, || std::fs::read_to_string(&output).is_ok_and(|text| text.contains("ready")))
}

/// A mail server that runs as long as the value lives.
#[derive(Debug)]
pub struct Sink {
    _server: Supervised,
    output: PathBuf,
}

impl Sink {
    /// The verbs of the commands that it was given.
    pub fn heard(&self) -> Vec<String> {
        let output = std::fs::read_to_string(&self.output).expect("its output");
        output.lines().skip(1).map(str::to_owned).collect()
    }
}

/// A host of MTA-STS policies that runs as long as the value lives.
#[derive(Debug)]
pub struct PolicyHost {
    _server: Supervised,
    output: PathBuf,
}

impl PolicyHost {
    /// The hosts that it was asked for a policy of.
    pub fn asked(&self) -> Vec<String> {
        let output = std::fs::read_to_string(&self.output).expect("its output");
        output.lines().skip(1).map(str::to_owned).collect()
    }
}

fn serve(namespace: &Namespace, scratch: &Scratch, program: &str, configuration: &str, address: &str) -> Supervised {
    let mut command = namespace.command(program);
    command.args(["-d", "-c"]).arg(scratch.join(configuration));
    let mut question = namespace.command("dig");
    question.args(["+time=1", "+tries=1", "+short", &format!("@{address}"), "secure.test", "MX"]);
    let directory = scratch.directory(&configuration.replace(".conf", ""));
    Supervised::start(&command, &directory, || run(&question, b"").text().contains("mx.secure.test."))
}

/// The records of all domains of `many.test`.
fn hosts() -> String {
    (0..World::DOMAINS).fold(String::new(), |mut records, number| {
        let _ = write!(records, "d{number} MX 10 mx{number}\nmx{number} A {}\n", World::host(number));
        records
    })
}

/// The SHA-256 digest of a certificate's key, as a TLSA record `3 1 1` has it.
fn digest(certificate: &Issued) -> String {
    let der = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).expect("a certificate");
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.public_key().raw);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}
