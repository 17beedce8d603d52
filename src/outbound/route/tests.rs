//! Each row of the requirements on routes and DANE's lookups, on tables of records.

use super::*;
use crate::{
    config::Families,
    outbound::lookup::table::Table,
    policy::{answer::LookupError, dane::Asked},
    proto,
};

const BOGUS: LookupError = LookupError::Bogus { ede: None };
const FAILED: LookupError = LookupError::ServerFailure { ede: None };

fn nobody() -> &'static Ourselves {
    static NOBODY: Ourselves = Ourselves { names: Vec::new(), sockets: Vec::new() };
    &NOBODY
}

fn targets() -> Targets<'static> {
    Targets { port: 25, families: Families::V4First, may_be_local: false, ourselves: nobody() }
}

async fn route_of(table: &Table, domain: &str) -> Result<Route, Unroutable> {
    Route::find(table, domain, nobody(), &mut |_| 0).await
}

fn told(answer: &proto::smtp::Answer) -> String {
    format!("{} {}", answer.code(), answer.status())
}

/// What there is to say of each host, in order: `NAME ADDRESSES TLSA`.
async fn hosts(table: &Table, domain: &str) -> Vec<String> {
    hosts_for(table, domain, &targets()).await
}

async fn hosts_for(table: &Table, domain: &str, targets: &Targets<'_>) -> Vec<String> {
    let route = route_of(table, domain).await.unwrap();
    let mut told = Vec::new();
    for exchange in &route.exchanges {
        told.push(format!("{} {}", exchange.name, host(table, &route, exchange, targets).await));
    }
    told
}

async fn host(table: &Table, route: &Route, exchange: &Exchange, targets: &Targets<'_>) -> String {
    let host = match Host::find(table, exchange, targets).await {
        Ok(host) => host,
        Err(fault) => return format!("{fault:?}"),
    };
    let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
    let tlsa = match host.tlsa(table, route, targets.port).await {
        Asked::Not(why) => format!("{why:?}"),
        Asked::Answered { base, answer } => format!("{:?} {} of {base}", answer.security, answer.records.len()),
        Asked::Failed { base, error } => format!("{error} of {base}"),
    };
    format!("{} {tlsa}", addresses.join(","))
}

/// The only host of a domain, without its name and address.
async fn only(table: &Table, domain: &str) -> String {
    let hosts = hosts(table, domain).await;
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    hosts[0].splitn(3, ' ').last().unwrap().to_owned()
}

#[tokio::test]
async fn d1_four_states_are_told_apart() {
    let table = Table::of(
        "signed.test MX 10 mx.signed.test
         mx.signed.test A 192.0.2.1
         _25._tcp.mx.signed.test TLSA 3 1 1 7
         plain.test insecure
         plain.test MX 10 mx.plain.test
         mx.plain.test A 192.0.2.2
         bogus.test bogus
         dead.test MX TIMEOUT",
    );
    assert_eq!(hosts(&table, "signed.test").await, ["mx.signed.test 192.0.2.1 Secure 1 of mx.signed.test"]);
    assert_eq!(hosts(&table, "plain.test").await, ["mx.plain.test 192.0.2.2 InsecureAddress"]);
    assert_eq!(route_of(&table, "bogus.test").await, Err(Unroutable::Lookup(BOGUS)));
    assert_eq!(route_of(&table, "dead.test").await, Err(Unroutable::Lookup(LookupError::Timeout)));
}

#[tokio::test]
async fn d3_without_knowing_the_mx_records_nothing_else_is_looked_up() {
    let table = Table::of("broken.test MX SERVFAIL\n broken.test A 192.0.2.1\n _25._tcp.broken.test TLSA 3 1 1 7");
    let why = route_of(&table, "broken.test").await.unwrap_err();
    assert_eq!(why, Unroutable::Lookup(FAILED));
    assert_eq!(told(&why.answer("some.test")), "451 4.4.3");
    assert_eq!(table.asked(), ["MX broken.test"]);
}

