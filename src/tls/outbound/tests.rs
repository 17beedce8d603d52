//! Chains against TLSA records and roots, and whole handshakes in memory.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    NameConstraints, date_time_ymd,
};
use rustls::{
    ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::aws_lc_rs::{default_provider, sign::any_supported_type},
    pki_types::PrivateKeyDer,
    server::{ClientHello, ResolvesServerCert, ResolvesServerCertUsingSni},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::policy::{
    answer::{Answer, Existence, Security},
    dane::{Absence, Asked, MxOf, NextHop, Records, Tlsa},
    evidence::{Matched, Mismatch},
    mta_sts::Standing,
    strategy::{LastError, Requirement, TlsStrategy},
    verdict::decide,
};

const HOST: &str = "mx.example.org";
const DOMAIN: &str = "example.org";

type Der = CertificateDer<'static>;

/// How a certificate differs from an ordinary one.
type Tweak = fn(&mut CertificateParams);

struct Authority {
    der: Der,
    issuer: Issuer<'static, KeyPair>,
}

fn nothing(_: &mut CertificateParams) {}

fn past(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2001, 1, 1);
}

fn future(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(3000, 1, 1);
}

fn no_authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::ExplicitNoCa;
}

fn for_clients(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

fn for_servers(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
}

fn nobody_below(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
}

fn params(name: &str, names: &[&str], tweak: impl Fn(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    tweak(&mut params);
    params
}

fn authority(name: &str, parent: Option<&Authority>, tweak: impl Fn(&mut CertificateParams)) -> Authority {
    let key = KeyPair::generate().unwrap();
    let params = params(name, &[], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        tweak(params);
    });
    let certificate = match parent {
        Some(parent) => params.signed_by(&key, &parent.issuer),
        None => params.self_signed(&key),
    };
    Authority { der: certificate.unwrap().der().clone(), issuer: Issuer::new(params, key) }
}

fn leaf_for(parent: &Authority, names: &[&str], tweak: impl Fn(&mut CertificateParams)) -> Der {
    let key = KeyPair::generate().unwrap();
    params("leaf", names, tweak).signed_by(&key, &parent.issuer).unwrap().der().clone()
}

fn self_signed(names: &[&str], tweak: impl Fn(&mut CertificateParams)) -> Der {
    params("self", names, tweak).self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

/// Root, middle and leaf.
fn three(tweak_middle: impl Fn(&mut CertificateParams)) -> [Der; 3] {
    let root = authority("root", None, nothing);
    let middle = authority("middle", Some(&root), tweak_middle);
    [root.der, middle.der.clone(), leaf_for(&middle, &[HOST], nothing)]
}

fn tlsa(usage: u8, selector: u8, matching: u8, der: &Der) -> Tlsa {
    let whole = match selector {
        0 => der.to_vec(),
        _ => X509Certificate::from_der(der).unwrap().1.public_key().raw.to_vec(),
    };
    let data = match matching {
        0 => whole,
        1 => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &whole).as_ref().to_vec(),
        _ => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &whole).as_ref().to_vec(),
    };
    Tlsa { usage, selector, matching, data }
}

fn records(published: &[Tlsa]) -> Records {
    let answer = Answer {
        records: published.to_vec(),
        existence: Existence::Records,
        security: Security::Secure,
        aliases: Vec::new(),
        ttl: Duration::from_secs(60),
    };
    match Dane::of(Asked::Answered { base: HOST.into(), answer }) {
        Dane::Usable(records) => records,
        other => panic!("{other:?}"),
    }
}

fn held(published: &[Tlsa], chain: &[&Der]) -> Result<Matched, Mismatch> {
    let chain: Vec<_> = chain.iter().map(|der| (*der).clone()).collect();
    let names = [HOST.to_owned(), DOMAIN.to_owned()];
    let algorithms = default_provider().signature_verification_algorithms;
    dane::hold_against(&records(published), &names, &chain, UnixTime::now(), algorithms.all)
}

