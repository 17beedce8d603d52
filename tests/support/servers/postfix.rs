//! Postfix: SMTP and submission in plaintext, delivering to Dovecot or to a maildir. It has no client for other machines,
//! unless it is told to hand all other mail to one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dovecot::{Dovecot, greets_behind, messages_in};
use super::template::{MAIL_USER, fill, number_of};
use crate::support::namespace::Namespace;
use crate::support::process::port::{Port, reserve_port};
use crate::support::process::supervised::Supervised;
use crate::support::process::wait::eventually;
use crate::support::{DOMAIN, HOST, Scratch, run};

/// A running Postfix.
#[derive(Debug)]
pub struct Postfix {
    server: Supervised,
    smtp: Port,
    submission: Port,
    scratch: Scratch,
}

/// What a test may ask of Postfix before it starts.
#[derive(Debug, Default)]
pub struct PostfixBuilder {
    networks: String,
    sasl: Option<SocketAddr>,
    lmtp: Option<SocketAddr>,
    tls: Option<(PathBuf, String)>,
    proxied: bool,
    further: String,
    services: String,
}

/// What became of a message for one recipient, when it was last tried.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The recipient.
    pub to: String,
    /// `sent`, `deferred` or `bounced`.
    pub status: String,
    /// Postfix's words.
    pub words: String,
}

impl Postfix {
    /// A Postfix that trusts nobody and delivers to a maildir, until the builder says otherwise.
    pub fn builder() -> PostfixBuilder {
        PostfixBuilder::default()
    }

    /// Where SMTP (port 25 of a real one) is served.
    pub fn smtp(&self) -> SocketAddr {
        self.smtp.address()
    }

    /// Where submission (port 587) is served.
    pub fn submission(&self) -> SocketAddr {
        self.submission.address()
    }

    /// The messages in the maildir of a Postfix that was not told where to deliver, as stored (LF line ends), oldest first.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        messages_in(&self.scratch.join("mail/inbox"))
    }

    /// Waits for the first message in the maildir and returns it.
    #[track_caller]
    pub fn delivery(&self) -> Vec<u8> {
        let first = eventually(|| self.messages().into_iter().next());
        first.unwrap_or_else(|| panic!("nothing was delivered: {}", self.log()))
    }

    /// The recipients of other domains whose mail was accepted and, here, thrown away. A gateway that makes no open relay leaves
    /// this empty.
    pub fn relayed(&self) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("postfix/discard["));
        lines.filter_map(|line| line.split_once("to=<")?.1.split_once('>')).map(|(to, _)| to.to_owned()).collect()
    }

    /// Waits until mail for this recipient was thrown away.
    #[track_caller]
    pub fn await_relayed(&self, recipient: &str) {
        let done = eventually(|| self.relayed().iter().any(|it| it == recipient).then_some(()));
        assert!(done.is_some(), "nothing was relayed to {recipient}: {}", self.log());
    }

    /// Every attempt to deliver a message to a recipient, in their order.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.log().lines().filter_map(delivery).collect()
    }

    /// Tries at once to deliver what waits.
    pub fn flush(&self) {
        run(Command::new("postqueue").arg("-c").arg(self.scratch.join("conf")).arg("-f"), b"").succeeds();
    }

    /// How many messages wait to be delivered.
    pub fn queued(&self) -> usize {
        let queues = ["maildrop", "incoming", "active", "deferred"];
        queues.iter().map(|queue| files_below(&self.scratch.join(&format!("queue/{queue}")))).sum()
    }

    /// What Postfix printed and logged so far.
    pub fn log(&self) -> String {
        self.server.output()
    }

    /// The process group of all its processes.
    pub fn group(&self) -> u32 {
        self.server.group()
    }
}

impl PostfixBuilder {
    /// Delivers to this Dovecot by LMTP and asks it for passwords on submission.
    pub fn deliver_to(mut self, dovecot: &Dovecot) -> Self {
        self.lmtp = Some(dovecot.lmtp());
        self.ask(dovecot)
    }

    /// Asks this Dovecot for passwords on submission.
    pub fn ask(mut self, dovecot: &Dovecot) -> Self {
        self.sasl = Some(dovecot.sasl());
        self
    }

    /// Delivers by LMTP to this address, with STARTTLS and a certificate for `name` that `ca` vouches for.
    pub fn deliver_by_tls(mut self, address: SocketAddr, name: &str, ca: &Path) -> Self {
        self.lmtp = Some(address);
        self.tls = Some((ca.to_owned(), name.to_owned()));
        self
    }

    /// Relays anywhere for clients of this network, as old servers do for their neighbours.
    pub fn trust(mut self, network: &str) -> Self {
        self.networks = network.into();
        self
    }