#[tokio::test]
async fn d4_a_host_whose_lookups_fail_is_passed_over_and_the_next_is_good() {
    let table = Table::of(
        "some.test MX 10 a.some.test
         some.test MX 20 b.some.test
         some.test MX 30 c.some.test
         some.test MX 40 d.some.test
         a.some.test A 192.0.2.1
         _25._tcp.a.some.test TLSA SERVFAIL
         b.some.test A SERVFAIL
         c.some.test bogus
         d.some.test A 192.0.2.4
         d.some.test AAAA SERVFAIL
         _25._tcp.d.some.test TLSA 3 1 1 7",
    );
    let expected = [
        "a.some.test 192.0.2.1 the resolver failed to find out, SERVFAIL of a.some.test",
        "b.some.test Lookup(ServerFailure { ede: None })",
        "c.some.test Lookup(Bogus { ede: None })",
        "d.some.test 192.0.2.4 Secure 1 of d.some.test",
    ];
    assert_eq!(hosts(&table, "some.test").await, expected);
    assert_eq!(HostFault::from(BOGUS).answer("mx.test").code(), 451);
}

#[tokio::test]
async fn d5_preference_outranks_security() {
    let table = Table::of(
        "some.test MX 10 safe.test
         some.test MX 5 plain.test
         plain.test A 192.0.2.1
         safe.test A 192.0.2.2
         _25._tcp.safe.test TLSA 3 1 1 7",
    );
    assert_eq!(
        hosts(&table, "some.test").await,
        ["plain.test 192.0.2.1 Secure 0 of plain.test", "safe.test 192.0.2.2 Secure 1 of safe.test"]
    );
}

#[tokio::test]
async fn d6_insecure_mx_records_are_told_beside_what_their_hosts_have() {
    let table = Table::of(
        "plain.test insecure
         plain.test MX 10 mx.signed.test
         mx.signed.test A 192.0.2.1
         _25._tcp.mx.signed.test TLSA 3 1 1 7",
    );
    assert_eq!(route_of(&table, "plain.test").await.unwrap().security, Security::Insecure);
    assert_eq!(only(&table, "plain.test").await, "Secure 1 of mx.signed.test");
}

#[tokio::test]
async fn d2_where_nobody_is_believed_no_certificates_are_asked_for() {
    let table = Table::of(
        ". unbelieved
         signed.test MX 10 mx.signed.test
         mx.signed.test A 192.0.2.1
         _25._tcp.mx.signed.test TLSA 3 1 1 7",
    );
    assert_eq!(only(&table, "signed.test").await, "Unbelieved");
    assert_eq!(table.asked(), ["MX signed.test", "A mx.signed.test", "AAAA mx.signed.test"]);
}

#[tokio::test]
async fn d7_the_domain_is_its_own_host_where_it_is_certain_that_it_has_no_mx_record() {
    let table = Table::of(
        "own.test A 192.0.2.1
         _25._tcp.own.test TLSA 3 1 1 7
         plain.test insecure
         plain.test A 192.0.2.2
         _25._tcp.plain.test TLSA 3 1 1 7",
    );
    let route = route_of(&table, "own.test").await.unwrap();
    assert_eq!((route.way, route.security), (Way::Implicit, Security::Secure));
    assert_eq!(only(&table, "own.test").await, "Secure 1 of own.test");
    assert_eq!(only(&table, "plain.test").await, "InsecureAddress");
    let why = route_of(&table, "nobody.test").await.unwrap_err();
    assert_eq!(told(&why.answer("some.test")), "550 5.1.2");
    let empty = Table::of("_dmarc.empty.test TXT none");
    assert_eq!(hosts(&empty, "empty.test").await, ["empty.test NoAddress"]);
    assert_eq!(told(&HostFault::NoAddress.answer("mx.test")), "451 4.4.4");
}

