//! Pebble: an ACME authority (RFC 8555), with the name server that it asks where the names are.
//!
//! Debian's 2.4.0 knows no renewal information and no profiles, and sends no Retry-After; [`Front`](super::front::Front)
//! adds them. It keeps nothing: after a new start every account, order and root is another.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::support::gateway::authority::Issued;
use crate::support::process::port::{Port, reserve_port};
use crate::support::process::supervised::Supervised;
use crate::support::process::wait::eventually;
use crate::support::{Authority, HOST, Kind, NAME, Scratch, run};

/// A Pebble that runs, or was stopped by the test.
#[derive(Debug)]
pub struct Pebble {
    /// Who vouches for the certificate of its own web server.
    pub authority: Authority,
    builder: PebbleBuilder,
    scratch: Scratch,
    ports: Ports,
    names: Option<Names>,
    server: Option<Supervised>,
    starts: usize,
}

/// What a test may ask of Pebble before it starts.
#[derive(Clone, Debug)]
pub struct PebbleBuilder {
    settings: Value,
    environment: Vec<(String, String)>,
    alternates: usize,
    resolver: Option<SocketAddr>,
}

#[derive(Debug)]
struct Ports {
    acme: Port,
    management: Port,
    http: Port,
    tls: Port,
}

/// A name server by which every name is at [`HOST`].
#[derive(Debug)]
struct Names {
    dns: Port,
    management: Port,
    _server: Supervised,
}

impl Pebble {
    /// A Pebble as it comes: it sleeps for up to four seconds before it validates, and takes every twentieth nonce for a bad
    /// one.
    pub fn builder() -> PebbleBuilder {
        let settings = json!({ "externalAccountBindingRequired": false });
        PebbleBuilder { settings, environment: Vec::new(), alternates: 0, resolver: None }
    }

    /// Where it serves ACME.
    pub fn address(&self) -> SocketAddr {
        self.ports.acme.address()
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.address())
    }

    /// The file with the certificate that vouches for the directory's.
    pub fn ca(&self) -> PathBuf {
        self.scratch.join("authority.pem")
    }

    /// Where it looks for the answer to http-01.
    pub fn http(&self) -> SocketAddr {
        self.ports.http.address()
    }

    /// Where it looks for the answer to tls-alpn-01.
    pub fn tls(&self) -> SocketAddr {
        self.ports.tls.address()
    }

    /// Where its name server takes the TXT records that tests write, by POST with JSON: `/set-txt`, `/clear-txt`.
    pub fn records(&self) -> SocketAddr {
        self.names.as_ref().expect("a name server of its own").management.address()
    }

    /// A file with one of the roots that it issues from since it was last started: 0, and the alternates from 1.
    pub fn root(&self, number: usize) -> PathBuf {
        self.scratch.join(&format!("root-{}-{number}.pem", self.starts))
    }

    /// A store that trusts one of its roots alone.
    pub fn roots(&self, number: usize) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(self.root(number)).expect("the root that was fetched");
        roots.add(root).expect("a root");
        Arc::new(roots)
    }

    /// The common name of one of its roots.
    pub fn root_name(&self, number: usize) -> String {
        let mut command = Command::new("openssl");
        command.args(["x509", "-noout", "-subject", "-in"]).arg(self.root(number));
        let subject = run(&command, b"").succeeds().text();
        subject.trim().strip_prefix("subject=CN = ").expect("a common name and nothing else").to_owned()
    }

    /// How many orders there were since it was last started.
    pub fn orders(&self) -> usize {
        self.log().matches(" Added order ").count()
    }

    /// What it printed since it was last started.
    pub fn log(&self) -> String {
        self.server.as_ref().map(Supervised::output).unwrap_or_default()
    }

    /// Stops it, and waits until nobody answers any more.
    pub fn stop(&mut self) {
        self.server = None;
        let is_gone = |address: SocketAddr| TcpStream::connect(address).is_err();
        let gone =
            eventually(|| [self.ports.management.address(), self.address()].into_iter().all(is_gone).then_some(()));
        gone.expect("a server that has ended");
    }

    /// Starts it anew on the same ports. It has forgotten every account and order, and issues from new roots.
    pub fn start_again(&mut self) {
        self.stop();
        self.start();
    }

    fn start(&mut self) {
        self.starts += 1;
        let directory = self.scratch.directory(&format!("run-{}", self.starts));
        let mut command = Command::new("/usr/bin/pebble");
        command.arg("-config").arg(self.scratch.join("pebble.json"));
        let own = self.names.as_ref().map(|names| names.dns.address());
        command.arg("-dnsserver").arg(self.builder.resolver.or(own).expect("a name server").to_string());
        command.env("PEBBLE_ALTERNATE_ROOTS", self.builder.alternates.to_string());
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        let management = self.ports.management.address();
        let address = self.address();
        let ready = || [management, address].iter().all(|address| TcpStream::connect(address).is_ok());
        self.server = Some(Supervised::start(&command, &directory, ready));
        for number in 0..=self.builder.alternates {
            self.fetch(&format!("https://{management}/roots/{number}"), &self.root(number));
        }
    }

    fn fetch(&self, url: &str, to: &Path) {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--fail", "--cacert"])
            .arg(self.ca())
            .arg("--output")
            .arg(to)
            .arg(url);
        run(&command, b"").succeeds();
    }
}

