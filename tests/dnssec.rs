//! What DNS, the route and the verdict say of names in a signed world, with Postfix and dig as witnesses that the world
//! is as it should be.

mod support;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::message_builder::PushError;
use domain::base::{Message, MessageBuilder, Name, ParsedName, Record, Rtype};
use domain::rdata::{A, AllRecordData, Mx, Rrsig};

use mailward::config::Families;
use mailward::outbound::dns::{Anchors, Dns, Dnssec, Doubt, Probe, Server, Settings, Standing};
use mailward::outbound::lookup::{Found, Lookup as _};
use mailward::outbound::route::{Host, Ourselves, Route, Targets, by_chance};
use mailward::policy::answer::{Answer, Existence, LookupError, Security};
use mailward::policy::dane::{Asked, Dane};
use mailward::policy::mta_sts::Standing as Sts;
use mailward::policy::strategy::{Requirement, TlsStrategy};
use mailward::policy::verdict::{Facts, decide};
use support::{Namespace, World, run};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

fn resolver(address: &str, trusts: bool) -> Server {
    Server::new(SocketAddr::new(address.parse().expect("an address"), 53), trusts)
}

fn settings(server: Server) -> Settings {
    let probe = Probe { signed: "secure.test".into(), bogus: Some("bogus.test".into()) };
    Settings { probe, ..Settings::new(vec![server], Dnssec::Ad) }
}

fn trusted() -> Settings {
    settings(resolver(World::RESOLVER, true))
}

/// Asks a resolver that nobody trusts, and validates what it says by the key of the world's root.
fn validating(world: &World) -> Settings {
    let anchors = Anchors::read(&world.scratch.join("root.key")).expect("the root's key");
    Settings { dnssec: Dnssec::Validate(anchors), ..settings(resolver(World::RESOLVER, false)) }
}

/// Does something asynchronous where the world is.
fn inside<T: Send>(namespace: &Namespace, work: impl AsyncFnOnce() -> T + Send) -> T {
    namespace.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work())
    })
}

/// The golden names: what Postfix says of each, and what the route does.
const GOLDEN: [(&str, &str, &str); 12] = [
    ("secure.test", "Verified TLS connection", "mx.secure.test Secure: Secure 3 1 1 of mx.secure.test"),
    ("impl.secure.test", "Verified TLS connection", "impl.secure.test Secure: Secure 3 1 1 of impl.secure.test"),
    ("cn.secure.test", "Verified TLS connection", "alias.cn.secure.test Secure: Secure 3 1 1 of mx.secure.test"),
    ("ci.secure.test", "Verified TLS connection", "alias.ci.secure.test Secure: Secure 3 1 1 of alias.ci.secure.test"),
    (
        "bad.secure.test",
        "no matching DANE TLSA records",
        "mx.bad.secure.test Secure: Secure 3 1 1 of mx.bad.secure.test",
    ),
    ("unus.secure.test", "Untrusted TLS connection", "mx.unus.secure.test Secure: Secure 1 1 1 of mx.unus.secure.test"),
    (
        "nodane.secure.test",
        "Untrusted TLS connection",
        "mx.nodane.secure.test Secure: Secure NoName of mx.nodane.secure.test",
    ),
    ("insecure.test", "Untrusted TLS connection", "mx.insecure.test Insecure: InsecureAddress"),
    // Postfix looks at the records of a host that nobody vouches for, and says less for it.
    ("half.insecure.test", "Trusted TLS connection", "mx.secure.test Insecure: Secure 3 1 1 of mx.secure.test"),
    (
        "cb.secure.test",
        "TLSA lookup error",
        "mx.cb.secure.test Secure: DNSSEC validation failed, EDE 6, of mx.cb.secure.test",
    ),
    ("bogus.test", "Host not found, try again", "451 4.4.3 DNSSEC validation failed, EDE 6"),
    ("null.secure.test", "does not accept mail (nullMX)", "556 5.1.10"),
];