#[tokio::test]
async fn d8_an_insecure_host_is_asked_for_no_certificates() {
    let table = Table::of(
        "signed.test MX 10 mx.plain.test
         plain.test insecure
         mx.plain.test A 192.0.2.1
         _25._tcp.mx.plain.test TLSA SERVFAIL",
    );
    assert_eq!(only(&table, "signed.test").await, "InsecureAddress");
    assert_eq!(table.asked(), ["MX signed.test", "A mx.plain.test", "AAAA mx.plain.test"]);
}

#[tokio::test]
async fn d9_of_secure_aliases_the_last_name_counts_and_then_the_first() {
    let chain = "some.test MX 10 first.test
         first.test CNAME middle.test
         middle.test CNAME last.test
         last.test A 192.0.2.1
         _25._tcp.middle.test TLSA 3 1 1 7\n";
    let cases = [
        ("", "Secure 0 of first.test"),
        ("_25._tcp.first.test TLSA 3 1 1 7", "Secure 1 of first.test"),
        ("_25._tcp.last.test TLSA 3 1 1 7", "Secure 1 of last.test"),
        ("_25._tcp.first.test TLSA 3 1 1 7\n _25._tcp.last.test TLSA 3 1 1 8", "Secure 1 of last.test"),
        // Nobody may choose between them by making one fail.
        (
            "_25._tcp.first.test TLSA 3 1 1 7\n _25._tcp.last.test TLSA SERVFAIL",
            "the resolver failed to find out, SERVFAIL of last.test",
        ),
    ];
    for (records, expected) in cases {
        let table = Table::of(&format!("{chain}{records}"));
        assert_eq!(only(&table, "some.test").await, expected, "{records}");
        assert!(!table.asked().contains(&"TLSA _25._tcp.middle.test".to_owned()));
    }
}

#[tokio::test]
async fn d10_a_secure_alias_of_an_insecure_host_counts_itself_and_an_insecure_one_does_not() {
    let table = |alias: &str| {
        Table::of(&format!(
            "some.test MX 10 first.test
             first.test CNAME last.plain.test
             plain.test insecure
             last.plain.test A 192.0.2.1
             _25._tcp.first.test TLSA 3 1 1 7
             _25._tcp.last.plain.test TLSA SERVFAIL
             {alias}"
        ))
    };
    let secure = table("");
    assert_eq!(only(&secure, "some.test").await, "Secure 1 of first.test");
    assert!(secure.asked().contains(&"CNAME first.test".to_owned()));
    let insecure = table("first.test insecure");
    assert_eq!(only(&insecure, "some.test").await, "InsecureAddress");
    assert!(insecure.asked().iter().all(|question| !question.starts_with("TLSA")));
    let broken = table("first.test CNAME SERVFAIL");
    assert_eq!(only(&broken, "some.test").await, "the resolver failed to find out, SERVFAIL of first.test");
}

#[tokio::test]
async fn d11_certificates_under_an_alias_are_those_of_the_host_if_every_link_is_secure() {
    let table = |target: &str| {
        Table::of(&format!(
            "some.test MX 10 mx.test
             mx.test A 192.0.2.1
             _25._tcp.mx.test CNAME {target}
             certificates.test TLSA 3 1 1 7
             plain.test insecure
             certificates.plain.test TLSA 3 1 1 7
             bogus.test bogus
             certificates.bogus.test TLSA 3 1 1 7"
        ))
    };
    for (target, expected) in [
        ("certificates.test", "Secure 1 of mx.test"),
        ("certificates.plain.test", "Insecure 1 of mx.test"),
        ("certificates.bogus.test", "DNSSEC validation failed of mx.test"),
        ("nobody.test", "Secure 0 of mx.test"),
    ] {
        assert_eq!(only(&table(target), "some.test").await, expected, "{target}");
    }
}