fn is_untrusted(found: Result<Matched, Mismatch>, part: &str) {
    match found {
        Err(Mismatch::Untrusted(untrusted)) => assert!(untrusted.to_string().contains(part), "{untrusted}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn d15_under_usage_3_neither_name_nor_dates_nor_chain_count() {
    let leaf = self_signed(&["wrong.example"], past);
    for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
        let matched = held(&[tlsa(3, selector, matching, &leaf)], &[&leaf]).unwrap();
        assert_eq!(matched.name, None);
        let other = self_signed(&[HOST], nothing);
        assert_eq!(held(&[tlsa(3, selector, matching, &other)], &[&leaf]), Err(Mismatch::NoMatch));
    }
}

#[test]
fn d15_usage_3_is_about_the_leaf_alone() {
    let [root, middle, leaf] = three(nothing);
    for issuer in [&root, &middle] {
        assert_eq!(held(&[tlsa(3, 1, 1, issuer)], &[&leaf, &middle, &root]), Err(Mismatch::NoMatch));
    }
}

#[test]
fn d12_no_certificate_matches_nothing() {
    let [_, _, leaf] = three(nothing);
    assert_eq!(held(&[tlsa(3, 1, 1, &leaf)], &[]), Err(Mismatch::NoMatch));
}

#[test]
fn d16_an_anchor_is_any_issuer_that_is_sent_in_any_order() {
    let [root, middle, leaf] = three(nothing);
    for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
        for (anchor, chain) in [
            (&root, vec![&leaf, &middle, &root]),
            (&root, vec![&leaf, &root, &middle]),
            (&middle, vec![&leaf, &middle, &root]),
            (&middle, vec![&leaf, &middle]),
        ] {
            let matched = held(&[tlsa(2, selector, matching, anchor)], &chain).unwrap();
            assert_eq!(matched.name.as_deref(), Some(HOST), "2 {selector} {matching}");
        }
    }
}

#[test]
fn d16_an_anchor_that_is_not_sent_counts_only_whole_from_dns() {
    let [root, middle, leaf] = three(nothing);
    let chain = [&leaf, &middle];
    for (selector, matching) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        assert_eq!(held(&[tlsa(2, selector, matching, &root)], &chain), Err(Mismatch::NoMatch));
    }
    for selector in [0, 1] {
        assert!(held(&[tlsa(2, selector, 0, &root)], &chain).is_ok(), "2 {selector} 0");
        assert!(held(&[tlsa(2, selector, 0, &middle)], &[&leaf]).is_ok(), "2 {selector} 0, right above the leaf");
    }
    let stranger = authority("root", None, nothing).der;
    assert!(held(&[tlsa(2, 0, 0, &stranger)], &chain).is_err(), "the same name with another key");
    assert_eq!(held(&[tlsa(2, 1, 0, &stranger)], &chain), Err(Mismatch::NoMatch), "a key that has signed nothing here");
}

#[test]
fn d16_the_leaf_is_no_anchor_but_for_a_self_signed_one_by_its_whole_key() {
    let own = self_signed(&[HOST], no_authority);
    for (selector, matching) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        let record = [tlsa(2, selector, matching, &own)];
        assert_eq!(held(&record, &[&own]), Err(Mismatch::NoMatch), "2 {selector} {matching}");
        is_untrusted(held(&record, &[&own, &own]), "no authority");
    }
    is_untrusted(held(&[tlsa(2, 0, 0, &own)], &[&own]), "no authority");
    assert!(held(&[tlsa(2, 1, 0, &own)], &[&own]).is_ok(), "2 1 0");
    is_untrusted(
        held(&[tlsa(2, 1, 0, &self_signed(&["a.example"], nothing)), tlsa(2, 0, 0, &own)], &[&own]),
        "no authority",
    );
    let [_, middle, leaf] = three(nothing);
    for (selector, matching) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        assert!(held(&[tlsa(2, selector, matching, &leaf)], &[&leaf, &middle]).is_err(), "2 {selector} {matching}");
    }
}

#[test]
fn d16_what_stands_between_leaf_and_anchor_must_hold() {
    let cases: [(Tweak, &str); 4] =
        [(past, "expired"), (future, "not valid yet"), (no_authority, ""), (for_clients, "")];
    for (tweak, part) in cases {
        let [root, middle, leaf] = three(tweak);
        is_untrusted(held(&[tlsa(2, 0, 1, &root)], &[&leaf, &middle, &root]), part);
        is_untrusted(held(&[tlsa(2, 1, 0, &middle)], &[&leaf, &middle, &root]), part);
        is_untrusted(held(&[tlsa(2, 0, 1, &middle)], &[&leaf, &middle, &root]), part);
        is_untrusted(held(&[tlsa(2, 0, 0, &middle)], &[&leaf]), part);
    }
    let [root, middle, leaf] = three(for_servers);
    assert!(held(&[tlsa(2, 0, 1, &root)], &[&leaf, &middle, &root]).is_ok());
    assert!(held(&[tlsa(2, 0, 1, &middle)], &[&leaf, &middle, &root]).is_ok());
}