#[test]
fn postfix_sees_the_world_as_it_is_meant_to_be() {
    let world = World::start();
    let _sink = world.sink();
    for (domain, verdict, _) in GOLDEN {
        let mut finger = world.namespace.command("posttls-finger");
        run(finger.args(["-c", "-l", "dane", domain]), b"").prints(verdict);
    }
    let dig = |name: &str, kind: &str| {
        let mut dig = world.namespace.command("dig");
        run(dig.args(["+dnssec", "+noall", "+comments", name, kind]), b"").succeeds()
    };
    dig("impl.secure.test", "MX").prints("status: NOERROR").prints(" ad;");
    dig("_25._tcp.mx.nodane.secure.test", "TLSA").prints("status: NXDOMAIN").prints(" ad;");
    dig("alias.ci.secure.test", "A").prints("status: NOERROR").prints_no(" ad;");
    dig("alias.ci.secure.test", "CNAME").prints("status: NOERROR").prints(" ad;");
    dig("insecure.test", "MX").prints("status: NOERROR").prints_no(" ad;");
    dig("bogus.test", "MX").prints("status: SERVFAIL").prints("EDE: 6");
}

#[test]
fn each_golden_name_has_its_security_and_base_domain() {
    let world = World::start();
    for settings in [trusted(), validating(&world)] {
        let told = inside(&world.namespace, async || {
            let dns = Dns::new(settings);
            let mut told = Vec::new();
            for (domain, ..) in GOLDEN {
                told.push(tell(&dns, domain).await);
            }
            told
        });
        for ((domain, _, expected), told) in GOLDEN.iter().zip(told) {
            assert_eq!(&told, expected, "{domain}");
        }
    }
}

/// The only host of a domain, and what there is to say of it.
async fn tell(dns: &Dns, domain: &str) -> String {
    let ourselves = Ourselves::default();
    let targets = Targets { port: 25, families: Families::V4First, may_be_local: false, ourselves: &ourselves };
    let route = match Route::find(dns, domain, &ourselves, &mut by_chance).await {
        Ok(route) => route,
        Err(why) => {
            let (answer, why) = (why.answer(domain), why.to_string());
            let said = format!("{} {}", answer.code(), answer.status());
            return if why.contains("DNSSEC") { format!("{said} {}", shorten(&why)) } else { said };
        }
    };
    let host = Host::find(dns, &route.exchanges[0], &targets).await.expect("every host has an address");
    let tlsa = match host.tlsa(dns, &route, 25).await {
        Asked::Not(why) => format!("{why:?}"),
        Asked::Failed { base, error } => format!("{}, of {base}", shorten(&error.to_string())),
        Asked::Answered { base, answer } => match answer.records.first() {
            Some(first) => {
                format!("{:?} {} {} {} of {base}", answer.security, first.usage, first.selector, first.matching)
            }
            None => format!("{:?} {:?} of {base}", answer.security, answer.existence),
        },
    };
    format!("{} {:?}: {tlsa}", host.name, route.security)
}

/// Without what a validator says of the signature.
fn shorten(error: &str) -> String {
    let error = &error[error.find("DNSSEC").expect("it is of DNSSEC")..];
    error.split([':', ')']).next().expect("a first part").replace(" (", ", ")
}

#[test]
fn d1_the_four_states_come_from_a_real_resolver() {
    let world = World::start();
    for settings in [trusted(), validating(&world)] {
        inside(&world.namespace, async || four_states(&Dns::new(settings)).await);
    }
}