#[tokio::test]
async fn d22_what_mandatory_dane_waits_for_is_told_apart_from_records() {
    let table = Table::of(
        "none.test MX 10 mx.test
         mx.test A 192.0.2.1
         unusable.test MX 10 odd.test
         odd.test A 192.0.2.1
         _25._tcp.odd.test TLSA 1 1 1 7",
    );
    assert_eq!(only(&table, "none.test").await, "Secure 0 of mx.test");
    assert_eq!(only(&table, "unusable.test").await, "Secure 1 of odd.test");
}

#[tokio::test]
async fn d24_an_address_has_no_certificates_and_needs_no_lookup() {
    let table = Table::of("");
    for (domain, address) in [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1")] {
        assert_eq!(hosts(&table, domain).await, [format!("{domain} {address} Literal")]);
    }
    for wrong in ["[192.0.2]", "[2001:db8::1]", "[IPv6:192.0.2.1]", "[x-tag:y]", "[]", "["] {
        assert_eq!(route_of(&table, wrong).await, Err(Unroutable::NoSuchDomain), "{wrong}");
    }
    assert_eq!(table.asked(), [""; 0]);
}

fn names(route: &Route) -> Vec<&str> {
    route.exchanges.iter().map(|exchange| exchange.name.as_str()).collect()
}

#[tokio::test]
async fn s5_hosts_are_in_the_order_of_preference_and_of_equals_each_may_be_first() {
    let table = Table::of(
        "some.test MX 20 d.test
         some.test MX 10 a.test
         some.test MX 10 b.test
         some.test MX 10 c.test
         some.test MX 30 a.test",
    );
    let mut firsts = HashSet::new();
    for seed in 0..200 {
        let mut number = seed;
        let mut chance = |below: usize| {
            number = number * 31 + 17;
            number / 8 % below
        };
        let route = Route::find(&table, "some.test", nobody(), &mut chance).await.unwrap();
        let names = names(&route);
        assert_eq!((names.len(), names[3]), (4, "d.test"), "{names:?}");
        firsts.insert(names[0].to_owned());
    }
    assert_eq!(firsts.len(), 3, "{firsts:?}");
    let chosen: HashSet<_> = (0..1000).map(|_| by_chance(3)).collect();
    assert_eq!(chosen.len(), 3);
}

#[tokio::test]
async fn s5_a_domain_that_is_an_alias_is_what_it_is_an_alias_of() {
    let table = Table::of(
        "alias.test CNAME real.test
         real.test MX 10 mx.test
         bare.test CNAME host.test
         host.test A 192.0.2.1
         _25._tcp.host.test TLSA 3 1 1 7
         dangling.test CNAME nobody.test",
    );
    let route = route_of(&table, "alias.test").await.unwrap();
    assert_eq!((route.domain.as_str(), route.expanded.as_deref()), ("alias.test", Some("real.test")));
    assert_eq!(names(&route), ["mx.test"]);
    assert_eq!(hosts(&table, "bare.test").await, ["bare.test 192.0.2.1 Secure 1 of host.test"]);
    assert_eq!(route_of(&table, "dangling.test").await, Err(Unroutable::NoSuchDomain));
}

#[tokio::test]
async fn s5_mail_is_not_led_to_ourselves_nor_beyond() {
    let table = Table::of(
        "some.test MX 10 a.test
         some.test MX 20 Us.test
         some.test MX 20 b.test
         some.test MX 30 c.test
         ours.test MX 10 us.test
         us.test A 192.0.2.1
         alias.test CNAME us.test
         a.test A 192.0.2.9
         c.test A 192.0.2.1",
    );
    let us = Ourselves { names: vec!["us.test".into()], sockets: vec!["192.0.2.1:25".parse().unwrap()] };
    let route = Route::find(&table, "some.test", &us, &mut |_| 0).await.unwrap();
    assert_eq!(names(&route), ["a.test"]);
    for domain in ["ours.test", "us.test", "alias.test"] {
        let why = Route::find(&table, domain, &us, &mut |_| 0).await.unwrap_err();
        assert_eq!(told(&why.answer("some.test")), "554 5.4.6", "{domain}");
    }
    // Under another name it shows by the address.
    let at = |port| Targets { port, ourselves: &us, ..targets() };
    let exchange = Exchange { preference: 0, name: "c.test".into(), address: None };
    let fault = Host::find(&table, &exchange, &at(25)).await.unwrap_err();
    assert!(fault == HostFault::Ourselves && fault.is_the_end());
    assert!(Host::find(&table, &exchange, &at(2525)).await.is_ok());
}

