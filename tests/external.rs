//! Logins by a client's certificate (EXTERNAL): for clients that the backend knows by it, and for nobody else.

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use support::{
    Authority, DIALECTS, Dialect, Dovecot, Gateway, GatewayBuilder, Kind, Port, Postfix, Scratch, Talk, Witness,
    dialect, eventually, reserve_port,
};

/// What is asked for.
const EXTERNAL: &str = "EXTERNAL";

/// A backend's name.
const BACKEND: &str = "old.example.org";

/// `bob`.
const BOB: &str = "Ym9i";

/// A Dovecot that takes the name in a certificate for the user's, and asks for no password then.
const LOGINS: &str = "auth_mechanisms = plain external\nauth_ssl_username_from_cert = yes\n\
                      passdb {\n driver = static\n args = nopassword=y\n mechanisms = external\n}\n";

/// The protocols in which clients log in.
fn dialects() -> impl Iterator<Item = &'static Dialect> {
    DIALECTS.iter().filter(|dialect| !dialect.login.0.is_empty())
}

/// The listener with TLS from the first byte; the one with STARTTLS has the protocol's name.
fn implicit(dialect: &Dialect) -> String {
    format!("{}s", dialect.protocol)
}

/// The authority of the clients, where a listener finds it.
struct Clients {
    authority: Authority,
    scratch: Scratch,
}

impl Clients {
    fn new() -> Self {
        let (authority, scratch) = (Authority::new(), Scratch::new("clients"));
        scratch.write("clients.pem", authority.pem());
        Self { authority, scratch }
    }

    /// Adds both listeners of a protocol, which ask for certificates and demand none.
    fn asked(
        &self,
        builder: GatewayBuilder,
        dialect: &Dialect,
        backend: impl ToString,
        identity: &str,
    ) -> GatewayBuilder {
        let (name, implicit, backend) = (dialect.protocol, implicit(dialect), backend.to_string());
        let root = self.scratch.join("clients.pem");
        let ask = format!("tls.client-auth = \"optional\"\ntls.client-ca = \"{}\"", root.display());
        let builder = builder.listener(name, name, &backend).implicit(&implicit, name, &backend);
        [name, &implicit].iter().fold(builder, |builder, listener| {
            builder.with(listener, &ask).backend(listener, &format!("identity = \"{identity}\""))
        })
    }

