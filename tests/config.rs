//! What a configuration file may say, what comes of it, and what is said of a bad one.
#![allow(clippy::unwrap_used)] // in what the tests share, too

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use mailward::{
    config::{
        self, Address, Backend, CertificateSource, Challenge, Check, Cipher, Config, DnsProvider, Dnsbl, Dnssec,
        Encryption, Exec, Families, Group, Identity, KeyType, Listener, NameServers, Problems, Protection, QueueLimits,
        Rfc2136, Severity, TlsVersion, TsigAlgorithm,
    },
    policy::{
        balance::Order,
        bans::Fault,
        clients::Limits,
        rate::Rate,
        strategy::{Facts, LastError, Requirement, Source, Strategies, TlsStrategy},
    },
    proto::{
        Protocol,
        proxy_header::Version,
        smtp::{BareNewline, DomainPattern, Hygiene},
    },
};
use toml::de::{DeTable, DeValue};

const SHIPPED: &str = include_str!("../proxy.toml");

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(folder)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(fixtures(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The problems as lines, the file by its name only.
fn lines(problems: &Problems, folder: &str) -> Vec<String> {
    let folder = format!("{}/", fixtures(folder).display());
    problems.0.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

/// What a fixture says in its first lines must be said of it.
fn expected(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map_while(|line| line.strip_prefix("#! ")).map(str::to_owned).collect()
}

fn good(name: &str) -> Config {
    config::load(&fixtures("good").join(name)).unwrap_or_else(|problems| panic!("{problems:?}")).0
}

fn listener(config: &Config, id: &str) -> Listener {
    config.listeners.get(id).unwrap().clone()
}

fn addresses(backend: &Backend) -> Vec<&Address> {
    backend.members.iter().map(|member| &member.address).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn every_bad_file_is_refused_with_exactly_its_messages() {
    for path in files("bad") {
        let problems = config::load(&path).expect_err("a bad file is refused");
        assert_eq!(lines(&problems, "bad"), expected(&path), "{}", path.display());
        assert!(problems.fatal());
    }
}

#[test]
fn every_good_file_is_taken_with_exactly_its_warnings() {
    for path in files("good") {
        match config::load(&path) {
            Ok((_, warnings)) => assert_eq!(lines(&warnings, "good"), expected(&path), "{}", path.display()),
            Err(problems) => panic!("{:#?}", lines(&problems, "good")),
        }
    }
}

#[test]
fn problems_come_in_the_order_of_the_file() {
    for path in files("bad") {
        let Problems(problems) = config::load(&path).unwrap_err();
        let places: Vec<_> = problems.iter().map(|problem| (problem.at.line, problem.at.column)).collect();
        assert!(places.is_sorted(), "{}", path.display());
    }
}

#[test]
fn no_message_shows_what_a_macro_stands_for() {
    let secret = fs::read_to_string(fixtures("secret.txt")).unwrap();
    let problems = config::load(&fixtures("bad").join("secret.toml")).unwrap_err();
    assert!(problems.0.len() > 10);
    assert!(!format!("{problems:?}").contains(secret.trim()));
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let path = fixtures("good").join("no-such-file.toml");
    let problems = config::load(&path).unwrap_err();
    let message = "no-such-file.toml:1:1: cannot be read: No such file or directory (os error 2)";
    assert_eq!(lines(&problems, "good"), [message]);
}

#[test]
fn a_file_that_is_not_text_is_refused_where_the_text_ends() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("latin1.toml");
    fs::write(&path, b"[server]\nhostname = \"m\xfcller\"\n").unwrap();
    let problems = config::load(&path).unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert_eq!((problems.0[0].at.line, problems.0[0].at.column), (2, 14));
    assert_eq!(problems.0[0].what, "is not UTF-8 text from here on");
}

#[test]
fn the_example_of_the_documents_means_what_it_says() {
    let imap = listener(&good("server-tls.toml"), "imap");
    let tls = imap.tls.unwrap();
    assert!(!tls.implicit);
    assert!(imap.require);
    assert_eq!(tls.timeout, seconds(60));
    assert_eq!(tls.versions, [TlsVersion::Tls13]);
    assert_eq!(tls.ciphers, [Cipher::Tls13Aes128, Cipher::Tls13ChaCha20]);
    assert_eq!(tls.groups, Group::ALL);
    assert!(tls.ignore_client_order);
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = good("minimal.toml");
    let imaps = listener(&config, "imaps");
    let tls = imaps.tls.unwrap();
    assert_eq!((config.server.drain, imaps.max_connections), (seconds(30), 8192));
    assert_eq!(config.server.workers, std::thread::available_parallelism().unwrap().get());
    assert!((256..=65_536).contains(&config.server.handshakes));
    assert!(!config.server.hostname.is_empty());
    assert_eq!((imaps.backend.as_str(), imaps.require, imaps.plaintext_auth), ("mail", true, false));
    assert_eq!((tls.timeout, tls.ignore_client_order), (seconds(60), true));
    assert_eq!((tls.versions, tls.ciphers), (TlsVersion::ALL.to_vec(), Cipher::ALL.to_vec()));
    let backend = &config.backends["mail"];
    assert_eq!((backend.connect_timeout, backend.greeting_timeout), (seconds(10), seconds(60)));
    assert_eq!(addresses(backend), [&Address::Ip("10.0.0.5".parse().unwrap(), None)]);
    assert_eq!((backend.order, backend.slow_start, backend.check), (Order::InOrder, None, None));
}

#[test]
fn each_protocol_has_its_own_times_limits_and_guard() {
    let config = good("protocols.toml");
    let table = [
        (Protocol::Smtp, 10, 4096, 12_288, false, false),
        (Protocol::Submission, 10, 2048, 65_536, true, true),
        (Protocol::Lmtp, 10, 2048, 65_536, true, false),
        (Protocol::Imap, 35, 8192, 65_536, true, false),
        (Protocol::Pop3, 15, 2048, 65_536, true, false),
        (Protocol::ManageSieve, 35, 2048, 65_536, true, false),
    ];
    for (protocol, idle_minutes, line, auth, require, require_auth) in table {
        let listener = listener(&config, protocol.name());
        let (times, limits) = (listener.timeouts, listener.limits);
        assert_eq!((times.idle, limits.line, limits.auth), (seconds(idle_minutes * 60), line, auth), "{protocol}");
        assert_eq!((listener.require, listener.guard.require_auth), (require, require_auth), "{protocol}");
        assert_eq!((times.command, times.login, times.data_end), (seconds(300), seconds(180), seconds(900)));
        assert_eq!((limits.literal, limits.commands, limits.errors), (65_536, 50, 5));
        assert_eq!((times.half_close, limits.discard), (seconds(30), 104_857_600));
    }
}

#[test]
fn a_listener_for_http_needs_no_backend_and_has_tls_only_from_the_first_byte() {
    let config = good("web.toml");
    assert!(config.listeners.is_empty() && config.backends.is_empty());
    let (web, secure) = (&config.http["web"], &config.http["secure"]);
    assert_eq!((web.tls.as_ref(), web.redirect_https, web.max_connections), (None, true, 8192));
    assert_eq!(web.bind, ["192.0.2.1:80".parse().unwrap(), "[2001:db8::1]:80".parse().unwrap()]);
    assert_eq!((web.timeout, secure.timeout), (seconds(30), seconds(5)));
    assert_eq!((secure.redirect_https, secure.max_connections), (false, 20));
    let tls = secure.tls.as_ref().unwrap();
    assert_eq!((tls.implicit, &tls.versions[..]), (true, &[TlsVersion::Tls13][..]));
}

#[test]
fn state_control_and_roots_are_beside_the_file_unless_it_says_otherwise() {
    let (folder, server) = (fixtures("good"), good("minimal.toml").server);
    assert_eq!((server.state, server.control), (folder.join("state"), folder.join("state/control.sock")));
    assert!(!server.control_named && server.ca.is_empty());
    let server = good("web.toml").server;
    assert_eq!(server.control, Path::new("/var/lib/mailward/control.sock"));
    assert_eq!(server.ca, [folder.join("roots.pem"), PathBuf::from("/etc/ssl/private-roots.pem")]);
    let server = good("overrides.toml").server;
    assert_eq!(server.control, folder.join("run/mailward.sock"));
    assert!(server.control_named);
}

#[test]
fn a_table_for_an_authority_needs_no_more_than_where_it_is_and_the_names() {
    let (folder, config) = (fixtures("good"), good("acme.toml"));
    let acme = &config.acme["minimal"];
    assert_eq!(acme.directory, "https://acme.example/directory");
    assert_eq!(acme.domains, ["mail.example.org"]);
    assert_eq!((&acme.challenge, &acme.key_types[..]), (&Challenge::TlsAlpn01, &[KeyType::EcdsaP256][..]));
    assert_eq!((acme.reuse_key, acme.renew_before, acme.default), (true, seconds(30 * 86_400), true));
    assert_eq!((acme.contact.len(), &acme.binding, acme.ca.len()), (0, &None, 0));
    assert_eq!((&acme.profile, &acme.preferred_chain), (&None, &None));
    assert_eq!(acme.file(KeyType::EcdsaP256), folder.join("certs/acme/minimal/ecdsa-p256.pem"));
}

#[test]
fn every_key_for_an_authority_is_heard() {
    let config = good("acme.toml");
    let acme = &config.acme["full"];
    assert_eq!(acme.challenge, Challenge::Http01);
    assert_eq!(acme.contact, ["mailto:ops@example.org", "mailto:postmaster@example.org", "tel:+123"]);
    assert_eq!(acme.key_types, [KeyType::Rsa2048, KeyType::EcdsaP384]);
    assert_eq!((acme.reuse_key, acme.renew_before, acme.default), (false, seconds(10 * 86_400), false));
    assert_eq!(acme.cache, Path::new("/var/lib/mailward/acme"));
    assert_eq!((acme.profile.as_deref(), acme.preferred_chain.as_deref()), (Some("shortlived"), Some("Root X2")));
    assert_eq!(acme.ca, [fixtures("good").join("roots.pem")]);
    let binding = acme.binding.as_ref().unwrap();
    assert_eq!((binding.kid.as_str(), &binding.hmac_key[..]), ("mailward", &b"secret\xff\xef"[..]));
    assert!(!format!("{binding:?}").contains("hmac"));
}

#[test]
fn the_only_table_about_certificates_is_the_default() {
    let text = fs::read_to_string(fixtures("good").join("web.toml")).unwrap();
    let (front, _) = text.split_once("[certificate.main]").unwrap();
    let acme = |id: &str| format!("[acme.{id}]\ndirectory = \"https://acme.example/\"\ndomains = \"{id}.example\"\n");
    let of = |text: &str| config::parse(text, Path::new("proxy.toml")).unwrap().0.acme;
    assert!(of(&[front, &acme("alone")].concat())["alone"].default);
    let two = of(&[front, &acme("one"), &acme("other"), "default = true\n"].concat());
    assert!(!two["one"].default && two["other"].default);
}

#[test]
fn dns_challenges_have_a_provider_with_what_it_needs() {
    let config = good("acme.toml");
    let of = |id: &str| match &config.acme[id].challenge {
        Challenge::Dns01(dns) => dns.clone(),
        other => panic!("{other:?}"),
    };
    let (update, hook) = (of("update"), of("hook"));
    assert_eq!((update.polling_interval, update.propagation_timeout), (seconds(1), seconds(10)));
    assert_eq!((hook.polling_interval, hook.propagation_timeout), (seconds(15), seconds(60)));
    let command = [fixtures("good").join("hooks/dns").to_str().unwrap().to_owned(), "-v".into(), "-v".into()];
    assert_eq!(hook.provider, DnsProvider::Exec(Exec { command: command.to_vec(), timeout: seconds(30) }));
    let expected = Rfc2136 {
        server: "[2001:db8::53]:5353".parse().unwrap(),
        tcp: true,
        origin: Some("example.org".to_owned()),
        ttl: seconds(30),
        timeout: seconds(5),
        key: "mailward".to_owned(),
        algorithm: TsigAlgorithm::HmacSha512,
        secret: b"secret\xff\xef".to_vec(),
    };
    assert!(!format!("{expected:?}").contains("secret"));
    assert_eq!(update.provider, DnsProvider::Rfc2136(expected));
}

#[test]
fn recipient_domains_are_kept_in_lower_case() {
    let config = good("protocols.toml");
    let domains = [
        DomainPattern::Exact("example.org".to_owned()),
        DomainPattern::Below("example.net".to_owned()),
        DomainPattern::Exact("bücher.example".to_owned()),
    ];
    assert_eq!(listener(&config, "smtp").guard.rcpt_domains.as_deref(), Some(&domains[..]));
    assert_eq!(listener(&config, "demo").guard.rcpt_domains, None);
    assert_eq!(addresses(&config.backends["store"]), [&Address::Embedded]);
}

#[test]
fn a_listener_without_keys_of_its_own_has_the_servers() {
    let config = good("overrides.toml");
    let inherits = listener(&config, "inherits");
    let tls = inherits.tls.unwrap();
    assert_eq!((config.server.workers, config.server.handshakes, config.server.drain), (3, 77, seconds(10)));
    assert_eq!((inherits.max_connections, inherits.limits.line, inherits.limits.errors), (100, 1000, 3));
    assert_eq!((inherits.timeouts.command, inherits.timeouts.login), (seconds(60), seconds(180)));
    assert_eq!((tls.implicit, tls.timeout, tls.ignore_client_order), (false, seconds(20), false));
    assert_eq!((tls.versions, tls.ciphers), (vec![TlsVersion::Tls13], Cipher::ALL[..3].to_vec()));
    assert_eq!(tls.groups, [Group::X25519MlKem768, Group::X25519]);
    let clients = tls.client.unwrap();
    assert!(clients.required);
    assert_eq!(clients.ca, [fixtures("good").join("clients.pem"), "/etc/mailward/more.pem".into()]);
    let explained = config::explain(&config);
    assert!(explained.contains("  tls.client-auth   required, from "), "{explained}");
}

#[test]
fn a_listeners_own_keys_replace_the_servers_one_by_one() {
    let config = good("overrides.toml");
    let replaces = listener(&config, "replaces");
    let tls = replaces.tls.unwrap();
    assert_eq!((replaces.max_connections, replaces.limits.line, replaces.limits.errors), (5, 2000, 3));
    let times = replaces.timeouts;
    assert_eq!((times.command, times.login, times.idle), (seconds(120), seconds(30), seconds(7200)));
    assert_eq!((tls.implicit, tls.timeout, tls.ignore_client_order), (true, seconds(5), true));
    assert_eq!((tls.versions, tls.ciphers), (TlsVersion::ALL.to_vec(), Cipher::ALL[..8].to_vec()));
    assert_eq!(tls.groups, [Group::X25519, Group::Secp256r1, Group::Secp384r1]);
    assert_eq!(tls.client, None);
}

#[test]
fn what_is_kept_from_a_backend_is_the_listeners_and_the_backends_own() {
    let config = good("hygiene.toml");
    let smtp = listener(&config, "smtp").hygiene;
    assert_eq!((smtp.bare_newline, smtp.largest), (BareNewline::Reject, Some(10_000_000)));
    assert_eq!(smtp.hidden, ["CHUNKING", "8BITMIME", "VRFY", "EXPN"]);
    let lmtp = listener(&config, "lmtp").hygiene;
    assert_eq!((lmtp.bare_newline, lmtp.largest, lmtp.hidden.len()), (BareNewline::Pass, Some(65_536), 0));
    assert_eq!(listener(&good("protocols.toml"), "smtp").hygiene, Hygiene::default());
    let explained = config::explain(&config);
    let smtp = explained.split("\n\n").find(|part| part.starts_with("smtp: ")).unwrap();
    let rows = "
  bare-newline      reject: refuses the message
  limit.message     10000000, or the backend's SIZE where that is lower
  hidden, refused   CHUNKING, 8BITMIME, VRFY, EXPN
";
    assert!(smtp.contains(rows), "{smtp}");
    let imap = explained.split("\n\n").find(|part| part.starts_with("imap: ")).unwrap();
    assert!(!imap.contains("bare-newline") && !imap.contains("hidden"), "{imap}");
}

#[test]
fn a_list_takes_a_single_text_too() {
    let text = fs::read_to_string(fixtures("good").join("overrides.toml")).unwrap();
    let mut listed = text.clone();
    for single in ["\"TLSv1.2\"", "\"X25519MLKEM768\"", "\"192.0.2.1:143\"", "\"none\"", "\"TLS_ECDHE_RSA_WITH"] {
        assert!(text.contains(&format!("= {single}")), "{single}");
    }
    for line in text.lines().filter(|line| line.contains("disable-") || line.starts_with("bind")) {
        let (key, value) = line.split_once(" = ").unwrap();
        if value.starts_with('"') {
            listed = listed.replace(line, &format!("{key} = [{value}]"));
        }
    }
    assert_ne!(text, listed);
    let of = |text: &str| config::explain(&config::parse(text, Path::new("proxy.toml")).unwrap().0);
    assert_eq!(of(&text), of(&listed));
}

#[test]
fn paths_and_macros_are_relative_to_the_file() {
    let folder = fixtures("good");
    let config = good("macros.toml");
    assert_eq!(config.server.hostname, "mail.example.org");
    assert_eq!(addresses(&config.backends["mail"]), [&Address::Name("mail.example.org".to_owned(), Some(143))]);
    let CertificateSource::Pair { cert, private_key } = &config.certificates["main"].source else {
        panic!("a pair was asked for");
    };
    assert_eq!(cert.files(), [folder.join("hostname.txt"), folder.join("no-such-file")]);
    assert!(cert.read().is_err());
    assert!(private_key.read().unwrap().contains("not read before it is wanted"));
    let unix = &good("overrides.toml").backends["mail"].members[2].address;
    assert_eq!(*unix, Address::Unix(folder.join("imap.sock")));
    let CertificateSource::Directory(hosted) = &good("protocols.toml").certificates["hosted"].source else {
        panic!("a directory was asked for");
    };
    assert_eq!(*hosted, folder.join("certs/hosted"));
}

#[test]
fn a_byte_order_mark_and_crlf_change_nothing() {
    let text = fs::read_to_string(fixtures("bad").join("no-certificate.toml")).unwrap();
    let of = |text: &str| config::parse(text, Path::new("proxy.toml")).unwrap_err();
    assert_eq!(of(&text), of(&format!("\u{feff}{}", text.replace('\n', "\r\n"))));
}

#[test]
fn explain_shows_what_holds_in_the_end() {
    let explained = config::explain(&good("overrides.toml"));
    let listener = explained.split("\n\n").find(|part| part.starts_with("replaces: ")).unwrap();
    let ciphers = Cipher::ALL[..8].iter().map(|suite| suite.name()).collect::<Vec<_>>().join("\n                    ");
    let expected = format!(
        "replaces: imap on 192.0.2.1:144, [2001:db8::1]:144
  backend           mail at 10.0.0.5:1143, then imap.internal:143, then unix:{}/imap.sock (identity none, connect 3s, greeting 9s)
  addresses         in-order; no slow start; not checked
  tls               implicit: from the first byte
  tls.timeout       5s
  versions          TLSv1.3, TLSv1.2
  cipher order      ours, as listed
  ciphers           {ciphers}
  groups            X25519, SECP256R1, SECP384R1 (the client's order)
  plaintext-auth    never
  max-connections   5
  timeout           command 2m, login 30s, idle 2h, data-end 15m, half-close 30s
  limit             line 2000, auth 65536, literal 65536, commands 50, errors 3, discard 104857600",
        fixtures("good").display()
    );
    assert_eq!(listener.trim_end(), expected);
}

#[test]
fn proxies_are_trusted_where_a_listener_or_else_the_server_says_so() {
    let config = good("proxies.toml");
    let of = |id: &str| listener(&config, id).proxies;
    let smtp = of("smtp");
    assert_eq!((smtp.timeout, smtp.networks.len()), (seconds(3), 2));
    for (peer, is_one) in [("10.1.2.3", true), ("11.0.0.1", false), ("2001:db8::1", true), ("2001:db9::1", false)] {
        assert_eq!(smtp.include(peer.parse().unwrap()), is_one, "{peer}");
    }
    assert_eq!(config.http["web"].proxies, smtp);
    assert!(!of("submission").include("10.1.2.3".parse().unwrap()));
    let imaps = of("imaps");
    assert_eq!(imaps.timeout, seconds(1));
    assert!(imaps.include("192.0.2.1".parse().unwrap()) && !imaps.include("10.1.2.3".parse().unwrap()));
    let minimal = listener(&good("minimal.toml"), "imaps").proxies;
    assert_eq!((minimal.timeout, minimal.networks.len()), (seconds(10), 0));
}

#[test]
fn nothing_is_limited_by_client_unless_the_file_says_so_and_nobody_who_is_exempt() {
    let config = good("protection.toml");
    let imaps = listener(&config, "imaps").protection;
    let rate = |count, time| Some(Rate { count, per: seconds(time) });
    let connections = Limits { at_once: Some(50), rate: rate(120, 60), rate_in_all: rate(500, 1) };
    let handshakes = Limits { at_once: Some(20), rate: rate(60, 60), rate_in_all: rate(200, 1) };
    assert_eq!((imaps.connections, imaps.handshakes), (connections, handshakes));
    let client = |protection: &Protection, address: &str| protection.client(address.parse().unwrap());
    assert_eq!(client(&imaps, "10.1.2.3"), None);
    assert_eq!(client(&imaps, "2001:db8::1"), None);
    assert_eq!(client(&imaps, "2001:db9:0:12a1::1").unwrap().to_string(), "2001:db9:0:1200::/56");
    assert_eq!(config.http["web"].protection, imaps);
    let rates = Fault::ALL.map(|fault| imaps.auto_ban.rate(fault));
    assert_eq!(rates, [rate(20, 3600), rate(5, 600), rate(100, 86_400), None]);
    assert_eq!(imaps.auto_ban.duration, seconds(7200));
    assert_eq!((listener(&config, "smtp").pregreet, listener(&config, "imaps").pregreet), (Some(seconds(2)), None));
    assert_eq!(listener(&config, "imaps").dnsbl, None);
    let of = |id: &str| {
        let Dnsbl { zones, server, timeout, reject } = listener(&config, id).dnsbl.unwrap();
        let zones: Vec<_> = zones.iter().map(ToString::to_string).collect();
        (zones.join(" "), server.to_string(), timeout, reject)
    };
    let asked = "zen.example.org bl.example.net=127.0.[0;1].[2..11]".to_owned();
    assert_eq!(of("smtp"), (asked, "127.0.0.1:53".to_owned(), seconds(2), true));
    let (asked, server) = ("bl.example.net=127.0.0.2".to_owned(), "[2001:db8::53]:5353".to_owned());
    assert_eq!(of("noting"), (asked, server, Duration::from_millis(500), false));
    let explained = config::explain(&config);
    for expected in [
        "asked at 127.0.0.1:53 (timeout 2s); who is listed is refused",
        "(timeout 500ms); who is listed is only logged",
    ] {
        assert!(explained.contains(expected), "{explained}");
    }
    assert_eq!(listener(&config, "imaps").timeouts.crowded, Some(seconds(2)));
    assert_eq!(listener(&good("minimal.toml"), "imaps").timeouts.crowded, None);
    let inside = listener(&config, "inside").protection;
    assert!(client(&inside, "10.1.2.3").is_some() && inside.connections == connections);

    let minimal = listener(&good("minimal.toml"), "imaps").protection;
    assert!(Fault::ALL.iter().all(|fault| minimal.auto_ban.rate(*fault).is_none()));
    assert_eq!(minimal.auto_ban.duration, seconds(3600));
    assert!(!minimal.connections.any() && !minimal.handshakes.any() && minimal.exempt.is_empty());
    assert_eq!(client(&minimal, "2001:db8::1").unwrap().to_string(), "2001:db8::/64");
    let explained = config::explain(&config);
    let expected = "
  connections       50 at once of one client, 120/1m of one client, 500/1s in all
  handshakes        20 at once of one client, 60/1m of one client, 200/1s in all
  auto-ban          auth above 20/1h, abuse above 5/10m, loiter above 100/1d for 2h
  one client        an IPv4 address, or an IPv6 /56
  exempt            10.0.0.0/8, 2001:db8::/32
";
    assert!(explained.contains(expected), "{explained}");
}

#[test]
fn a_backend_is_told_nothing_unless_the_file_says_so() {
    let config = good("proxies.toml");
    assert_eq!(config.backends["postfix"].identity, [Identity::Proxy(Version::V1)]);
    assert_eq!(config.backends["dovecot"].identity, [Identity::Proxy(Version::V2)]);
    assert_eq!(config.backends["exchange"].identity, [Identity::Transparent, Identity::Received]);
    assert_eq!(config.backends["traced"].identity, [Identity::Received]);
    assert_eq!((listener(&config, "traced").hygiene.added, listener(&config, "smtp").hygiene.added), (1024, 0));
    assert_eq!(config.backends["lmtp"].identity, [Identity::Xclient, Identity::ImapId]);
    assert_eq!(good("minimal.toml").backends["mail"].identity, []);
    assert_eq!(good("overrides.toml").backends["mail"].identity, []);
    let explained = config::explain(&config);
    let imaps = explained.split("\n\n").find(|part| part.starts_with("imaps: ")).unwrap();
    assert!(imaps.contains("(identity proxy-v2, connect 10s, "), "{imaps}");
    assert!(imaps.contains("  PROXY header      required from 192.0.2.1/32 within 1s\n"), "{imaps}");
}

#[test]
fn addresses_have_weights_and_an_order() {
    let config = good("balance.toml");
    let of = |id: &str| config.backends[id].clone();
    let weights = |id: &str| of(id).members.iter().map(|member| member.weight).collect::<Vec<_>>();
    assert_eq!((of("turns").order, weights("turns")), (Order::RoundRobin, vec![3, 1, 0]));
    assert_eq!((of("least").order, weights("least")), (Order::LeastSessions, vec![256, 1]));
    assert_eq!((of("order").order, weights("order")), (Order::InOrder, vec![1, 0]));
    assert_eq!(of("turns").check, Some(Check { interval: seconds(30), timeout: seconds(5) }));
    assert_eq!(of("least").check, Some(Check { interval: seconds(60), timeout: seconds(10) }));
    assert_eq!((of("turns").slow_start, of("least").slow_start), (Some(seconds(60)), None));
    let explained = config::explain(&config);
    let turns = explained.split("\n\n").find(|part| part.starts_with("imap: ")).unwrap();
    let expected = "
  backend           turns at 10.0.0.5:143 (weight 3), imap.internal:1143, 10.0.0.7:143 (weight 0) (identity none, \
         connect 10s, greeting 1m)
  addresses         round-robin; slow start 1m; checked every 30s (timeout 5s)\n";
    assert!(turns.contains(expected), "{turns}");
}

#[test]
fn tls_to_a_backend_is_what_the_file_says() {
    let config = good("backend-tls.toml");
    let of = |id: &str| match config.backends[id].tls.clone() {
        Some(Encryption::Always(tls)) => *tls,
        other => panic!("{other:?}"),
    };
    let exchange = of("exchange");
    assert!(exchange.implicit && exchange.ca.is_none() && exchange.name.is_none() && exchange.own.is_none());
    assert_eq!(exchange.pins.iter().map(|pin| (pin[0], pin[31])).collect::<Vec<_>>(), [(0x00, 0xff), (0xff, 0xcd)]);
    let dovecot = of("dovecot");
    assert!(!dovecot.implicit && dovecot.pins.is_empty());
    assert_eq!(dovecot.ca.unwrap(), [fixtures("good").join("roots.pem"), "/etc/mailward/more.pem".into()]);
    assert_eq!(dovecot.name.as_deref(), Some("mail.internal"));
    assert!(dovecot.own.is_some());
    assert!(good("minimal.toml").backends["mail"].tls.is_none());
}

#[test]
fn a_backend_may_follow_a_strategy() {
    let config = good("backend-strategy.toml");
    let of = |id: &str| match config.backends[id].tls.clone() {
        Some(Encryption::Strategy(strategy)) => strategy,
        other => panic!("{other:?}"),
    };
    for (backend, id) in [("named", "strict"), ("address", "default"), ("socket", "lax")] {
        assert_eq!(*of(backend), strategy(&config, id));
    }
    let certain = |id: &str| config.backends[id].tls.as_ref().is_some_and(Encryption::is_certain);
    assert!(certain("named") && !certain("address") && !certain("socket"));
    let explained = config::explain(&config);
    for line in [
        "  backend tls       strategy strict: STARTTLS require, DANE require, a valid certificate (timeout 10s)\n",
        "  backend tls       strategy default: STARTTLS optional, DANE optional, a valid certificate (timeout 30s)\n",
        "  backend tls       strategy lax: STARTTLS optional, DANE optional, any certificate (timeout 30s)\n",
        "  backend           address at 10.0.0.5:143 (",
    ] {
        assert!(explained.contains(line), "{line:?}: {explained}");
    }
}

#[test]
fn a_backend_that_begins_with_tls_has_the_port_for_that() {
    let explained = config::explain(&good("backend-tls.toml"));
    for line in [
        "  backend           exchange at exchange.internal:465, then 10.0.0.6:2465 (",
        "  backend tls       implicit: from the first byte, with a pinned key\n",
        "  backend           dovecot at 10.0.0.7:143 (",
        "/more.pem for mail.internal, with a certificate of our own\n",
        "  backend           sieve at sieve.internal:4190 (",
        "  backend tls       STARTTLS, required, verified by the roots of the system and of server.ca for mail.internal\n",
    ] {
        assert!(explained.contains(line), "{line:?}: {explained}");
    }
}

fn strategy(config: &Config, id: &str) -> TlsStrategy {
    (*config.queue.strategies[id]).clone()
}

/// The first attempt for a message to partner.example.
fn first_attempt() -> Facts<'static> {
    Facts {
        listener: "egress",
        source: Source::Unauthenticated,
        sender: "sales@old.example",
        sender_domain: "old.example",
        rcpt: "jane@partner.example",
        rcpt_domain: "partner.example",
        retry_num: 0,
        last_error: LastError::None,
        domain_failures: 0,
        domain_last_error: LastError::None,
        mx: Some("mx1.partner.example"),
        mx_last_error: Some(LastError::None),
        remote_ip: None,
        local_ip: None,
    }
}

fn chosen<'s>(strategies: &'s Strategies, facts: &Facts<'_>) -> &'s str {
    &strategies.choose(facts).unwrap().id
}

#[test]
fn without_a_word_of_strategies_there_are_two_and_a_ladder() {
    let queue = good("minimal.toml").queue;
    assert!(!queue.named);
    assert_eq!(queue.strategies.keys().collect::<Vec<_>>(), ["default", "invalid-tls"]);
    assert!(!queue.strategies["default"].allow_invalid_certs && queue.strategies["invalid-tls"].allow_invalid_certs);
    assert_eq!(*queue.strategies["default"], TlsStrategy::new("default"));
    let after = |retry_num, last_error| Facts { retry_num, last_error, ..first_attempt() };
    assert_eq!(chosen(&queue.tls, &after(0, LastError::None)), "default");
    assert_eq!(chosen(&queue.tls, &after(1, LastError::Tls)), "invalid-tls");
    assert_eq!(chosen(&queue.tls, &after(1, LastError::Dane)), "default");
    let resolver = good("minimal.toml").resolver;
    assert_eq!((resolver.servers, resolver.dnssec, resolver.dnssec_named), (NameServers::System, Dnssec::Ad, false));
}

#[test]
fn dnssec_is_validated_from_a_file_or_from_what_the_system_has() {
    let config = good("validate.toml");
    let file = fixtures("good").join("root.key");
    assert_eq!((config.resolver.dnssec, config.resolver.trust_anchor.as_ref()), (Dnssec::Validate, Some(&file)));
    assert_eq!((config.resolver.at.line, config.resolver.at.column), (18, 16));
    let explained = config::explain(&config);
    let expected = format!(
        "resolver\n  servers           192.0.2.53:53\n  dnssec            validate: checked here (beta)\n  trust-anchor      {}\n",
        file.display()
    );
    assert!(explained.ends_with(&expected), "{explained}");
}

#[test]
fn rows_35_and_57_a_strategy_is_what_its_table_says() {
    let config = good("strategies.toml");
    let strict = strategy(&config, "strict");
    assert_eq!([strict.dane, strict.mta_sts, strict.starttls], [Requirement::Require; 3]);
    assert_eq!((strict.tls_timeout, strict.mta_sts_timeout), (seconds(10), seconds(5)));
    let plain = strategy(&config, "plain");
    assert_eq!([plain.dane, plain.mta_sts, plain.starttls], [Requirement::Disable; 3]);
    assert_eq!(strategy(&config, "default"), TlsStrategy::new("default"));
    let servers = ["127.0.0.1:53", "[::1]:5353"].map(|server| server.parse().unwrap()).to_vec();
    assert_eq!(config.resolver.servers, NameServers::Custom(servers));
    assert_eq!(config.resolver.dnssec, Dnssec::Ad);

    let at = |rcpt_domain, mx, retry_num| Facts { rcpt_domain, mx: Some(mx), retry_num, ..first_attempt() };
    let broken = Facts { domain_failures: 3, mx_last_error: Some(LastError::Tls), ..at("a.example", "a.example", 0) };
    let tls = &config.queue.tls;
    assert_eq!(chosen(tls, &at("Partner.Example", "a.example", 0)), "strict");
    assert_eq!(chosen(tls, &at("x.partner.example", "a.example", 0)), "strict");
    assert_eq!(chosen(tls, &at("old.example", "mx7.old.example.", 2)), "plain");
    assert_eq!(chosen(tls, &at("old.example", "mx7xold.example", 2)), "default");
    assert_eq!(chosen(tls, &broken), "invalid-tls");
}

#[test]
fn row_55_a_time_that_a_sender_would_not_wait_is_cut() {
    let strict = strategy(&good("strategy-warnings.toml"), "strict");
    assert_eq!((strict.tls_timeout, strict.mta_sts_timeout), (seconds(30), seconds(20)));
}

#[test]
fn the_older_spelling_is_the_strategy_default() {
    let config = good("older-strategy.toml");
    let default = strategy(&config, "default");
    assert_eq!((default.dane, default.mta_sts), (Requirement::Disable, Requirement::Optional));
    assert_eq!((default.starttls, default.allow_invalid_certs), (Requirement::Require, false));
    assert_eq!((default.tls_timeout, default.mta_sts_timeout), (seconds(20), seconds(10)));
    assert_eq!(chosen(&config.queue.tls, &first_attempt()), "default");
}

#[test]
fn sessions_with_remotes_are_as_the_file_says_or_as_is_documented() {
    let queue = good("queue-sessions.toml").queue;
    assert!(queue.named);
    assert_eq!((queue.ip_strategy, queue.ehlo_hostname.as_str()), (Families::V4Only, "out.example.org"));
    assert_eq!((queue.source_v4, queue.source_v6), ("192.0.2.1".parse().ok(), "2001:db8::1".parse().ok()));
    assert_eq!(queue.source_for("198.51.100.1".parse().unwrap()), "192.0.2.1".parse().ok());
    assert_eq!(queue.source_for("2001:db8:1::1".parse().unwrap()), "2001:db8::1".parse().ok());
    assert_eq!((queue.immediate_retries, queue.eight_bit, queue.local_targets), (0, false, true));
    assert_eq!(queue.limits, QueueLimits { domain: 5, host: 3, sessions: 40 });

    let config = good("minimal.toml");
    let queue = config.queue;
    assert_eq!((queue.ip_strategy, queue.ehlo_hostname), (Families::V4First, config.server.hostname));
    assert_eq!((queue.source_v4, queue.source_v6), (None, None));
    assert_eq!((queue.immediate_retries, queue.eight_bit, queue.local_targets), (1, true, false));
    assert_eq!(queue.limits, QueueLimits { domain: 20, host: 20, sessions: 1000 });
}

/// An example of the documents behind the least that a file needs, and the warnings about it by their lines in the example.
fn documented(example: &str) -> (Config, Vec<String>) {
    let minimal = fs::read_to_string(fixtures("good").join("minimal.toml")).unwrap();
    let lines = minimal.lines().count();
    let parsed = config::parse(&format!("{minimal}{example}"), Path::new("proxy.toml"));
    let (config, Problems(warnings)) = parsed.unwrap_or_else(|problems| panic!("{example}: {problems:?}"));
    let warnings = warnings.iter().map(|warning| format!("{}: {}", warning.at.line - lines, warning.what));
    (config, warnings.collect())
}

#[test]
fn rows_51_to_55_72_75_79_and_81_the_examples_of_the_documents_on_single_settings_load_unchanged() {
    use Requirement::{Disable, Optional, Require};
    let table: [(&str, &str, [Requirement; 3], bool); 9] = [
        ("[queue.tls.secure]\ndane = \"require\"\n", "secure", [Require, Optional, Optional], false),
        ("[queue.tls.default]\nmta-sts = \"optional\"\n", "default", [Optional; 3], false),
        ("[queue.tls.legacy]\nstarttls = \"disable\"\n", "legacy", [Optional, Optional, Disable], false),
        ("[queue.tls.invalid-tls]\nallow-invalid-certs = false\n", "invalid-tls", [Optional; 3], false),
        ("[queue.tls.default.timeout]\ntls = \"3m\"\nmta-sts = \"3m\"\n", "default", [Optional; 3], false),
        ("[queue.outbound.tls]\ndane = \"optional\"\n", "default", [Optional; 3], false),
        ("[queue.outbound.tls]\nmta-sts = \"optional\"\n", "default", [Optional; 3], false),
        ("[queue.outbound.tls]\nstarttls = \"require\"\n", "default", [Optional, Optional, Require], false),
        ("[queue.outbound.tls]\nallow-invalid-certs = false\n", "default", [Optional; 3], false),
    ];
    for (example, id, requirements, any_certificate) in table {
        let (config, warnings) = documented(example);
        let strategy = strategy(&config, id);
        assert_eq!([strategy.dane, strategy.mta_sts, strategy.starttls], requirements, "{example}");
        assert_eq!(strategy.allow_invalid_certs, any_certificate, "{example}");
        let unused = ["secure", "legacy"].contains(&id);
        let expected: &[&str] = match example {
            _ if unused => &["1: is used for no message, and no backend"],
            _ if example.contains("3m") => &[
                "2: is longer than the sender that waits for it can bear: 30s is used",
                "3: is longer than the sender that waits for it can bear: 20s is used",
            ],
            _ => &[],
        };
        assert_eq!(warnings, expected, "{example}");
    }
}

/// What is said of an example that is refused, the first thing of it.
fn refused(example: &str) -> String {
    let minimal = fs::read_to_string(fixtures("good").join("minimal.toml")).unwrap();
    let problems = config::parse(&format!("{minimal}{example}"), Path::new("proxy.toml")).expect_err(example);
    let first = problems.0.iter().find(|problem| problem.severity == Severity::Error).unwrap();
    format!("{}: {}", first.key, first.what)
}

#[test]
fn row_35_an_id_with_one_key_is_a_strategy_and_its_rule_finds_it() {
    let example = "[queue.tls.partner]\nmta-sts = \"require\"\n[queue.tls.legacy]\nstarttls = \"disable\"\n\
                   [queue.strategy]\ntls = [{ if = \"rcpt_domain == 'partner.example'\", then = \"'partner'\" }, \
                   { else = \"'legacy'\" }]\n";
    let (config, warnings) = documented(example);
    assert!(warnings.is_empty(), "{warnings:?}");
    let of = |rcpt_domain| {
        let facts = Facts { rcpt_domain, ..first_attempt() };
        let strategy = config.queue.tls.choose(&facts).unwrap();
        [strategy.dane, strategy.mta_sts, strategy.starttls]
    };
    assert_eq!(of("partner.example"), [Requirement::Optional, Requirement::Require, Requirement::Optional]);
    assert_eq!(of("other.example"), [Requirement::Optional, Requirement::Optional, Requirement::Disable]);
}

#[test]
fn row_36_a_strategy_is_chosen_by_a_list_or_by_its_id_alone() {
    let table = "[queue.tls.strict]\ndane = \"require\"\n[queue.strategy]\n";
    let always = documented(&format!("{table}tls = \"'strict'\"\n")).0;
    assert_eq!(chosen(&always.queue.tls, &first_attempt()), "strict");
    let list = "tls = [{ if = \"listener == 'nobody'\", then = \"'default'\" }, { else = \"'strict'\" }]\n";
    assert!(refused(&format!("{table}{list}")).contains("'nobody' is no listener with relay = true"));
    let list = list.replace("listener == 'nobody'", "source == 'dsn'");
    let by_rule = documented(&format!("{table}{list}")).0;
    assert_eq!(chosen(&by_rule.queue.tls, &first_attempt()), "strict");
    assert_eq!(chosen(&by_rule.queue.tls, &Facts { source: Source::Dsn, ..first_attempt() }), "default");
    let unknown = refused(&format!("{table}tls = \"'stirct'\"\n"));
    assert_eq!(unknown, "queue.strategy.tls: there is no strategy 'stirct'");
    let bare = refused(&format!("{table}tls = [{{ if = \"true\", then = \"strict\" }}, {{ else = \"'default'\" }}]\n"));
    assert_eq!(bare, "queue.strategy.tls.then: 'strict' is no text");
}

#[test]
fn row_62_a_list_of_rules_has_one_else_at_its_end_and_a_then_for_each_if() {
    let rule = "{ if = \"retry_num > 0\", then = \"'invalid-tls'\" }";
    let otherwise = "{ else = \"'default'\" }";
    for (rules, wrong) in [
        (rule.to_owned(), "has no else"),
        (format!("{otherwise}, {otherwise}"), "has an else before the end"),
        (format!("{otherwise}, {rule}"), "has an else before the end"),
        (format!("{{ then = \"'default'\" }}, {otherwise}"), "has a then without an if"),
        (format!("{{ if = \"retry_num > 0\" }}, {otherwise}"), "has an if without a then"),
    ] {
        let said = refused(&format!("[queue.strategy]\ntls = [{rules}]\n"));
        assert!(said.starts_with(&format!("queue.strategy.tls: {wrong}")), "{rules}: {said}");
    }
}

/// Every way to write a requirement, and what it is.
const REQUIREMENTS: [(&str, Requirement); 8] = [
    ("\"optional\"", Requirement::Optional),
    ("\"require\"", Requirement::Require),
    ("\"required\"", Requirement::Require),
    ("\"disable\"", Requirement::Disable),
    ("\"disabled\"", Requirement::Disable),
    ("\"none\"", Requirement::Disable),
    ("\"false\"", Requirement::Disable),
    ("false", Requirement::Disable),
];

#[test]
fn rows_46_and_72_to_80_each_requirement_has_its_spellings_the_older_keys_included() {
    for section in ["queue.tls.default", "queue.outbound.tls"] {
        for (at, key) in ["dane", "mta-sts", "starttls"].into_iter().enumerate() {
            for (value, requirement) in REQUIREMENTS {
                let default = strategy(&documented(&format!("[{section}]\n{key} = {value}\n")).0, "default");
                let mut expected = [Requirement::Optional; 3];
                expected[at] = requirement;
                assert_eq!([default.dane, default.mta_sts, default.starttls], expected, "{section}.{key} = {value}");
            }
            for value in ["\"Require\"", "\"requires\"", "\"\"", "\"true\"", "true", "1"] {
                let said = refused(&format!("[{section}]\n{key} = {value}\n"));
                assert!(said.starts_with(&format!("{section}.{key}: ")), "{section}.{key} = {value}: {said}");
            }
        }
    }
}

#[test]
fn rows_45_and_80_nothing_is_required_of_tls_that_is_switched_off() {
    for section in ["queue.tls.default", "queue.outbound.tls"] {
        for key in ["dane", "mta-sts"] {
            let said = refused(&format!("[{section}]\nstarttls = \"disable\"\n{key} = \"require\"\n"));
            assert!(
                said.starts_with(&format!("{section}.{key}: cannot be required while {section}.starttls")),
                "{said}"
            );
            let (config, _) = documented(&format!("[{section}]\nstarttls = \"disable\"\n{key} = \"optional\"\n"));
            assert_eq!(strategy(&config, "default").starttls, Requirement::Disable);
        }
    }
}

#[test]
fn row_98_optional_policies_with_required_starttls_load_together() {
    for section in ["queue.tls.default", "queue.outbound.tls"] {
        let example = format!("[{section}]\ndane = \"optional\"\nmta-sts = \"optional\"\nstarttls = \"require\"\n");
        let (config, warnings) = documented(&example);
        let default = strategy(&config, "default");
        assert!(warnings.is_empty() && default.requires_tls(), "{warnings:?}");
        assert_eq!([default.dane, default.mta_sts], [Requirement::Optional; 2]);
    }
}

#[test]
fn row_56_the_ladder_of_the_documents_loads_warns_and_works() {
    let example = r#"[queue.strategy]
tls = [ { if = "retry_num > 0 && last_error == 'tls'", then = "'invalid-tls'" },
        { if = "retry_num > 1 && last_error == 'tls'", then = "'disable-tls'" },
        { else = "'default'" } ]

[queue.tls.invalid-tls]
allow-invalid-certs = true
starttls = "optional"

[queue.tls.disable-tls]
allow-invalid-certs = false
starttls = "disable"

[queue.tls.default]
allow-invalid-certs = false
starttls = "optional"
"#;
    let after = |retry_num, last_error| Facts { retry_num, last_error, ..first_attempt() };
    let steps = |config: &Config| -> Vec<_> {
        let tls = &config.queue.tls;
        (0..3).map(|retry| chosen(tls, &after(retry, LastError::Tls)).to_owned()).collect()
    };
    let (config, warnings) = documented(example);
    let hidden = "3: is never reached: the rule in line 14 is true whenever it is, and stands first";
    assert_eq!(warnings, [hidden]);
    assert_eq!(steps(&config), ["default", "invalid-tls", "invalid-tls"]);
    assert_eq!(chosen(&config.queue.tls, &after(2, LastError::Connection)), "default");
    assert!(strategy(&config, "invalid-tls").allow_invalid_certs);
    assert_eq!(strategy(&config, "disable-tls").starttls, Requirement::Disable);

    let lines: Vec<_> = example.lines().collect();
    let rule = |line: &str| line.trim_start_matches("tls = [").trim().to_owned();
    let swapped =
        example.replace(lines[2].trim(), "#").replace(&rule(lines[1]), &rule(lines[2])).replace('#', &rule(lines[1]));
    let (config, warnings) = documented(&swapped);
    assert!(warnings.is_empty(), "{warnings:?} {swapped}");
    assert_eq!(steps(&config), ["default", "invalid-tls", "disable-tls"]);
}

#[test]
fn row_57_the_strict_example_of_the_documents_is_strict_for_one_host() {
    let example = r#"[queue.strategy]
tls = [ { if = "mx == 'highly-secure.host.org'", then = "'high-security'" },
        { else = "'default'" } ]

[queue.tls.high-security]
allow-invalid-certs = false
dane = "require"
mta-sts = "require"
starttls = "require"

[queue.tls.default]
allow-invalid-certs = false
starttls = "optional"
mta-sts = "optional"
dane = "optional"
"#;
    let (config, warnings) = documented(example);
    assert!(warnings.is_empty(), "{warnings:?}");
    let tls = &config.queue.tls;
    let at = |mx| Facts { mx: Some(mx), ..first_attempt() };
    for (mx, id) in [
        ("highly-secure.host.org", "high-security"),
        ("Highly-Secure.Host.Org.", "high-security"),
        ("mx.highly-secure.host.org", "default"),
        ("host.org", "default"),
    ] {
        assert_eq!(chosen(tls, &at(mx)), id, "{mx}");
    }
    // Before the MX is known the policy has to be looked up for either of them.
    let early = Facts { mx: None, mx_last_error: None, ..first_attempt() };
    let ids: Vec<_> = tls.possible(&early).iter().map(|strategy| strategy.id.clone()).collect();
    assert_eq!(ids, ["high-security", "default"]);
    assert!(strategy(&config, "high-security").requires_tls());
}

#[test]
fn explain_shows_how_remotes_are_connected_to() {
    let explained = config::explain(&good("queue-sessions.toml"));
    let expected = "queue
  ehlo-hostname     out.example.org
  ip-strategy       ipv4-only
  source-ip         192.0.2.1, 2001:db8::1
  local-targets     allowed
  eight-bit         reject
  immediate-retries 0
  limit             domain 5, host 3, sessions 40
  timeout           connect 1s, greeting 2s, rcpt 3s, data 4s, block 5s, data-end 6s, place 7s, total 4m";
    assert_eq!(explained.split("\n\n").find(|part| part.starts_with("queue\n")), Some(expected));
}

#[test]
fn explain_shows_strategies_and_which_holds() {
    let explained = config::explain(&good("strategies.toml"));
    let (_, outbound) = explained.split_once("\n\nqueue.strategy.tls: ").unwrap();
    let choice = "the first that is true
  strict            if rcpt_domain == 'partner.example' || ends_with(rcpt_domain, '.partner.example')
  plain             if matches('^mx[0-9]+\\.old\\.example$', mx) && retry_num > 1
  invalid-tls       if domain_failures >= 3 && mx_last_error == \"tls\"
  default           else\n";
    assert!(outbound.starts_with(choice), "{outbound}");
    let plain = "
queue.tls.plain
  dane              disable
  mta-sts           disable
  starttls          disable
  certificate       has to be valid
  timeout           tls 30s, mta-sts 20s\n";
    assert!(outbound.contains(plain), "{outbound}");
    assert!(
        outbound.ends_with(
            "resolver\n  servers           127.0.0.1:53, [::1]:5353\n  dnssec            ad: as the resolver says\n"
        ),
        "{outbound}"
    );
    assert!(!config::explain(&good("minimal.toml")).contains("queue."));
}

#[test]
fn explain_shows_what_is_asked_of_an_authority() {
    let explained = config::explain(&good("acme.toml"));
    let update = explained.split("\n\n").find(|part| part.starts_with("acme.update: ")).unwrap();
    let expected = format!(
        "acme.update: a certificate for example.org, *.example.org
  directory         https://acme.example/directory
  challenge         dns-01, updates of zone example.org at [2001:db8::53]:5353 over tcp, key mailward (hmac-sha512), \
         ttl 30s (timeout 5s)
  propagation       looked for every 1s, for 10s at most
  contact           none
  cache             {}/certs/acme/update
  key-type          ecdsa-p256, kept at a renewal
  renew-before      30d, where the authority does not say
  default           no",
        fixtures("good").display()
    );
    assert_eq!(update.trim_end(), expected);
    let web = explained.split("\n\n").find(|part| part.starts_with("web: ")).unwrap();
    let expected = "web: http on [::]:80
  answers           http-01 challenges; 404 to everything else
  tls               disabled
  max-connections   8192
  timeout           command 30s";
    assert_eq!(web, expected);
    assert!(!explained.contains("secret"));
}

#[test]
fn the_shipped_file_runs_as_it_stands() {
    let (config, warnings) = config::parse(SHIPPED, Path::new("proxy.toml")).unwrap();
    assert_eq!(warnings, Problems::default());
    assert_eq!(config.listeners.len(), 7);
    for listener in config.listeners.values() {
        let unprivileged = |address: &std::net::SocketAddr| address.ip().is_loopback() && address.port() > 1024;
        assert!(listener.bind.iter().all(unprivileged), "{}", listener.id);
        assert_eq!(listener.tls.as_ref().unwrap().implicit, listener.id.ends_with('s'), "{}", listener.id);
        assert_eq!(addresses(&config.backends[&listener.backend]), [&Address::Embedded]);
    }
}

#[test]
fn every_key_stands_in_the_shipped_file() {
    let text = uncommented(usize::MAX);
    let (document, errors) = DeTable::parse_recoverable(&text);
    assert!(errors.is_empty(), "{errors:?}");
    let mut written = BTreeSet::new();
    collect(document.get_ref(), &[], &mut written);
    let missing: Vec<_> = config::keys().difference(&written).filter(|key| *key != IN_WORDS).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// It cannot stand beside its neighbours.
const IN_WORDS: &str = "backend.<id>.tls.strategy";

#[test]
fn every_example_of_the_shipped_file_can_be_used() {
    let examples: Vec<_> = SHIPPED.lines().enumerate().filter(|(_, line)| is_example(line)).collect();
    assert!(examples.len() > 50);
    for (number, line) in examples {
        if let Err(problems) = config::parse(&uncommented(number), Path::new("proxy.toml")) {
            panic!("with {line}: {problems:?}");
        }
    }
}

fn is_example(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| !rest.is_empty() && !rest.starts_with([' ', '#']))
}

/// The shipped file with all its examples in force. Of several lines for one key the one numbered `chosen` counts,
/// else the last example.
fn uncommented(chosen: usize) -> String {
    let mut kept: Vec<(String, String, usize, String)> = Vec::new();
    let mut table = String::new();
    for (number, line) in SHIPPED.lines().enumerate() {
        let text = if is_example(line) { line.trim_start_matches('#') } else { line };
        if text.starts_with('[') {
            table = text.to_owned();
        }
        let key = text.split_once(" = ").filter(|_| !text.starts_with('#')).map(|(key, _)| key.to_owned());
        if let Some(key) = &key {
            let same = |(in_table, name, ..): &(String, String, usize, String)| *in_table == table && name == key;
            if kept.iter().any(|line| same(line) && line.2 == chosen) {
                continue;
            }
            kept.retain(|line| !same(line));
        }
        kept.push((table.clone(), key.unwrap_or_default(), number, text.to_owned()));
    }
    kept.into_iter().map(|(.., text)| text + "\n").collect()
}

/// The dotted names of all values, ids replaced by `<id>`.
fn collect(table: &DeTable<'_>, path: &[&str], names: &mut BTreeSet<String>) {
    for (key, value) in table {
        let is_id = matches!(path, ["server", "listener"] | ["certificate" | "acme" | "backend"] | ["queue", "tls"]);
        let path = [path, &[if is_id { "<id>" } else { key.get_ref().as_ref() }]].concat();
        match value.get_ref() {
            DeValue::Table(inner) => collect(inner, &path, names),
            _ => drop(names.insert(path.join("."))),
        }
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let mut texts: Vec<_> = files("bad").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.push("a.b=[[[{c={d=[\"\"\"%{file:%{env:é}%\u{0}\\u0000'''1979-05-27\r\n[[x]]\n[x.\"\"]\n=".to_owned());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % bound.max(1)
    };
    for _ in 0..300 {
        let (one, other) = (&texts[next(texts.len())], &texts[next(texts.len())]);
        let front = one.floor_char_boundary(next(one.len()));
        let (from, to) = (next(other.len()), next(other.len()));
        let (from, to) = (other.floor_char_boundary(from.min(to)), other.floor_char_boundary(from.max(to)));
        let text = format!("{}{}{}", &one[..front], &other[from..to], &one[front..]);
        if let Err(problems) = config::parse(&text, Path::new("proxy.toml")) {
            assert!(problems.fatal(), "refused without an error: {text}");
            assert!(problems.0.iter().all(|problem| problem.at.line <= text.matches('\n').count() + 1));
        }
    }
}