async fn four_states(dns: &Dns) {
    let mx = dns.mx("secure.test").await.expect("an answer");
    assert_eq!((mx.existence, mx.security, mx.records.len()), (Existence::Records, Security::Secure, 1));
    // A second resolver may hold it for a while already.
    assert!(Duration::from_secs(200) < mx.ttl && mx.ttl <= Duration::from_secs(300), "{:?}", mx.ttl);
    let none = dns.mx("impl.secure.test").await.expect("an answer");
    assert_eq!((&none.existence, none.security), (&Existence::NoData, Security::Secure));
    assert!(Duration::from_secs(1) < none.ttl && none.ttl <= Duration::from_secs(60), "{none:?}");
    let nobody = dns.mx("nobody.secure.test").await.expect("an answer");
    assert_eq!((nobody.existence, nobody.security), (Existence::NoName, Security::Secure));
    let insecure = dns.mx("insecure.test").await.expect("an answer");
    assert_eq!((insecure.existence, insecure.security), (Existence::Records, Security::Insecure));
    let bogus = dns.mx("bogus.test").await.expect_err("it is bogus");
    assert!(matches!(&bogus, LookupError::Bogus { ede: Some(ede) } if ede.code == 6), "{bogus:?}");
    let chain = dns.v4("alias.ci.secure.test").await.expect("an answer");
    assert_eq!((chain.security, &chain.aliases[..]), (Security::Insecure, &["mx.insecure.test".to_owned()][..]));
    let link = dns.alias("alias.ci.secure.test").await.expect("an answer");
    assert_eq!((link.security, &link.records[..]), (Security::Secure, &["mx.insecure.test".to_owned()][..]));
    let chain = dns.v4("alias.cn.secure.test").await.expect("an answer");
    assert_eq!((chain.security, chain.records.len()), (Security::Secure, 1));
    let long = dns.txt("long.secure.test").await.expect("an answer by TCP");
    assert_eq!((long.security, long.records.len()), (Security::Secure, 16));
}

#[test]
fn d2_the_ad_bit_is_believed_of_a_trusted_resolver_that_has_shown_that_it_validates() {
    let world = World::start();
    let standing = |change: &(dyn Fn(&mut Settings) + Sync)| {
        let mut settings = trusted();
        change(&mut settings);
        inside(&world.namespace, async || {
            let dns = Dns::new(settings);
            let security = dns.mx("secure.test").await.expect("an answer").security;
            let standing = dns.standings().remove(0).1;
            assert_eq!(security == Security::Secure, standing == Standing::Vouches);
            assert_eq!(dns.vouches(), standing == Standing::Vouches);
            assert!(dns.test().await);
            standing
        })
    };
    assert_eq!(standing(&|_| {}), Standing::Vouches);
    assert_eq!(standing(&|settings| settings.servers = vec![resolver(World::LOOPBACK, false)]), Standing::Vouches);
    let doubt = Standing::DoesNot(Doubt::Remote);
    assert_eq!(standing(&|settings| settings.servers = vec![resolver(World::RESOLVER, false)]), doubt);
    assert_eq!(standing(&|settings| settings.dnssec = Dnssec::Off), Standing::DoesNot(Doubt::Off));
    let doubt = Standing::DoesNot(Doubt::DoesNotSay("insecure.test".into()));
    assert_eq!(standing(&|settings| settings.probe.signed = "insecure.test".into()), doubt);
    let doubt = Standing::DoesNot(Doubt::DoesNotValidate("insecure.test".into()));
    assert_eq!(standing(&|settings| settings.probe.bogus = Some("insecure.test".into())), doubt);
    assert_eq!(standing(&|settings| settings.probe.bogus = Some("gone.secure.test".into())), Standing::Vouches);
    assert_eq!(standing(&|settings| settings.probe.bogus = None), Standing::Vouches);
}

/// The golden names that have hosts: what may be sent to them where DANE is optional, and where it is required. What
/// the records are worth against the certificate that is shown is another question.
const VERDICTS: [(&str, &str, &str); 10] = [
    ("secure.test", "tls/dane", "tls/dane"),
    ("impl.secure.test", "tls/dane", "tls/dane"),
    ("cn.secure.test", "tls/dane", "tls/dane"),
    ("ci.secure.test", "tls/dane", "tls/dane"),
    ("bad.secure.test", "tls/dane", "tls/dane"),
    ("unus.secure.test", "tls/any", "skip/dane"),
    ("nodane.secure.test", "offered/any", "skip/dane"),
    ("insecure.test", "offered/any", "delay/dane"),
    ("half.insecure.test", "tls/dane", "delay/dane"),
    ("cb.secure.test", "skip/dns", "skip/dns"),
];

#[test]
fn d22_each_golden_name_has_its_verdict() {
    let world = World::start();
    for settings in [trusted(), validating(&world)] {
        inside(&world.namespace, async || {
            let dns = Dns::new(settings);
            for (domain, optional, required) in VERDICTS {
                assert_eq!(verdict(&dns, domain, Requirement::Optional).await, optional, "{domain}");
                assert_eq!(verdict(&dns, domain, Requirement::Require).await, required, "{domain}");
            }
        });
    }
}