#[test]
fn d16_the_leaf_must_hold_too() {
    let root = authority("root", None, nothing);
    let record = [tlsa(2, 0, 1, &root.der)];
    let tweaks: [Tweak; 3] = [past, future, for_clients];
    for tweak in tweaks {
        is_untrusted(held(&record, &[&leaf_for(&root, &[HOST], tweak), &root.der]), "");
    }
    assert!(held(&record, &[&leaf_for(&root, &[HOST], for_servers), &root.der]).is_ok());
    let impostor = authority("root", None, nothing);
    is_untrusted(held(&record, &[&leaf_for(&impostor, &[HOST], nothing), &root.der]), "");
}

#[test]
fn d16_no_chain_is_longer_than_an_issuer_permits() {
    let root = authority("root", None, nobody_below);
    let middle = authority("middle", Some(&root), nothing);
    let leaf = leaf_for(&middle, &[HOST], nothing);
    is_untrusted(held(&[tlsa(2, 0, 1, &root.der)], &[&leaf, &middle.der, &root.der]), "longer than");
    assert!(held(&[tlsa(2, 0, 1, &middle.der)], &[&leaf, &middle.der, &root.der]).is_ok());
    let own = leaf_for(&root, &[HOST], nothing);
    assert!(held(&[tlsa(2, 0, 1, &root.der)], &[&own, &root.der]).is_ok());
    let root = authority("root", None, nothing);
    let middle = authority("middle", Some(&root), nobody_below);
    let lower = authority("lower", Some(&middle), nothing);
    let leaf = leaf_for(&lower, &[HOST], nothing);
    is_untrusted(held(&[tlsa(2, 0, 1, &root.der)], &[&leaf, &lower.der, &middle.der, &root.der]), "");
}

#[test]
fn d16_an_issuer_renewed_under_its_key_counts_by_the_certificate_that_holds() {
    let key = KeyPair::generate().unwrap();
    let authority = |tweak: Tweak| {
        params("root", &[], |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            tweak(params);
        })
    };
    let (old, new) = (authority(past).self_signed(&key).unwrap(), authority(nothing).self_signed(&key).unwrap());
    let record = [tlsa(2, 1, 1, old.der())];
    let root = Authority { der: new.der().clone(), issuer: Issuer::new(authority(nothing), key) };
    let leaf = leaf_for(&root, &[HOST], nothing);
    assert!(held(&record, &[&leaf, old.der(), new.der()]).is_ok());
    is_untrusted(held(&record, &[&leaf, old.der()]), "expired");
}

#[test]
fn d17_under_usage_2_the_certificate_must_have_a_reference_name() {
    let root = authority("root", None, nothing);
    let of = |names: &[&str]| held(&[tlsa(2, 0, 1, &root.der)], &[&leaf_for(&root, names, nothing), &root.der]);
    assert_eq!(of(&[HOST]).unwrap().name.as_deref(), Some(HOST));
    assert_eq!(of(&["other.example", DOMAIN]).unwrap().name.as_deref(), Some(DOMAIN), "the recipient's domain alone");
    assert_eq!(of(&[DOMAIN, HOST]).unwrap().name.as_deref(), Some(HOST), "the first reference name");
    is_untrusted(of(&["other.example"]), "is for other.example");
    is_untrusted(of(&["192.0.2.1"]), "is for leaf");
}

#[test]
fn d18_wildcards_are_whole_labels_and_the_common_name_counts_only_alone() {
    let root = authority("root", None, nothing);
    let of = |common: &str, names: &[&str]| {
        let tweak = |params: &mut CertificateParams| params.distinguished_name.push(DnType::CommonName, common);
        held(&[tlsa(2, 0, 1, &root.der)], &[&leaf_for(&root, names, tweak), &root.der])
    };
    assert!(of("x", &["*.example.org"]).is_ok());
    is_untrusted(of("x", &["*.example.net"]), "is for *.example.net");
    is_untrusted(of("x", &["mx*.example.org"]), "is for mx*.example.org");
    assert!(of(HOST, &[]).is_ok(), "RFC 7672 §3.2.3");
    is_untrusted(of(HOST, &["other.example"]), "is for other.example");
}

