use rustls::RootCertStore;
use tokio::runtime::Handle;

use super::*;
use crate::{
    config::Families,
    outbound::{lookup::table::Table, route::Ourselves, store::Store},
    policy::{
        dane::MxOf,
        mta_sts::{Mode, Policy},
        strategy::{BUILT_IN, INVALID_TLS, Names, Rule, Source, condition},
        verdict::{Check, Terms},
    },
};

const ZONE: &str = "\
some.test MX 10 a.test
some.test MX 20 b.test
a.test A 192.0.2.1
_25._tcp.a.test TLSA 3 1 1 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7
b.test A 192.0.2.2
open.test insecure
open.test MX 10 mx.open.test
mx.open.test A 192.0.2.3
other.open.test A 192.0.2.6
two.open.test MX 10 other.open.test
two.open.test MX 20 mx.open.test
unus.test MX 10 mx.unus.test
mx.unus.test A 192.0.2.4
_25._tcp.mx.unus.test TLSA 1 1 1 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7
self.test A 192.0.2.5";

fn message(domain: &'static str) -> Message<'static> {
    Message {
        listener: "",
        source: Source::Dsn,
        sender: "",
        sender_domain: "",
        rcpt: "",
        rcpt_domain: domain,
        retry_num: 0,
        last_error: LastError::None,
        domain_failures: 0,
        domain_last_error: LastError::None,
        mx: None,
        mx_last_error: None,
        remote_ip: None,
        local_ip: None,
    }
}

fn strategy(id: &str, change: impl FnOnce(&mut TlsStrategy)) -> Arc<TlsStrategy> {
    let mut strategy = TlsStrategy::new(id);
    change(&mut strategy);
    Arc::new(strategy)
}

fn rule(text: &str, strategy: Arc<TlsStrategy>) -> Rule {
    Rule { condition: condition(text, &Names::default()).unwrap(), strategy }
}

/// What holds without a word in the file.
fn built_in() -> Strategies {
    let rules = vec![rule(BUILT_IN, strategy(INVALID_TLS, |_| {}))];
    Strategies { rules, otherwise: strategy("default", |_| {}) }
}

fn policies() -> Policies {
    Policies::new(RootCertStore::empty(), Arc::new(Table::of("")), Store::default(), Handle::current()).unwrap()
}

/// Does something with a scout in [`ZONE`].
async fn with<T>(strategies: &Strategies, work: impl AsyncFnOnce(&Scout<'_, Table>) -> T) -> (T, Vec<String>) {
    let (table, policies, ourselves) = (Table::of(ZONE), policies(), Ourselves::default());
    let targets = Targets { port: 25, families: Families::V4Only, may_be_local: false, ourselves: &ourselves };
    let scout = Scout { lookup: &table, policies: &policies, strategies, targets };
    let done = work(&scout).await;
    (done, table.asked())
}

async fn first(scout: &Scout<'_, Table>, domain: &'static str) -> (Destination, Prospect) {
    let destination = scout.destination(domain, &message(domain)).await.unwrap();
    let prospect = scout.prospect(&destination, &destination.route.exchanges[0], &message(domain)).await.unwrap();
    (destination, prospect)
}

#[tokio::test]
async fn rows_39_and_42_nothing_is_looked_up_that_no_strategy_wants() {
    let neither = strategy("plain", |plain| {
        (plain.dane, plain.mta_sts) = (Requirement::Disable, Requirement::Disable);
    });
    let strategies = Strategies { rules: Vec::new(), otherwise: neither.clone() };
    let (prospect, asked) = with(&strategies, async |scout| first(scout, "some.test").await).await;
    assert_eq!(asked, ["MX some.test", "A a.test"]);
    assert_eq!(prospect.1.dane, Dane::of(Asked::Not(NotAsked::Disabled)));
    // A rule that may hold only for a later host, or after a failure, is reason enough.
    let default = || strategy("default", |_| {});
    for (condition, domain) in [("mx == 'b.test'", "some.test"), ("retry_num > 0 && last_error == 'tls'", "some.test")]
    {
        let strategies = Strategies { rules: vec![rule(condition, default())], otherwise: neither.clone() };
        let (_, asked) = with(&strategies, async |scout| first(scout, domain).await).await;
        assert!(asked.contains(&"TXT _mta-sts.some.test".to_owned()), "{asked:?}");
        let is_asked = asked.contains(&"TLSA _25._tcp.a.test".to_owned());
        assert_eq!(is_asked, condition.starts_with("retry"), "{condition}: of the host it is known that it is another");
    }
}

#[tokio::test]
async fn d5_hosts_are_looked_up_in_their_order_and_only_in_their_turn() {
    let ((), asked) = with(&built_in(), async |scout| {
        let (destination, prospect) = first(scout, "some.test").await;
        let names: Vec<_> = destination.route.exchanges.iter().map(|exchange| exchange.name.as_str()).collect();
        assert_eq!((names, prospect.host.name.as_str()), (vec!["a.test", "b.test"], "a.test"));
    })
    .await;
    assert_eq!(asked, ["MX some.test", "TXT _mta-sts.some.test", "A a.test", "TLSA _25._tcp.a.test"]);
}

#[tokio::test]
async fn m13_hosts_that_the_policy_does_not_list_stay_in_their_place_and_are_passed_over_there() {
    let ((), asked) = with(&built_in(), async |scout| {
        let mut destination = scout.destination("two.open.test", &message("two.open.test")).await.unwrap();
        let (mx, max_age) = (vec!["mx.open.test".to_owned()], Duration::from_secs(86_400));
        let policy = Policy { mode: Mode::Enforce, mx, max_age, lines: Vec::new() };
        destination.sts.standing = Standing::Policy { policy, fault: None };
        let strategy = scout.strategies.choose(&message("two.open.test")).unwrap();
        let mut decisions = Vec::new();
        for exchange in &destination.route.exchanges {
            let prospect = scout.prospect(&destination, exchange, &message("two.open.test")).await.unwrap();
            let judged = prospect.judge(&destination, strategy);
            decisions.push((exchange.name.clone(), judged.verdict.decision));
        }
        assert!(matches!(&decisions[0], (name, Decision::Skip(_)) if name == "other.open.test"), "{decisions:?}");
        assert!(matches!(&decisions[1], (name, Decision::Send(_)) if name == "mx.open.test"), "{decisions:?}");
    })
    .await;
    let hosts: Vec<_> = asked.iter().filter(|question| question.starts_with("A ")).collect();
    assert_eq!(hosts, ["A other.open.test", "A mx.open.test"]);
}

#[tokio::test]
async fn d6_what_led_to_the_host_is_told_to_dane() {
    let mx_of = async |domain| {
        let (mx, _) = with(&built_in(), async |scout| first(scout, domain).await.0.route.next_hop().mx).await;
        mx
    };
    assert_eq!(mx_of("some.test").await, MxOf::Secure);
    assert_eq!(mx_of("open.test").await, MxOf::Insecure);
    assert_eq!(mx_of("self.test").await, MxOf::None);
    assert_eq!(mx_of("[192.0.2.1]").await, MxOf::Insecure);
}

#[tokio::test]
async fn m14_an_address_has_no_policy() {
    let (found, asked) = with(&built_in(), async |scout| first(scout, "[192.0.2.1]").await.0.sts).await;
    assert_eq!(found.standing, Standing::Unasked(Unasked::Literal));
    assert_eq!(asked, [""; 0]);
}

/// The terms of the attempt after one that failed by its TLS.
async fn terms_again(strategies: &Strategies, domain: &'static str, policy: Option<Mode>) -> Option<Terms> {
    let (terms, _) = with(strategies, async |scout| {
        let (mut destination, prospect) = first(scout, domain).await;
        if let Some(mode) = policy {
            let mx = vec![prospect.host.name.clone()];
            let policy = Policy { mode, mx, max_age: Duration::from_secs(86_400), lines: Vec::new() };
            destination.sts.standing = Standing::Policy { policy, fault: None };
        }
        let strategy = scout.strategies.choose(&message(domain)).unwrap();
        let judged = prospect.judge(&destination, strategy);
        let refusal = judged.verdict.broken("it does not work");
        let next = scout.again(&judged, &refusal, &message(domain))?;
        for last_error in [LastError::Dane, LastError::Connection, LastError::UnexpectedReply] {
            assert!(scout.again(&judged, &Refusal { last_error, ..refusal.clone() }, &message(domain)).is_none());
        }
        match next.verdict.decision {
            Decision::Send(terms) => Some(terms),
            other => panic!("{other}"),
        }
    })
    .await;
    terms
}

#[tokio::test]
async fn after_a_failure_less_is_asked_for_but_never_less_than_the_domain_asks() {
    let built_in = built_in();
    assert_eq!(terms_again(&built_in, "open.test", None).await, Some(Terms::IfOffered(Check::ANY)));
    assert_eq!(terms_again(&built_in, "open.test", Some(Mode::Testing)).await, Some(Terms::IfOffered(Check::ANY)));
    assert_eq!(terms_again(&built_in, "unus.test", None).await, Some(Terms::Always(Check::ANY)));
    assert_eq!(terms_again(&built_in, "some.test", None).await, None, "the record is to be matched");
    assert_eq!(terms_again(&built_in, "open.test", Some(Mode::Enforce)).await, None);
    // Not even where the operator's ladder would leave all out.
    let nothing = strategy("nothing", |nothing| {
        (nothing.dane, nothing.mta_sts) = (Requirement::Disable, Requirement::Disable);
        nothing.starttls = Requirement::Disable;
    });
    let rules = vec![rule(BUILT_IN, nothing)];
    let ladder = Strategies { rules, otherwise: strategy("default", |_| {}) };
    assert_eq!(terms_again(&ladder, "open.test", None).await, Some(Terms::Plaintext));
    for (domain, policy) in [("some.test", None), ("unus.test", None), ("open.test", Some(Mode::Enforce))] {
        assert_eq!(terms_again(&ladder, domain, policy).await, None, "{domain}");
        assert_eq!(terms_again(&ladder, "unus.test", Some(Mode::Enforce)).await, None);
    }
    let alike = Strategies { rules: vec![rule(BUILT_IN, strategy("alike", |_| {}))], ..ladder };
    assert_eq!(terms_again(&alike, "open.test", None).await, None, "nothing would be otherwise");
}
