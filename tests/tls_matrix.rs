//! Every combination of version, suite, group and kind of certificate that exists, agreed on with a client of another make. Each is
//! asserted twice: by what the client reports and by what mailward's log says.

mod support;

use rustls::NamedGroup;
use support::{Gateway, Kind, Python, SClient, Talk, offering};

/// A suite: the log's name, OpenSSL's, and the kind of certificate that it demands.
type Suite = (&'static str, &'static str, Option<Kind>);

const TLS13: [Suite; 3] = [
    ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", None),
    ("TLS13_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", None),
    ("TLS13_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", None),
];

const TLS12: [Suite; 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", Some(Kind::Ecdsa)),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", Some(Kind::Ecdsa)),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", Some(Kind::Ecdsa)),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", Some(Kind::Rsa)),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", Some(Kind::Rsa)),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", Some(Kind::Rsa)),
];

/// The classical groups: the log's name, the name to offer it by, and what s_client reports of it.
const GROUPS: [(&str, &str, &str); 3] = [
    ("X25519", "X25519", "X25519"),
    ("SECP256R1", "P-256", "ECDH, prime256v1"),
    ("SECP384R1", "P-384", "ECDH, secp384r1"),
];

const KINDS: [(Kind, &str); 2] = [(Kind::Ecdsa, "ecdsa.example.org"), (Kind::Rsa, "rsa.example.org")];

/// A gateway whose certificate is of the kind that the name says.
fn gateway() -> Gateway {
    let tables = KINDS.map(|(kind, name)| {
        format!(
            "[certificate.{kind:?}]\ncert = \"%{{file:{name}.crt}}%\"\nprivate-key = \"%{{file:{name}.key}}%\"\ndefault = true\n"
        )
    });
    let builder = Gateway::builder().implicit("imaps", "imap", "embedded").listener("smtp", "smtp", "embedded");
    let issue = |builder: support::GatewayBuilder, (kind, name): (Kind, &str)| builder.issue(name, &[name], kind);
    KINDS.into_iter().fold(builder, issue).certificates(&tables.concat()).start()
}

/// Agrees on every combination of these suites with every group and fitting certificate, once for each.
fn agree_on_all(gateway: &Gateway, version: &str, suites: &[Suite]) -> usize {
    let mut count = 0;
    for (suite, offered, demanded) in suites {
        for (kind, name) in KINDS.into_iter().filter(|(kind, _)| demanded.is_none_or(|demanded| demanded == *kind)) {
            for (group, offered_group, reported_group) in GROUPS {
                let mut target = gateway.implicit("imaps");
                target.name = name.into();
                // RFC 8422 §5.1: in TLS 1.2 the certificate's curve must be listed too.
                let is_limited = version == "TLSv1.2" && kind == Kind::Ecdsa && offered_group != "P-256";
                let groups = if is_limited { format!("{offered_group}:P-256") } else { offered_group.to_owned() };
                let client = SClient::at(&target, "imap").groups(&groups);
                let client = match version {
                    "TLSv1.3" => client.version("-tls1_3").suites(offered),
                    _ => client.version("-tls1_2").ciphers(offered),
                };
                let seen = client.handshake();
                let what = format!("{suite} {group} {kind:?}: {}", seen.report());
                assert_eq!(
                    (seen.version(), seen.cipher(), seen.group()),
                    (version, *offered, reported_group),
                    "{what}"
                );
                assert_eq!(seen.signature().starts_with("RSA"), kind == Kind::Rsa, "{what}");
                assert_eq!(seen.subject(), format!("CN = {name}"), "{what}");
                let session = gateway.nth_session("imaps", count);
                let logged = ["tls", "cipher", "group", "sni"].map(|field| session[field].as_str().unwrap_or_default());
                assert_eq!(logged, [version, suite, group, name], "{session}");
                count += 1;
            }
        }
    }
    count
}

#[test]
fn every_combination_of_tls_1_3_is_agreed_on_and_logged() {
    assert_eq!(agree_on_all(&gateway(), "TLSv1.3", &TLS13), 18);
}

#[test]
fn every_combination_of_tls_1_2_is_agreed_on_and_logged() {
    assert_eq!(agree_on_all(&gateway(), "TLSv1.2", &TLS12), 18);
}

#[test]
fn the_hybrid_group_is_agreed_on_with_openssl_4_and_logged_with_both_kinds_of_certificate() {
    let gateway = gateway();
    for (number, (_, name)) in KINDS.into_iter().enumerate() {
        for (listener, mut target) in [("imaps", gateway.implicit("imaps")), ("smtp", gateway.starttls("smtp"))] {
            target.name = name.into();
            let seen =
                Python::at(&target).handshake(if listener == "smtp" { "smtp" } else { "imap" }, "X25519MLKEM768");
            seen.succeeds().prints("version TLSv1.3").prints("group X25519MLKEM768").prints("OpenSSL 4");
            let session = gateway.nth_session(listener, number);
            let logged = ["tls", "group", "sni"].map(|field| session[field].as_str().unwrap_or_default());
            assert_eq!(logged, ["TLSv1.3", "X25519MLKEM768", name], "{session}");
        }
    }
}

#[test]
fn of_several_groups_the_clients_first_is_taken() {
    let gateway = gateway();
    let mut target = gateway.implicit("imaps");
    target.name = KINDS[0].1.into();
    for (first, second) in [(0, 1), (1, 0), (2, 0)] {
        let groups = [GROUPS[first].1, GROUPS[second].1].join(":");
        assert_eq!(SClient::at(&target, "imap").groups(&groups).handshake().group(), GROUPS[first].2);
    }
}

#[test]
fn a_client_with_a_share_for_another_group_is_asked_to_try_again() {
    let gateway = Gateway::builder()
        .implicit("imaps", "imap", "embedded")
        .with("imaps", "tls.disable-groups = [\"X25519MLKEM768\", \"X25519\", \"SECP256R1\"]")
        .start();
    let target = gateway.implicit("imaps");
    let seen = SClient::at(&target, "imap").groups("X25519:P-384").arguments(&["-msg"]).handshake();
    assert_eq!(seen.report().matches(", ClientHello").count(), 2, "{}", seen.report());
    assert_eq!((seen.version(), seen.group()), ("TLSv1.3", "ECDH, secp384r1"));
    assert_eq!(gateway.nth_session("imaps", 0)["group"], "SECP384R1");

    // rustls as a client says so itself.
    let config = offering(gateway.authority.roots(), |provider| {
        provider.kx_groups.retain(|group| [NamedGroup::X25519, NamedGroup::secp384r1].contains(&group.name()));
    });
    let talk = Talk::to(gateway.address("imaps")).tls_with(config.into());
    let kind = talk.connection().handshake_kind();
    assert_eq!(kind, Some(rustls::HandshakeKind::FullWithHelloRetryRequest));
}