#[tokio::test]
async fn s6_a_null_mx_takes_no_mail_and_beside_others_means_nothing() {
    let table = Table::of(
        "null.test MX 0 .
         null.test A 192.0.2.1
         odd.test MX 0 .
         odd.test MX 10 mx.test",
    );
    let why = route_of(&table, "null.test").await.unwrap_err();
    assert_eq!(told(&why.answer("some.test")), "556 5.1.10");
    assert_eq!(names(&route_of(&table, "odd.test").await.unwrap()), ["mx.test"]);
}

#[tokio::test]
async fn addresses_that_mean_this_machine_are_no_targets() {
    let table = Table::of(
        "local.test A 127.0.0.1
         local.test A 0.0.0.0
         local.test A 169.254.1.1
         local.test A 224.0.0.1
         local.test AAAA ::1
         local.test AAAA fe80::1
         local.test AAAA ::ffff:127.0.0.1
         mixed.test A 127.0.0.1
         mixed.test A 10.1.2.3",
    );
    assert_eq!(hosts(&table, "local.test").await, ["local.test Local"]);
    assert_eq!(hosts(&table, "mixed.test").await, ["mixed.test 10.1.2.3 Secure 0 of mixed.test"]);
    let allowed = Targets { may_be_local: true, ..targets() };
    assert_eq!(
        hosts_for(&table, "mixed.test", &allowed).await,
        ["mixed.test 127.0.0.1,10.1.2.3 Secure 0 of mixed.test"]
    );
    assert_eq!(hosts(&table, "[127.0.0.1]").await, ["[127.0.0.1] Local"]);
}

#[tokio::test]
async fn families_are_in_the_order_of_the_strategy_and_what_is_not_used_is_not_asked_for() {
    let text = "both.test A 192.0.2.1\n both.test AAAA 2001:db8::1\n both.test AAAA 2001:db8::2";
    let cases = [
        (Families::V4First, "192.0.2.1,2001:db8::1,2001:db8::2", 2),
        (Families::V6First, "2001:db8::1,2001:db8::2,192.0.2.1", 2),
        (Families::V4Only, "192.0.2.1", 1),
        (Families::V6Only, "2001:db8::1,2001:db8::2", 1),
    ];
    for (families, addresses, questions) in cases {
        let table = Table::of(text);
        let targets = Targets { families, ..targets() };
        assert_eq!(
            hosts_for(&table, "both.test", &targets).await,
            [format!("both.test {addresses} Secure 0 of both.test")]
        );
        let asked = table.asked();
        assert_eq!(asked.iter().filter(|question| question.starts_with('A')).count(), questions, "{asked:?}");
    }
    let targets = Targets { families: Families::V6Only, ..targets() };
    assert_eq!(hosts_for(&Table::of(""), "[192.0.2.1]", &targets).await, ["[192.0.2.1] NoAddress"]);
}

#[tokio::test]
async fn what_is_no_host_name_is_no_host() {
    let table = Table::of(
        "some.test MX 10 a\\032b.test
         some.test MX 15 [192.0.2.9]
         some.test MX 20 mx.test
         mx.test A 192.0.2.1",
    );
    let expected = ["a\\032b.test Name", "[192.0.2.9] Name", "mx.test 192.0.2.1 Secure 0 of mx.test"];
    assert_eq!(hosts(&table, "some.test").await, expected);
    for wrong in ["", ".", "a b.test", "a..test", "-.test"] {
        assert_eq!(route_of(&table, wrong).await, Err(Unroutable::NoSuchDomain), "{wrong}");
    }
}