async fn verdict(dns: &Dns, domain: &str, dane: Requirement) -> String {
    let ourselves = Ourselves::default();
    let targets = Targets { port: 25, families: Families::V4First, may_be_local: false, ourselves: &ourselves };
    let route = Route::find(dns, domain, &ourselves, &mut by_chance).await.expect("it has hosts");
    let host = Host::find(dns, &route.exchanges[0], &targets).await.expect("every host has an address");
    let strategy = TlsStrategy {
        id: "test".into(),
        dane,
        mta_sts: Requirement::Optional,
        starttls: Requirement::Optional,
        allow_invalid_certs: true,
        tls_timeout: Duration::from_secs(30),
        mta_sts_timeout: Duration::from_secs(20),
    };
    let dane = Dane::of(host.tlsa(dns, &route, 25).await);
    let facts = Facts { next_hop: route.next_hop(), host: &host.name, dane: &dane, sts: &Sts::Absent };
    decide(&strategy, &facts).decision.to_string()
}

/// All names of the zones, but those of which a name server says nothing.
fn names(world: &World) -> BTreeSet<String> {
    let mut names: BTreeSet<_> =
        ["nobody.secure.test", "nobody.insecure.test", "nobody.test", "nobody", "test"].map(str::to_owned).into();
    for zone in ["secure.test", "insecure.test", "bogus.test"] {
        let text = std::fs::read_to_string(world.scratch.join(&format!("{zone}.zone"))).expect("a zone");
        let owners =
            text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_'));
        names.extend(owners.filter_map(|line| line.split_whitespace().next()).map(|owner| format!("{owner}.{zone}")));
        names.insert(zone.to_owned());
    }
    names.extend([World::domain(0), World::domain(1)]);
    names.retain(|name| !name.ends_with("_tcp.mx.odd.insecure.test") && name != "refused.insecure.test");
    names
}

/// What an answer comes to, whoever gives it.
fn sum<T: Debug>(found: Found<T>) -> String {
    let Ok(Answer { records, existence, security, aliases, .. }) = found else { return "an error".to_owned() };
    let records: BTreeSet<_> = records.iter().map(|record| format!("{record:?}")).collect();
    format!("{security:?} {existence:?} {records:?} by {aliases:?}")
}

#[test]
fn what_is_validated_here_is_what_unbound_says_of_every_name_of_the_world() {
    let world = World::start();
    let names = names(&world);
    assert!(names.len() > 60, "{names:?}");
    inside(&world.namespace, async || {
        let (theirs, ours) = (Dns::new(trusted()), Dns::new(validating(&world)));
        for name in &names {
            assert_eq!(sum(ours.mx(name).await), sum(theirs.mx(name).await), "MX {name}");
            assert_eq!(sum(ours.v4(name).await), sum(theirs.v4(name).await), "A {name}");
            assert_eq!(sum(ours.v6(name).await), sum(theirs.v6(name).await), "AAAA {name}");
            assert_eq!(sum(ours.alias(name).await), sum(theirs.alias(name).await), "CNAME {name}");
            assert_eq!(sum(ours.tlsa(name).await), sum(theirs.tlsa(name).await), "TLSA {name}");
            assert_eq!(sum(ours.txt(name).await), sum(theirs.txt(name).await), "TXT {name}");
        }
        assert_eq!(
            (theirs.standings().remove(0).1, ours.standings().remove(0).1),
            (Standing::Vouches, Standing::Validated)
        );
        assert!(ours.test().await);
    });
}