#[test]
fn d18_below_an_issuer_with_constraints_no_common_name_counts() {
    let only = |domain: &'static str| {
        authority("root", None, move |params| {
            let permitted_subtrees = vec![GeneralSubtree::DnsName(domain.to_owned())];
            params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        })
    };
    let of = |root: &Authority, names: &[&str]| {
        let tweak = |params: &mut CertificateParams| params.distinguished_name.push(DnType::CommonName, HOST);
        let leaf = leaf_for(root, names, tweak);
        [tlsa(2, 0, 1, &root.der), tlsa(2, 0, 0, &root.der)].map(|record| held(&[record], &[&leaf, &root.der]))
    };
    let (ours, other) = (only(DOMAIN), only("other.example"));
    of(&ours, &[HOST]).into_iter().for_each(|found| assert!(found.is_ok(), "{found:?}"));
    of(&ours, &[]).into_iter().for_each(|found| is_untrusted(found, "no name at all"));
    of(&other, &[]).into_iter().for_each(|found| is_untrusted(found, "no name at all"));
    of(&other, &[HOST]).into_iter().for_each(|found| is_untrusted(found, ""));
}

#[test]
fn d19_one_match_is_enough_whatever_the_other_records_are() {
    let [root, middle, leaf] = three(nothing);
    let stranger = self_signed(&[HOST], nothing);
    let chain = [&leaf, &middle, &root];
    let found = held(&[tlsa(3, 1, 1, &stranger), tlsa(2, 0, 1, &root)], &chain).unwrap();
    assert!(found.record.to_string().starts_with("2 0 1 "), "{}", found.record);
    let found = held(&[tlsa(2, 0, 1, &stranger), tlsa(2, 1, 0, &stranger), tlsa(3, 1, 1, &leaf)], &chain).unwrap();
    assert!(found.record.to_string().starts_with("3 1 1 "), "{}", found.record);
    let [expired_root, expired, below] = three(past);
    let chain = [&below, &expired, &expired_root, &root];
    assert!(held(&[tlsa(2, 0, 1, &expired), tlsa(3, 1, 1, &below)], &chain).is_ok());
}

#[test]
fn d20_a_weak_digest_does_not_help_beside_a_strong_one() {
    let (leaf, other) = (self_signed(&[HOST], nothing), self_signed(&[HOST], nothing));
    assert_eq!(held(&[tlsa(3, 1, 1, &leaf), tlsa(3, 1, 2, &other)], &[&leaf]), Err(Mismatch::NoMatch));
    assert!(held(&[tlsa(3, 1, 1, &other), tlsa(3, 1, 2, &leaf)], &[&leaf]).is_ok());
    assert!(held(&[tlsa(3, 1, 1, &leaf), tlsa(3, 0, 2, &other)], &[&leaf]).is_ok(), "another selector");
    assert!(held(&[tlsa(3, 1, 0, &leaf), tlsa(3, 1, 2, &other)], &[&leaf]).is_ok(), "whole data is no digest");
}

#[test]
fn a_chain_without_an_end_is_not_looked_through() {
    let [root, middle, leaf] = three(nothing);
    let far: Vec<_> = std::iter::once(&leaf).chain([&middle; 40]).chain([&root]).collect();
    assert_eq!(held(&[tlsa(2, 0, 1, &root)], &far), Err(Mismatch::NoMatch));
}

/// A server that shows whatever it is given, and notes whom it was asked for.
#[derive(Debug)]
struct Shows {
    own: Arc<CertifiedKey>,
    asked_for: std::sync::Mutex<Option<String>>,
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        *self.asked_for.lock().unwrap() = hello.server_name().map(str::to_owned);
        Some(self.own.clone())
    }
}

