//! What DNS, the route and the verdict say of names in a signed world, with Postfix and dig as witnesses that the world
//! is as it should be.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use mailward::config::Families;
use mailward::outbound::dns::{Dns, Dnssec, Doubt, Probe, Server, Settings, Standing};
use mailward::outbound::lookup::Lookup as _;
use mailward::outbound::route::{Host, Ourselves, Route, Targets, by_chance};
use mailward::policy::answer::{Existence, LookupError, Security};
use mailward::policy::dane::{Asked, Dane};
use mailward::policy::mta_sts::Standing as Sts;
use mailward::policy::strategy::{Requirement, TlsStrategy};
use mailward::policy::verdict::{Facts, decide};
use support::{Namespace, World, run};

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
    let told = inside(&world.namespace, async || {
        let dns = Dns::new(trusted());
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

/// The only host of a domain, and what there is to say of it.
async fn tell(dns: &Dns, domain: &str) -> String {
    let ourselves = Ourselves::default();
    let targets = Targets { port: 25, families: Families::V4First, may_be_local: false, ourselves: &ourselves };
    let route = match Route::find(dns, domain, &ourselves, &mut by_chance).await {
        Ok(route) => route,
        Err(why) => {
            let refusal = why.refusal();
            let said = format!("{} {}", refusal.code, refusal.enhanced);
            return if refusal.text.contains("DNSSEC") { format!("{said} {}", shorten(&refusal.text)) } else { said };
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

/// Without what Unbound says of the signature.
fn shorten(error: &str) -> String {
    let from = error.find("DNSSEC").expect("it is of DNSSEC");
    let to = error.find(": validation failure").unwrap_or_else(|| error.find(": (validation").unwrap_or(error.len()));
    error[from..to].replace(" (", ", ")
}

#[test]
fn d1_the_four_states_come_from_a_real_resolver() {
    let world = World::start();
    inside(&world.namespace, async || {
        let dns = Dns::new(trusted());
        let mx = dns.mx("secure.test").await.expect("an answer");
        assert_eq!((mx.existence, mx.security, mx.records.len()), (Existence::Records, Security::Secure, 1));
        // A second may have gone by in the resolver's memory.
        assert!((290..=300).contains(&mx.ttl.as_secs()), "{:?}", mx.ttl);
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
    });
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
    inside(&world.namespace, async || {
        let dns = Dns::new(trusted());
        for (domain, optional, required) in VERDICTS {
            assert_eq!(verdict(&dns, domain, Requirement::Optional).await, optional, "{domain}");
            assert_eq!(verdict(&dns, domain, Requirement::Require).await, required, "{domain}");
        }
    });
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