#[test]
fn validated_here_a_doubt_takes_dane_away_and_other_keys_leave_nothing_but_errors() {
    let world = World::start();
    let standing = |change: &(dyn Fn(&mut Settings) + Sync)| {
        let mut settings = validating(&world);
        change(&mut settings);
        inside(&world.namespace, async || {
            let dns = Dns::new(settings);
            let security = dns.mx("secure.test").await.map(|answer| answer.security);
            assert_eq!(dns.vouches(), security == Ok(Security::Secure));
            (dns.standings().remove(0).1, security.map_err(|error| matches!(error, LookupError::Bogus { .. })))
        })
    };
    assert_eq!(standing(&|_| {}), (Standing::Validated, Ok(Security::Secure)));
    let doubt = Standing::DoesNot(Doubt::DoesNotSay("insecure.test".into()));
    assert_eq!(standing(&|settings| settings.probe.signed = "insecure.test".into()), (doubt, Ok(Security::Insecure)));
    let doubt = Standing::DoesNot(Doubt::DoesNotValidate("insecure.test".into()));
    let bogus = standing(&|settings| settings.probe.bogus = Some("insecure.test".into()));
    assert_eq!(bogus, (doubt, Ok(Security::Insecure)));
    let usual = Anchors::usual().expect("keys of the root of the real world");
    let others = standing(&|settings| settings.dnssec = Dnssec::Validate(usual.clone()));
    assert_eq!(others, (Standing::Untested, Err(true)));
}

/// What becomes of a resolver's replies on their way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tampering {
    /// Addresses and hosts are others; the signatures stay.
    Forged,
    /// Everything that DNSSEC has is taken out, and AD is set.
    Stripped,
    /// Signatures are taken out.
    Unsigned,
    /// Proofs are taken out, and their signatures stay.
    Unproven,
    /// As [`Self::Forged`], and signatures say that they are of a zone that is not signed.
    Ascribed,
    /// No name exists.
    Denied,
    /// No question is answered.
    Refused,
    /// Every question fails.
    Failed,
}

impl Tampering {
    const ALL: [Self; 8] = [
        Self::Forged,
        Self::Stripped,
        Self::Unsigned,
        Self::Unproven,
        Self::Ascribed,
        Self::Denied,
        Self::Refused,
        Self::Failed,
    ];

    const fn code(self) -> Option<Rcode> {
        match self {
            Self::Denied => Some(Rcode::NXDOMAIN),
            Self::Refused => Some(Rcode::REFUSED),
            Self::Failed => Some(Rcode::SERVFAIL),
            _ => None,
        }
    }

    const fn keeps(self, rtype: Rtype) -> bool {
        match self {
            Self::Denied | Self::Refused | Self::Failed => false,
            Self::Stripped => !matches!(rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::DS | Rtype::DNSKEY),
            Self::Unsigned => !matches!(rtype, Rtype::RRSIG),
            Self::Unproven => !matches!(rtype, Rtype::NSEC | Rtype::NSEC3),
            _ => true,
        }
    }

    /// The reply that comes instead.
    fn tamper(self, reply: &Message<Vec<u8>>) -> Result<Vec<u8>, PushError> {
        let mut other = MessageBuilder::new_vec();
        *other.header_mut() = reply.header();
        other.header_mut().set_ad(self == Self::Stripped);
        other.header_mut().set_rcode(self.code().unwrap_or(reply.header().rcode()));
        let mut other = other.question();
        for question in reply.question().flatten() {
            other.push(question)?;
        }
        let mut answer = other.answer();
        for record in reply.answer().expect("a section").limit_to::<Data<'_>>().flatten() {
            if self.keeps(record.rtype()) {
                answer.push(self.forge(record))?;
            }
        }
        let mut authority = answer.authority();
        for record in reply.authority().expect("a section").limit_to::<Data<'_>>().flatten() {
            if self.keeps(record.rtype()) {
                authority.push(self.forge(record))?;
            }
        }
        Ok(authority.finish())
    }

    const fn forges(self) -> bool {
        matches!(self, Self::Forged | Self::Ascribed)
    }

    fn forge<'a>(self, record: Record<ParsedName<&'a [u8]>, Data<'a>>) -> Record<ParsedName<&'a [u8]>, Data<'a>> {
        let (owner, class, ttl) = (*record.owner(), record.class(), record.ttl());
        let data = match record.into_data() {
            AllRecordData::A(_) if self.forges() => AllRecordData::A(A::from_octets(192, 0, 2, 1)),
            AllRecordData::Mx(mx) if self.forges() => AllRecordData::Mx(Mx::new(7, *mx.exchange())),
            AllRecordData::Rrsig(signature) if self == Self::Ascribed => AllRecordData::Rrsig(ascribed(&signature)),
            data => data,
        };
        Record::new(owner, class, ttl, data)
    }
}