fn signing_key(key: &KeyPair) -> Arc<dyn rustls::sign::SigningKey> {
    any_supported_type(&PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap()
}

struct Server {
    shows: Arc<Shows>,
    config: Arc<ServerConfig>,
}

fn server(chain: Vec<Der>, key: &KeyPair, versions: &[&'static SupportedProtocolVersion]) -> Server {
    let own = Arc::new(CertifiedKey::new(chain, signing_key(key)));
    let shows = Arc::new(Shows { own, asked_for: std::sync::Mutex::default() });
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(shows.clone());
    Server { shows, config: Arc::new(config) }
}

/// A handshake in memory; the client as it is at its end.
fn shake(config: &Arc<ClientConfig>, name: ServerName<'static>, server: &Server) -> Result<ClientConnection, Error> {
    shake_with(config, name, &server.config)
}

fn shake_with(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    server: &Arc<ServerConfig>,
) -> Result<ClientConnection, Error> {
    let mut client = ClientConnection::new(config.clone(), name)?;
    let mut server = ServerConnection::new(server.clone())?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(client)
}

fn peers(roots: &[&Der]) -> Peers {
    let mut store = RootCertStore::empty();
    roots.iter().for_each(|root| store.add((*root).clone()).unwrap());
    Peers::believing(store).unwrap()
}

fn strategy(allow_invalid_certs: bool) -> TlsStrategy {
    TlsStrategy {
        id: "test".into(),
        dane: Requirement::Optional,
        mta_sts: Requirement::Optional,
        starttls: Requirement::Optional,
        allow_invalid_certs,
        tls_timeout: Duration::from_secs(30),
        mta_sts_timeout: Duration::from_secs(20),
    }
}

fn facts<'a>(dane: &'a Dane, sts: &'a Standing) -> Facts<'a> {
    let next_hop = NextHop { name: DOMAIN, expanded: None, mx: MxOf::Secure };
    Facts { next_hop, host: HOST, dane, sts }
}

const ABSENT: Dane = Dane::Absent(Absence::NoRecords);

fn examined(peers: &Peers, server: &Server, dane: &Dane, allow_invalid_certs: bool) -> Examined {
    let facts = facts(dane, &Standing::Absent);
    let verdict = decide(&strategy(allow_invalid_certs), &facts);
    let connection = shake(&peers.config, server_name(&facts).unwrap(), server).unwrap();
    peers.examine(&connection, &facts, &verdict, UnixTime::now())
}

fn self_signed_server(versions: &[&'static SupportedProtocolVersion]) -> (Der, Server) {
    let key = KeyPair::generate().unwrap();
    let der = params("self", &["other.example"], nothing).self_signed(&key).unwrap().der().clone();
    (der.clone(), server(vec![der], &key, versions))
}

#[test]
fn d23_and_rows_48_and_63_the_right_certificate_with_another_key_fails_the_handshake() {
    for version in [&TLS12, &TLS13] {
        let (der, right) = self_signed_server(&[version]);
        let thief = server(vec![der.clone()], &KeyPair::generate().unwrap(), &[version]);
        for dane in [Dane::Usable(records(&[tlsa(3, 1, 1, &der)])), ABSENT] {
            let facts = facts(&dane, &Standing::Absent);
            let shaken = |server| shake(&peers(&[]).config, server_name(&facts).unwrap(), server);
            let error = shaken(&thief).unwrap_err();
            assert_eq!(error, Error::InvalidCertificate(CertificateError::BadSignature), "{version:?}");
            assert!(shaken(&right).is_ok());
        }
    }
}

#[test]
fn d12_a_matching_record_permits_what_no_root_knows_and_another_does_not() {
    for version in [&TLS12, &TLS13] {
        let (der, server) = self_signed_server(&[version]);
        let right = examined(&peers(&[]), &server, &Dane::Usable(records(&[tlsa(3, 1, 1, &der)])), false);
        assert_eq!(right.permit.unwrap().assurance(), Assurance::Verified);
        assert!(matches!(right.shown.dane, Some(Ok(_))));
        assert!(right.shown.pkix.is_err(), "what is not enforced is known all the same");
        let other = Dane::Usable(records(&[tlsa(3, 1, 1, &self_signed(&[HOST], nothing))]));
        for allow_invalid_certs in [false, true] {
            let wrong = examined(&peers(&[]), &server, &other, allow_invalid_certs);
            assert_eq!(wrong.permit.unwrap_err().last_error, LastError::Dane);
        }
    }
}

#[test]
fn d24_an_address_in_brackets_is_one_that_a_certificate_may_be_for() {
    for (host, address) in [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1")] {
        let name = server_name(&Facts { host, ..facts(&ABSENT, &Standing::Absent) }).unwrap();
        assert_eq!(name, ServerName::IpAddress(address.parse::<std::net::IpAddr>().unwrap().into()));
    }
    for host in ["[]", "[IPv6:192.0.2.1", "[IPv6:]", "a b"] {
        assert!(server_name(&Facts { host, ..facts(&ABSENT, &Standing::Absent) }).is_err(), "{host}");
    }
}

#[test]
fn d21_the_server_is_asked_for_the_base_domain_or_else_its_mx_name() {
    let (der, server) = self_signed_server(&[&TLS13]);
    let mut records = records(&[tlsa(3, 1, 1, &der)]);
    records.base = "base.example".into();
    examined(&peers(&[]), &server, &Dane::Usable(records), false);
    assert_eq!(server.shows.asked_for.lock().unwrap().as_deref(), Some("base.example"));
    examined(&peers(&[]), &server, &ABSENT, false);
    assert_eq!(server.shows.asked_for.lock().unwrap().as_deref(), Some(HOST));
}

#[test]
fn d21_of_several_certificates_a_server_shows_that_of_the_base_domain() {
    let mut resolver = ResolvesServerCertUsingSni::new();
    let mut one = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let der = params(name, &[name], nothing).self_signed(&key).unwrap().der().clone();
        resolver.add(name, CertifiedKey::new(vec![der.clone()], signing_key(&key))).unwrap();
        der
    };
    let (base, mx) = (one("base.example"), one(HOST));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let config = Arc::new(config);
    let matches = |base: &str, der: &Der| {
        let mut records = records(&[tlsa(3, 1, 1, der)]);
        records.base = base.into();
        let dane = Dane::Usable(records);
        let facts = facts(&dane, &Standing::Absent);
        let verdict = decide(&strategy(false), &facts);
        let peers = peers(&[]);
        let connection = shake_with(&peers.config, server_name(&facts).unwrap(), &config).unwrap();
        peers.examine(&connection, &facts, &verdict, UnixTime::now()).permit.is_ok()
    };
    assert!(matches("base.example", &base) && matches(HOST, &mx));
    assert!(!matches("base.example", &mx) && !matches(HOST, &base));
}

/// What a remote is sent first.
fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut client = ClientConnection::new(peers(&[]).config, ServerName::try_from(HOST).unwrap()).unwrap();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn d21_and_row_66_nothing_below_tls_1_2_is_offered() {
    // RFC 8446 §4.2.1: supported_versions, with exactly these two.
    let offered = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    assert!(hello().windows(offered.len()).any(|window| window == offered));
}

#[test]
fn rows_67_68_69_and_70_nothing_that_is_out_of_date_is_offered() {
    let hello = hello();
    // RFC 8446 §4.1.2: behind the heads of record and message, the version and 32 random bytes, three lists.
    let session = 5 + 4 + 2 + 32;
    let suites = session + 1 + usize::from(hello[session]);
    let compression = suites + 2 + usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    let offered: Vec<_> = hello[suites + 2..compression].chunks(2).map(|pair| [pair[0], pair[1]]).collect();
    // The last is no suite: it says that this client renegotiates nothing unawares (RFC 5746 §3.3).
    let known = ["1302", "1301", "1303", "c02c", "c02b", "cca9", "c030", "c02f", "cca8", "00ff"];
    let offered: Vec<_> = offered.iter().map(|[high, low]| format!("{high:02x}{low:02x}")).collect();
    assert_eq!(offered, known);
    for (class, suites) in [
        ("RC4", &["0004", "0005", "c007", "c011"][..]),
        ("DES and 3DES", &["0009", "000a", "0016", "c008", "c012"]),
        ("EXPORT", &["0003", "0006", "0008", "0014"]),
        ("CBC", &["002f", "0035", "003c", "c009", "c013", "c023", "c027"]),
        ("without forward secrecy", &["009c", "009d", "c09c"]),
        ("finite-field Diffie-Hellman", &["0033", "0039", "009e", "009f", "ccaa"]),
        ("Kerberos", &["001e", "001f", "0020"]),
        ("without encryption, or without a certificate", &["0001", "0002", "003b", "0018", "006d"]),
        ("a second attempt with a lower version (RFC 7507)", &["5600"]),
    ] {
        assert!(suites.iter().all(|suite| !offered.contains(&(*suite).to_owned())), "{class}");
    }
    // One method of compression, which is none.
    assert_eq!(hello[compression..compression + 2], [1, 0]);
}

#[test]
fn m10_and_row_47_the_certificate_must_be_known_unexpired_and_for_the_mx_name() {
    let root = authority("root", None, nothing);
    let stranger = authority("stranger", None, nothing);
    let of = |parent: &Authority, names: &[&str], tweak: Tweak| {
        let key = KeyPair::generate().unwrap();
        let leaf = params(HOST, names, tweak).signed_by(&key, &parent.issuer).unwrap().der().clone();
        examined(&peers(&[&root.der]), &server(vec![leaf], &key, &[&TLS13]), &ABSENT, false)
    };
    assert_eq!(of(&root, &[HOST], nothing).shown.pkix.as_deref(), Ok(HOST));
    assert!(of(&root, &["*.example.org"], nothing).permit.is_ok());
    assert_eq!(of(&root, &[HOST], past).shown.pkix, Err(Untrusted::Expired));
    assert_eq!(of(&root, &[HOST], future).shown.pkix, Err(Untrusted::NotYetValid));
    assert!(matches!(of(&stranger, &[HOST], nothing).shown.pkix, Err(Untrusted::NotTrusted(_))));
    // A name that the policy's pattern covers is not the host's.
    let presented = vec!["mx2.example.org".to_owned()];
    let wrong = Untrusted::WrongName { expected: vec![HOST.to_owned()], presented };
    assert_eq!(of(&root, &["mx2.example.org"], nothing).shown.pkix, Err(wrong));
    let nameless = of(&root, &[], nothing);
    assert!(matches!(nameless.shown.pkix, Err(Untrusted::WrongName { .. })), "the common name does not count");
    assert_eq!(nameless.permit.unwrap_err().last_error, LastError::Tls);
}

#[test]
fn row_48_any_certificate_is_taken_where_that_is_allowed_and_its_faults_are_known() {
    let (_, server) = self_signed_server(&[&TLS12, &TLS13]);
    let lenient = examined(&peers(&[]), &server, &ABSENT, true);
    assert_eq!(lenient.permit.unwrap().assurance(), Assurance::Encrypted);
    assert!(lenient.shown.pkix.is_err());
    assert!(examined(&peers(&[]), &server, &ABSENT, false).permit.is_err());
}

#[test]
fn there_is_no_permit_before_the_handshake_has_ended() {
    let facts = facts(&ABSENT, &Standing::Absent);
    let verdict = decide(&strategy(true), &facts);
    let peers = peers(&[]);
    let begun = ClientConnection::new(peers.config.clone(), server_name(&facts).unwrap()).unwrap();
    assert!(peers.examine(&begun, &facts, &verdict, UnixTime::now()).permit.is_err());
}

#[test]
fn every_session_is_a_handshake_of_its_own() {
    let (_, server) = self_signed_server(&[&TLS12, &TLS13]);
    let peers = peers(&[]);
    for _ in 0..2 {
        let connection = shake(&peers.config, ServerName::try_from(HOST).unwrap(), &server).unwrap();
        assert_eq!(connection.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert!(connection.peer_certificates().is_some());
    }
}

#[test]
fn d12_no_permit_in_clear_where_dane_is_in_force() {
    let (der, _) = self_signed_server(&[&TLS13]);
    let dane = Dane::Usable(records(&[tlsa(3, 1, 1, &der)]));
    let verdict = |dane: &Dane| decide(&strategy(true), &facts(dane, &Standing::Absent));
    assert_eq!(Permit::in_clear(&verdict(&dane)).unwrap_err().enhanced, "4.7.4");
    assert_eq!(Permit::in_clear(&verdict(&ABSENT)).unwrap().assurance(), Assurance::Clear);
}

#[test]
fn a_broken_handshake_is_told_in_a_few_words() {
    let alert = io::Error::other(Error::AlertReceived(rustls::AlertDescription::HandshakeFailure));
    assert_eq!(why_broken(&alert), "the server sent the alert HandshakeFailure");
    assert_eq!(why_broken(&io::ErrorKind::UnexpectedEof.into()), "the server closed the connection");
}