    /// Demands a PROXY header, from everybody and on both ports.
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self.further("smtpd_upstream_proxy_protocol = haproxy\n")
    }

    /// Takes mail for these domains, on port 25 of this address too, with STARTTLS by this certificate.
    pub fn mail_host(mut self, address: &str, certificate: &Path, key: &Path, domains: &[&str]) -> Self {
        self.services += &format!("{address}:25 inet n - n - - smtpd\n");
        self.further(&format!(
            "virtual_mailbox_domains = {}\nsmtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\n\
             smtpd_tls_key_file = {}\n",
            domains.join(" "),
            certificate.display(),
            key.display()
        ))
    }

    /// Hands all mail for other domains to this, `lmtp:inet:127.0.0.1:24`, without TLS.
    pub fn send_by(mut self, transport: &str) -> Self {
        // pickup is asked to look when a queue is to be flushed.
        self.services += "smtp unix - - n - - smtp\nscache unix - - n - 1 scache\npickup unix n - n 60 1 pickup\n";
        self.further(&format!("default_transport = {transport}\nrelay_transport = {transport}\n"))
    }

    /// Adds lines to `main.cf`, in place of those for the same settings.
    pub fn further(mut self, lines: &str) -> Self {
        self.further += lines;
        self
    }

    /// Starts it and waits until it greets.
    pub fn start(self) -> Postfix {
        self.start_by(&Command::new("/usr/lib/postfix/sbin/master"), &|greets| greets())
    }

    /// The same inside of a namespace.
    pub fn start_in(self, namespace: &Namespace) -> Postfix {
        self.start_by(&namespace.command("/usr/lib/postfix/sbin/master"), &|greets| namespace.inside(greets))
    }

    /// Starts it by this command, and lets `look` look whether it greets.
    fn start_by(self, master: &Command, look: &dyn Fn(&(dyn Fn() -> bool + Sync)) -> bool) -> Postfix {
        assert!(rustix::process::geteuid().is_root(), "Postfix starts only as root");
        let (smtp, submission) = (reserve_port(), reserve_port());
        let scratch = Scratch::new("postfix");
        lay_out(&scratch);
        let configuration = scratch.directory("conf");
        scratch.write("conf/main.cf", self.main(scratch.path()));
        scratch.write("conf/master.cf", self.master(&smtp, &submission));
        let mut command = Command::new(master.get_program());
        command.args(master.get_args());
        // -d keeps it in the foreground and in its process group.
        command.arg("-d").arg("-c").arg(configuration);
        let address = smtp.address();
        let header = if self.proxied { "PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n" } else { "" };
        let greets = || greets_behind(header, address, "220 ");
        let server = Supervised::start(&command, scratch.path(), || look(&greets));
        Postfix { server, smtp, submission, scratch }
    }

    fn main(&self, directory: &Path) -> String {
        let values = [
            ("DIR", directory.display().to_string()),
            ("DOMAIN", DOMAIN.to_owned()),
            ("UID", MAIL_USER.to_string()),
            ("NETWORKS", self.networks.clone()),
            // Postfix takes no empty value for these two, needed or not.
            ("SASL", self.sasl.map_or("unused".into(), |it| format!("inet:{it}"))),
            ("DELIVERY", self.lmtp.map_or("virtual".into(), lmtp)),
            ("LMTP_TLS", if self.tls.is_some() { "verify" } else { "none" }.into()),
            ("LMTP_CA", self.tls.as_ref().map(|(ca, _)| ca.display().to_string()).unwrap_or_default()),
            ("LMTP_NAME", self.tls.as_ref().map_or("unused".into(), |(_, name)| name.clone())),
        ];
        let text = fill("postfix/main.cf", &values.each_ref().map(|(name, value)| (*name, value.as_str())));
        // Postfix complains, in each process, of what stands there twice.
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let further: Vec<_> = self.further.lines().map(key).collect();
        let kept = text.split_inclusive('\n').filter(|line| !further.contains(&key(line)));
        kept.collect::<String>() + &self.further
    }

    fn master(&self, smtp: &Port, submission: &Port) -> String {
        let auth = if self.sasl.is_some() { "yes" } else { "no" };
        let (host, smtp, submission) = (HOST.to_string(), smtp.number().to_string(), submission.number().to_string());
        let values = [("ADDRESS", host.as_str()), ("SMTP", &smtp), ("SUBMISSION", &submission), ("AUTH", auth)];
        fill("postfix/master.cf", &values) + &self.services
    }
}

/// The directories Postfix demands, with the owners and modes it demands.
fn lay_out(scratch: &Scratch) {
    let (user, group) = (number_of("/etc/passwd", "postfix"), number_of("/etc/group", "postdrop"));
    scratch.directory_of("data", user, 0, 0o700);
    scratch.directory_of("mail", MAIL_USER, MAIL_USER, 0o700);
    scratch.directory("queue/pid");
    for name in ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "trace"] {
        scratch.directory_of(&format!("queue/{name}"), user, 0, 0o700);
    }
    scratch.directory_of("queue/public", user, group, 0o710);
    scratch.directory_of("queue/maildrop", user, group, 0o730);
}

/// The attempt that a line of the log tells of.
fn delivery(line: &str) -> Option<Delivery> {
    let (to, rest) = line.split_once(" to=<")?.1.split_once('>')?;
    let (status, words) = rest.split_once(" status=")?.1.split_once(' ')?;
    Some(Delivery { to: to.to_owned(), status: status.to_owned(), words: words.to_owned() })
}

/// Postfix makes folders for its files by their names.
fn files_below(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

fn lmtp(address: SocketAddr) -> String {
    format!("lmtp:inet:{}:{}", address.ip(), address.port())
}