/// The signature, of a zone that is not signed.
fn ascribed<'a>(signature: &Rrsig<&'a [u8], ParsedName<&'a [u8]>>) -> Rrsig<&'a [u8], ParsedName<&'a [u8]>> {
    let zone = Name::from_octets(b"\x08insecure\x04test\0".as_slice()).expect("a name");
    let signed = Rrsig::new(
        signature.type_covered(),
        signature.algorithm(),
        signature.labels(),
        signature.original_ttl(),
        signature.expiration(),
        signature.inception(),
        signature.key_tag(),
        ParsedName::from(zone),
        *signature.signature(),
    );
    signed.expect("short data")
}

type Data<'a> = AllRecordData<&'a [u8], ParsedName<&'a [u8]>>;

/// Stands before the resolver of the world, in the runtime that it is started in.
struct Tamperer {
    address: SocketAddr,
    is_honest: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Tamperer {
    /// Once it is not honest any more it does this.
    async fn start(tampering: Tampering) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        let is_honest = Arc::new(AtomicBool::new(true));
        let honest = is_honest.clone();
        let task = tokio::spawn(async move {
            let mut datagram = [0; 4096];
            loop {
                let (length, client) = socket.recv_from(&mut datagram).await.expect("a question");
                let reply = forward(&datagram[..length]).await;
                let reply = if honest.load(Ordering::Relaxed) {
                    reply
                } else {
                    tampering.tamper(&Message::from_octets(reply).expect("a reply")).expect("it fits")
                };
                socket.send_to(&reply, client).await.expect("somebody waits for it");
            }
        });
        Self { address, is_honest, task }
    }

    fn turn(&self) {
        self.is_honest.store(false, Ordering::Relaxed);
    }
}

impl Drop for Tamperer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(question: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("0.0.0.0:0").await.expect("a socket");
    socket.connect((World::RESOLVER, 53)).await.expect("the resolver");
    socket.send(question).await.expect("it is sent");
    let mut reply = vec![0; 4096];
    let length = socket.recv(&mut reply).await.expect("a reply");
    reply.truncate(length);
    reply
}

#[test]
fn whatever_is_done_to_replies_on_their_way_it_is_an_error_and_nothing_becomes_insecure() {
    let world = World::start();
    for tampering in Tampering::ALL {
        inside(&world.namespace, async || {
            let tamperer = Tamperer::start(tampering).await;
            let server = Server::new(tamperer.address, false);
            let settings = || Settings { servers: vec![server], ..validating(&world) };
            // It was honest before.
            let dns = Dns::new(settings());
            assert_eq!(dns.mx("secure.test").await.map(|answer| answer.security), Ok(Security::Secure));
            assert_eq!(dns.v4("mx.insecure.test").await.map(|answer| answer.security), Ok(Security::Insecure));
            tamperer.turn();
            check(&dns, tampering).await;
            // It never was.
            let dns = Dns::new(settings());
            check(&dns, tampering).await;
            // Nobody has shown that this zone is not signed. What is forged in one that is not, nobody finds out.
            let unsigned = dns.mx("insecure.test").await.map(|answer| answer.security);
            let forged = tampering == Tampering::Forged;
            assert_eq!(unsigned.ok(), forged.then_some(Security::Insecure), "{tampering:?}");
            // The test needs none of what these two take.
            let passes = matches!(tampering, Tampering::Forged | Tampering::Unproven);
            assert_eq!((dns.test().await, dns.vouches()), (passes, passes), "{tampering:?}");
        });
    }
}

/// Nothing that has to be proven is believed, be it that there is nothing.
async fn check(dns: &Dns, tampering: Tampering) {
    if tampering != Tampering::Unproven {
        assert!(dns.v4("mx.secure.test").await.is_err(), "{tampering:?}");
        assert!(dns.mx("cn.secure.test").await.is_err(), "{tampering:?}");
    }
    if tampering != Tampering::Forged {
        assert!(dns.mx("impl.secure.test").await.is_err(), "{tampering:?}");
        assert!(dns.tlsa("_25._tcp.mx.nodane.secure.test").await.is_err(), "{tampering:?}");
    }
}