impl PebbleBuilder {
    /// Sleeps for a second at most before it validates, and not again for a name that it has seen: for what is not about
    /// issuing as such.
    pub fn hurried(self) -> Self {
        self.environment("PEBBLE_VA_SLEEPTIME", "2").environment("PEBBLE_AUTHZREUSE", "100")
    }

    /// Takes every name for ours without looking, after its sleep.
    pub fn trusting(self) -> Self {
        self.environment("PEBBLE_VA_ALWAYS_VALID", "1")
    }

    /// Issues certificates that are valid for so long. Otherwise it is five years.
    pub fn validity(self, validity: Duration) -> Self {
        self.setting("certificateValidityPeriod", validity.as_secs().into())
    }

    /// Opens an account only to who is known by this name and key (base64url).
    pub fn binding(self, kid: &str, key: &str) -> Self {
        self.setting("externalAccountBindingRequired", true.into())
            .setting("externalAccountMACKeys", json!({ kid: key }))
    }

    /// Refuses every order for this name.
    pub fn refuses(self, name: &str) -> Self {
        self.setting("domainBlocklist", json!([name]))
    }

    /// Has so many further roots, and an alternate chain to each.
    pub fn alternates(mut self, count: usize) -> Self {
        self.alternates = count;
        self
    }

    /// Asks this name server where the names are, and what their TXT records say.
    pub fn resolver(mut self, address: SocketAddr) -> Self {
        self.resolver = Some(address);
        self
    }

    fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn setting(mut self, name: &str, value: Value) -> Self {
        self.settings[name] = value;
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Pebble {
        let (scratch, authority) = (Scratch::new("pebble"), Authority::new());
        scratch.write("authority.pem", authority.pem());
        own_certificate(&authority).write(&scratch, "pebble");
        let ports =
            Ports { acme: reserve_port(), management: reserve_port(), http: reserve_port(), tls: reserve_port() };
        scratch.write("pebble.json", self.configuration(&scratch, &ports));
        let names = self.resolver.is_none().then(|| Names::start(&scratch.directory("names")));
        let mut pebble = Pebble { authority, builder: self, scratch, ports, names, server: None, starts: 0 };
        pebble.start();
        pebble
    }

    fn configuration(&self, scratch: &Scratch, ports: &Ports) -> String {
        let mut settings = self.settings.clone();
        settings["listenAddress"] = ports.acme.address().to_string().into();
        settings["managementListenAddress"] = ports.management.address().to_string().into();
        settings["certificate"] = scratch.join("pebble.crt").display().to_string().into();
        settings["privateKey"] = scratch.join("pebble.key").display().to_string().into();
        settings["httpPort"] = ports.http.number().into();
        settings["tlsPort"] = ports.tls.number().into();
        json!({ "pebble": settings }).to_string()
    }
}

/// A certificate for an authority's own server: valid from yesterday on and for ninety days.
pub fn own_certificate(authority: &Authority) -> Issued {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let yesterday = SystemTime::now() - DAY;
    authority.issue_with(&[NAME, &HOST.to_string()], Kind::Ecdsa, |params| {
        (params.not_before, params.not_after) = (yesterday.into(), (yesterday + 90 * DAY).into());
    })
}

impl Names {
    fn start(directory: &Path) -> Self {
        let (dns, management) = (reserve_port(), reserve_port());
        let mut command = Command::new("/usr/bin/pebble-challtestsrv");
        command.args(["-defaultIPv4", &HOST.to_string(), "-defaultIPv6", ""]);
        command.args(["-dns01", &dns.address().to_string(), "-management", &management.address().to_string()]);
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        let server = Supervised::start(&command, directory, || TcpStream::connect(dns.address()).is_ok());
        Self { dns, management, _server: server }
    }
}