    /// What a client does in TLS that shows a certificate with this name, from this authority.
    fn showing(gateway: &Gateway, authority: &Authority, name: &str) -> Arc<ClientConfig> {
        let certificate = authority.issue(&[name], Kind::Ecdsa);
        let chain = vec![CertificateDer::from_pem_slice(certificate.chain.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(gateway.authority.roots())
            .with_client_auth_cert(chain, key);
        Arc::new(config.expect("a certificate and its key"))
    }

    /// The client `alice`.
    fn alice(&self, gateway: &Gateway) -> Arc<ClientConfig> {
        Self::showing(gateway, &self.authority, "alice")
    }
}

/// A Dovecot that knows a client by the certificate that a PROXY header tells of, and its submission's Postfix.
struct ByCertificate {
    dovecot: Dovecot,
    ports: Vec<(&'static Dialect, Port)>,
    _postfix: Postfix,
}

impl ByCertificate {
    fn start() -> Self {
        let postfix = Postfix::builder().start();
        let ports: Vec<_> = dialects().map(|dialect| (dialect, reserve_port())).collect();
        let listener = |(dialect, port): &(&Dialect, Port)| {
            let (protocol, port) = (dialect.protocol, port.number());
            let lines = format!("inet_listener by-certificate {{\n port = {port}\n haproxy = yes\n }}");
            format!("service {protocol}-login {{\n {lines}\n}}\n")
        };
        let listeners: String = ports.iter().map(listener).collect();
        let dovecot = Dovecot::builder().relay_to(postfix.smtp()).further(LOGINS).further(&listeners).start();
        Self { dovecot, ports, _postfix: postfix }
    }

    /// mailward in front of it, with these lines in `[server]`.
    fn behind(&self, clients: &Clients, identity: &str, server: &str) -> Gateway {
        let builder = Gateway::builder().server(server);
        let listen =
            |builder, (dialect, port): &(&Dialect, Port)| clients.asked(builder, dialect, port.address(), identity);
        self.ports.iter().fold(builder, listen).start()
    }
}

/// Goes to where the client's list has been read, and returns all that could stand on it. A client without a certificate has
/// no `config`.
fn enter(
    dialect: &Dialect,
    gateway: &Gateway,
    is_implicit: bool,
    config: Option<&Arc<ClientConfig>>,
) -> (Talk, String) {
    let tls = |talk: Talk| match config {
        Some(config) => talk.tls_with(config.clone()),
        None => talk.tls(gateway.authority.roots()),
    };
    let mut seen = String::new();
    let mut talk;
    if is_implicit {
        talk = tls(Talk::to(gateway.address(&implicit(dialect))));
        seen += &talk.until(dialect.welcome);
    } else {
        talk = Talk::to(gateway.address(dialect.protocol));
        let clear = talk.until(dialect.welcome) + &dialect.ask(&mut talk, list(dialect));
        // Nobody has shown a certificate yet.
        assert!(!clear.contains(EXTERNAL), "{clear}");
        dialect.ask(&mut talk, dialect.starttls);
        talk = tls(talk);
        if dialect.protocol == "managesieve" {
            seen += &talk.until("OK");
        }
    }
    seen += &dialect.ask(&mut talk, list(dialect));
    (talk, seen)
}

/// How a client asks what is offered, and how the last line of the answer starts.
fn list(dialect: &Dialect) -> (&'static str, &'static str) {
    match dialect.protocol {
        "imap" => ("c CAPABILITY\r\n", "c OK"),
        "pop3" => ("CAPA\r\n", "."),
        "managesieve" => ("CAPABILITY\r\n", "OK"),
        _ => dialect.hello,
    }
}

/// EXTERNAL with its response, which is nobody's name where that is empty: who the client is, its certificate says.
fn at_once(dialect: &Dialect, response: &str) -> String {
    let response = if response.is_empty() && dialect.protocol != "managesieve" { "=" } else { response };
    match dialect.protocol {
        "imap" => format!("l AUTHENTICATE EXTERNAL {response}\r\n"),
        "managesieve" => format!("AUTHENTICATE \"EXTERNAL\" \"{response}\"\r\n"),
        _ => format!("AUTH EXTERNAL {response}\r\n"),
    }
}

/// EXTERNAL that waits to be asked, how the question starts, and the empty answer.
fn when_asked(dialect: &Dialect) -> [&'static str; 3] {
    match dialect.protocol {
        "imap" => ["l AUTHENTICATE EXTERNAL\r\n", "+", "\r\n"],
        "managesieve" => ["AUTHENTICATE \"EXTERNAL\"\r\n", "\"\"", "\"\"\r\n"],
        "pop3" => ["AUTH EXTERNAL\r\n", "+", "\r\n"],
        _ => ["AUTH EXTERNAL\r\n", "334", "\r\n"],
    }
}

/// How a login's refusal by mailward starts.
fn refusal(dialect: &Dialect) -> &'static str {
    match dialect.protocol {
        "imap" => "l NO",
        "managesieve" => "NO",
        "pop3" => "-ERR",
        _ => "504 5.5.4",
    }
}

/// Logs in, and does something that only a login allows.
fn log_in(dialect: &Dialect, mut talk: Talk, asks: bool) {
    if asks {
        let [command, question, answer] = when_asked(dialect);
        talk.send(command).expect(question);
        talk.send(answer).until(dialect.login.1);
    } else {
        talk.send(at_once(dialect, "")).until(dialect.login.1);
    }
    match dialect.protocol {
        "imap" => drop(talk.send("i SELECT INBOX\r\n").until("i OK")),
        "managesieve" => drop(talk.send("LISTSCRIPTS\r\n").until("OK")),
        "pop3" => drop(talk.ask("STAT", "+OK")),
        _ => drop(talk.ask("MAIL FROM:<alice@example.org>", "250")),
    }
    dialect.ask(&mut talk, dialect.quit);
}

#[test]
fn dovecot_lets_a_client_in_by_its_certificate() {
    let (clients, backend) = (Clients::new(), ByCertificate::start());
    let gateway = backend.behind(&clients, "proxy-v2", "");
    let alice = clients.alice(&gateway);
    for dialect in dialects() {
        for (is_implicit, asks) in [(true, false), (true, true), (false, false), (false, true)] {
            let (talk, list) = enter(dialect, &gateway, is_implicit, Some(&alice));
            assert!(list.contains(EXTERNAL), "{}: {list}", dialect.protocol);
            log_in(dialect, talk, asks);
        }
        let session = gateway.nth_session(&implicit(dialect), 0);
        assert_eq!((&session["outcome"], &session["client_cert"]), (&"ok".into(), &"alice".into()), "{session}");
        let words = format!("{}-login: Info: Login: user=<alice>, method=EXTERNAL", dialect.protocol);
        let logins = || (backend.dovecot.log().matches(&words).count() == 4).then_some(());
        assert!(eventually(logins).is_some(), "{}", backend.dovecot.log());
    }
}

#[test]
fn who_has_shown_no_certificate_or_a_strangers_is_not_offered_to_log_in_by_it() {
    let (clients, backend) = (Clients::new(), ByCertificate::start());
    let gateway = backend.behind(&clients, "proxy-v2", "");
    let stranger = Clients::showing(&gateway, &Authority::new(), "alice");
    for dialect in dialects() {
        for (is_implicit, config) in [(true, None), (true, Some(&stranger)), (false, None), (false, Some(&stranger))] {
            is_refused(dialect, enter(dialect, &gateway, is_implicit, config));
        }
    }
    assert!(!backend.dovecot.log().contains("EXTERNAL"), "{}", backend.dovecot.log());
}

#[track_caller]
fn is_refused(dialect: &Dialect, (mut talk, list): (Talk, String)) {
    assert!(list.contains("PLAIN") && !list.contains(EXTERNAL), "{}: {list}", dialect.protocol);
    talk.send(at_once(dialect, "")).expect(refusal(dialect));
    talk.send(when_asked(dialect)[0]).expect(refusal(dialect));
    dialect.ask(&mut talk, dialect.quit);
}

#[test]
fn a_certificate_that_the_backend_is_not_told_of_opens_nothing() {
    let (clients, backend) = (Clients::new(), ByCertificate::start());
    let gateway = backend.behind(&clients, "proxy-v1", "");
    let alice = clients.alice(&gateway);
    for dialect in dialects() {
        is_refused(dialect, enter(dialect, &gateway, true, Some(&alice)));
        is_refused(dialect, enter(dialect, &gateway, false, Some(&alice)));
    }
    for dialect in dialects() {
        let witness = Witness::start(dialect);
        let gateway = clients.asked(Gateway::builder(), dialect, witness.address(), "none").start();
        let alice = clients.alice(&gateway);
        is_refused(dialect, enter(dialect, &gateway, true, Some(&alice)));
        assert_eq!(gateway.nth_session(&implicit(dialect), 0)["client_cert"], "alice");
        assert!(!witness.heard().contains(EXTERNAL), "{}", witness.heard());
    }
}

#[test]
fn where_mailward_shows_a_certificate_of_its_own_nobody_is_taken_for_mailward() {
    let (clients, authority, port) = (Clients::new(), Authority::new(), reserve_port());
    let file = |name: &str| clients.scratch.join(name).display().to_string();
    clients.scratch.write("backend.pem", authority.pem());
    authority.issue(&[BACKEND], Kind::Ecdsa).write(&clients.scratch, "backend");
    clients.authority.issue(&["mailward"], Kind::Ecdsa).write(&clients.scratch, "mailward");
    let (cert, key, ca) = (file("backend.crt"), file("backend.key"), file("clients.pem"));
    let tls =
        format!("ssl = yes\nssl_cert = <{cert}\nssl_key = <{key}\nssl_ca = <{ca}\nssl_verify_client_cert = yes\n");
    let lines = format!("inet_listener by-certificate {{\n port = {}\n haproxy = yes\n ssl = yes\n }}", port.number());
    let listener = format!("ssl_require_crl = no\nservice imap-login {{\n {lines}\n}}\n");
    let _dovecot = Dovecot::builder().further(LOGINS).further(&tls).further(&listener).start();

    let imap = dialect("imap");
    let (cert, key, ca) = (file("mailward.crt"), file("mailward.key"), file("backend.pem"));
    let own = format!("tls.cert = \"%{{file:{cert}}}%\"\ntls.private-key = \"%{{file:{key}}}%\"");
    let tls = format!("tls.mode = \"implicit\"\ntls.ca = \"{ca}\"\ntls.name = \"{BACKEND}\"\n{own}");
    let builder = clients.asked(Gateway::builder(), imap, port.address(), "proxy-v2");
    let gateway = builder.backend("imaps", &tls).start();
    is_refused(imap, enter(imap, &gateway, true, Some(&clients.alice(&gateway))));
}

#[test]
fn whoever_wants_to_be_somebody_else_than_the_certificate_says_is_banned_like_others() {
    let (clients, backend) = (Clients::new(), ByCertificate::start());
    let gateway = backend.behind(&clients, "proxy-v2", "auto-ban.auth.rate = \"1/1h\"");
    let alice = clients.alice(&gateway);
    for (dialect, last) in dialects().zip(50..) {
        let source = Ipv4Addr::new(127, 0, 0, last);
        let mut talk = Talk::from(source, gateway.address(&implicit(dialect))).tls_with(alice.clone());
        talk.until(dialect.welcome);
        dialect.ask(&mut talk, list(dialect));
        let refused = if dialect.protocol == "submission" { "535" } else { refusal(dialect) };
        for _ in 0..2 {
            talk.send(at_once(dialect, BOB)).until(refused);
        }
        let line = gateway
            .log_line("the ban", |line| line["message"] == "client banned" && line["address"] == source.to_string());
        assert_eq!(line["reason"], "auth");
    }
    assert_eq!(gateway.count(|line| line["message"] == "login refused" && line["user"] == "bob"), 8);
}
