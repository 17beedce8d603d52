//! Every combination of settings and facts, as a table that was looked through rule by rule, and the rules themselves.

use std::{fmt::Write, time::Duration};

use super::*;
use crate::policy::{
    answer::LookupError,
    certificate::Untrusted,
    dane::{Absence, Data, NotAsked, Record, Records, Selector, Tlsa, Unusable, Usage},
    evidence::{Matched, Mismatch},
    mta_sts::{Fault, Unasked},
};

const DOMAIN: &str = "example.org";
const HOST: &str = "mx.example.org";
const REQUIREMENTS: [Requirement; 3] = [Requirement::Optional, Requirement::Require, Requirement::Disable];
const MX: [(&str, MxOf); 3] = [("secure", MxOf::Secure), ("insecure", MxOf::Insecure), ("none", MxOf::None)];

fn strategy(dane: Requirement, mta_sts: Requirement, starttls: Requirement, allow_invalid_certs: bool) -> TlsStrategy {
    TlsStrategy {
        id: "test".into(),
        dane,
        mta_sts,
        starttls,
        allow_invalid_certs,
        tls_timeout: Duration::from_secs(30),
        mta_sts_timeout: Duration::from_secs(20),
    }
}

fn strategies() -> impl Iterator<Item = TlsStrategy> {
    REQUIREMENTS.into_iter().flat_map(|dane| {
        REQUIREMENTS.into_iter().flat_map(move |mta_sts| {
            REQUIREMENTS.into_iter().flat_map(move |starttls| {
                [false, true].into_iter().map(move |invalid| strategy(dane, mta_sts, starttls, invalid))
            })
        })
    })
}

fn optional() -> TlsStrategy {
    strategy(Requirement::Optional, Requirement::Optional, Requirement::Optional, false)
}

fn record() -> Record {
    Record { usage: Usage::Leaf, selector: Selector::Key, data: Data::Sha256([7; 32]) }
}

fn tlsa(usage: u8) -> Tlsa {
    Tlsa { usage, selector: 1, matching: 1, data: vec![7; 32] }
}

fn usable() -> Dane {
    Dane::Usable(Records { base: HOST.into(), published: vec![tlsa(3)], used: vec![record()] })
}

fn unusable() -> Dane {
    Dane::Unusable { base: HOST.into(), found: vec![(tlsa(1), Unusable::Usage(1))] }
}

fn failed() -> Dane {
    Dane::Failed { base: HOST.into(), error: LookupError::Bogus { ede: None } }
}

fn danes() -> [(&'static str, Dane); 4] {
    [("absent", Dane::Absent(Absence::NoRecords)), ("usable", usable()), ("unusable", unusable()), ("failed", failed())]
}

fn policy(mode: Mode, mx: &str) -> Standing {
    let policy = Policy { mode, mx: vec![mx.into()], max_age: Duration::from_secs(86_400), lines: Vec::new() };
    Standing::Policy { policy, fault: None }
}

/// Those with `!` do not list the host.
fn standings() -> [(&'static str, Standing); 7] {
    [
        ("absent", Standing::Absent),
        ("unavailable", Standing::Unavailable(Fault::Status(404))),
        ("none", policy(Mode::None, HOST)),
        ("testing", policy(Mode::Testing, HOST)),
        ("testing!", policy(Mode::Testing, "other.example")),
        ("enforce", policy(Mode::Enforce, HOST)),
        ("enforce!", policy(Mode::Enforce, "other.example")),
    ]
}

fn verdict(strategy: &TlsStrategy, mx: MxOf, dane: &Dane, sts: &Standing) -> Verdict {
    decide(strategy, &Facts { next_hop: NextHop { name: DOMAIN, expanded: None, mx }, host: HOST, dane, sts })
}

fn table() -> String {
    let mut table = String::from(
        "# Every verdict. A block for each strategy; a row for what led to the host and what its TLSA records come to; a column\n\
         # for the domain's MTA-STS policy, with ! where it does not list the host.\n\
         # plaintext: never TLS · offered/…: TLS where it is offered · tls/…: never without · behind the stroke what the\n\
         # certificate must be · skip/…: the next host · delay/…: no host; behind the stroke the word for last_error\n",
    );
    for strategy in strategies() {
        let (dane, sts, starttls) = (strategy.dane.name(), strategy.mta_sts.name(), strategy.starttls.name());
        let invalid = strategy.allow_invalid_certs;
        let _ =
            write!(table, "\ndane={dane} mta-sts={sts} starttls={starttls} allow-invalid-certs={invalid}\n{:18}", "");
        standings().iter().for_each(|(name, _)| _ = write!(table, " {name:13}"));
        for (led, mx) in MX {
            for (name, dane) in &danes() {
                let _ = write!(table, "\n{led:9}{name:9}");
                for (_, sts) in &standings() {
                    let _ = write!(table, " {:13}", verdict(&strategy, mx, dane, sts).decision.to_string());
                }
            }
        }
        table.push('\n');
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn every_combination_of_settings_and_facts_has_the_verdict_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/policy/verdicts.txt");
    let (right, found) = (std::fs::read_to_string(path).unwrap(), table());
    for (at, (right, found)) in right.lines().zip(found.lines()).enumerate() {
        assert_eq!(found, right, "line {} of {path}", at + 1);
    }
    assert_eq!(found.lines().count(), right.lines().count());
}

/// All combinations, each with its verdict.
fn all(mut check: impl FnMut(&TlsStrategy, MxOf, &Dane, &Standing, &Decision)) {
    for strategy in strategies() {
        for (_, mx) in MX {
            for (_, dane) in &danes() {
                for (_, sts) in &standings() {
                    check(&strategy, mx, dane, sts, &verdict(&strategy, mx, dane, sts).decision);
                }
            }
        }
    }
}

fn check_of(decision: &Decision) -> Option<Check> {
    match decision {
        Decision::Send(Terms::Always(check)) => Some(*check),
        _ => None,
    }
}

fn is_no(decision: &Decision) -> bool {
    matches!(decision, Decision::Skip(_) | Decision::Delay(_))
}

#[test]
fn d12_usable_records_are_never_answered_in_clear_or_with_any_certificate() {
    all(|strategy, _, dane, _, decision| {
        if strategy.dane != Requirement::Disable && matches!(dane, Dane::Usable(_)) {
            assert!(is_no(decision) || check_of(decision).is_some_and(|check| check.dane), "{strategy:?} {decision}");
        }
    });
}

#[test]
fn d12_a_wrong_digest_is_never_plaintext() {
    let shown = Shown { pkix: Ok(HOST.into()), dane: Some(Err(Mismatch::NoMatch)) };
    let verdict = verdict(&optional(), MxOf::Secure, &usable(), &Standing::Absent);
    let refusal = verdict.with_tls(&shown).unwrap_err();
    assert_eq!(refusal.to_string(), "451 4.7.5 mx.example.org: the certificate matches none of the TLSA records");
    assert_eq!(refusal.last_error, LastError::Dane);
    let refusal = verdict.without_tls().unwrap_err();
    assert_eq!(refusal.to_string(), "451 4.7.4 mx.example.org does not offer TLS, which DANE makes mandatory");
}

#[test]
fn d13_unusable_records_make_tls_mandatory_and_ask_nothing_of_the_certificate() {
    let any = strategy(Requirement::Optional, Requirement::Optional, Requirement::Optional, true);
    let verdict = verdict(&any, MxOf::Secure, &unusable(), &Standing::Absent);
    assert_eq!(verdict.decision, Decision::Send(Terms::Always(Check::ANY)));
    let shown = Shown { pkix: Err(Untrusted::Expired), dane: None };
    assert_eq!(verdict.with_tls(&shown), Ok(Assurance::Encrypted));
    assert_eq!(verdict.without_tls().unwrap_err().enhanced, "4.7.4");
}

#[test]
fn d4_records_that_cannot_be_looked_up_put_the_host_out_of_reach() {
    all(|strategy, mx, dane, _, decision| {
        if strategy.dane != Requirement::Disable && matches!(dane, Dane::Failed { .. }) {
            assert!(is_no(decision), "{strategy:?} {mx:?} {decision}");
        }
    });
    let verdict = verdict(&optional(), MxOf::Secure, &failed(), &Standing::Absent);
    let Decision::Skip(refusal) = verdict.decision else { panic!("{}", verdict.decision) };
    assert_eq!((refusal.code, refusal.enhanced, refusal.last_error), (451, "4.4.3", LastError::Dns));
}

#[test]
fn d6_behind_insecure_mx_records_dane_is_a_help_and_no_proof() {
    let decision = |strategy: &TlsStrategy, sts: &Standing| verdict(strategy, MxOf::Insecure, &usable(), sts).decision;
    let dane = Decision::Send(Terms::Always(Check { dane: true, pkix: false }));
    assert_eq!(decision(&optional(), &Standing::Absent), dane);
    let required = strategy(Requirement::Require, Requirement::Optional, Requirement::Optional, false);
    assert!(matches!(decision(&required, &Standing::Absent), Decision::Delay(refusal) if refusal.enhanced == "4.7.5"));
    // Whoever forges the MX records brings a host with TLSA records of his own.
    let both = Decision::Send(Terms::Always(Check { dane: true, pkix: true }));
    assert_eq!(decision(&optional(), &policy(Mode::Enforce, HOST)), both);
    assert!(matches!(decision(&optional(), &policy(Mode::Enforce, "other.example")), Decision::Skip(_)));
    let verdict = verdict(&optional(), MxOf::Insecure, &usable(), &Standing::Absent);
    let shown = Shown { pkix: Err(Untrusted::Expired), dane: Some(Ok(Matched { record: record(), name: None })) };
    assert_eq!(verdict.with_tls(&shown), Ok(Assurance::Trusted), "and never verified");
    let reasons = verdict.reasons.join("\n");
    assert!(reasons.contains("does not vouch for the MX records of example.org"), "{reasons}");
}

#[test]
fn d22_required_dane_without_usable_records_is_a_delay_and_no_bounce() {
    let required = strategy(Requirement::Require, Requirement::Optional, Requirement::Optional, true);
    let absent =
        [Absence::NoRecords, Absence::Insecure, Absence::NotAsked(NotAsked::InsecureAddress)].map(Dane::Absent);
    for dane in absent.iter().chain([&unusable()]) {
        let Decision::Skip(refusal) = verdict(&required, MxOf::Secure, dane, &Standing::Absent).decision else {
            panic!("{dane:?}")
        };
        assert_eq!((refusal.code, refusal.enhanced, refusal.last_error), (451, "4.7.5", LastError::Dane));
    }
}

#[test]
fn d24_an_address_is_sent_to_without_dane() {
    let (dane, sts) = (Dane::Absent(Absence::NotAsked(NotAsked::Literal)), Standing::Unasked(Unasked::Literal));
    let decision = verdict(&optional(), MxOf::None, &dane, &sts).decision;
    assert_eq!(decision, Decision::Send(Terms::IfOffered(Check { dane: false, pkix: true })));
}

#[test]
fn m11_an_enforced_policy_skips_who_does_not_comply_and_never_bounces() {
    all(|strategy, mx, dane, sts, decision| {
        let Standing::Policy { policy, .. } = sts else { return };
        let decides = strategy.dane == Requirement::Disable || mx == MxOf::Insecure || !matches!(dane, Dane::Usable(_));
        if policy.mode == Mode::Enforce && strategy.mta_sts != Requirement::Disable && decides {
            let complies = check_of(decision).is_some_and(|check| check.pkix) && policy.lists(HOST);
            assert!(is_no(decision) || complies, "{strategy:?} {decision}");
        }
        if let Decision::Skip(refusal) | Decision::Delay(refusal) = decision {
            assert_eq!(refusal.code, 451);
        }
    });
    let verdict = verdict(&optional(), MxOf::Insecure, &danes()[0].1, &policy(Mode::Enforce, HOST));
    let refusal = verdict.with_tls(&Shown { pkix: Err(Untrusted::Expired), dane: None }).unwrap_err();
    assert_eq!(refusal.to_string(), "451 4.7.5 mx.example.org: the certificate has expired");
    assert!(verdict.without_tls().unwrap_err().text.contains("the MTA-STS policy makes mandatory"));
}

#[test]
fn m12_a_policy_under_test_and_one_of_mode_none_change_no_verdict() {
    for strategy in strategies().filter(|strategy| strategy.mta_sts != Requirement::Require) {
        for (_, mx) in MX {
            for (_, dane) in &danes() {
                let without = verdict(&strategy, mx, dane, &Standing::Absent).decision;
                for mode in [Mode::Testing, Mode::None] {
                    for host in [HOST, "other.example"] {
                        assert_eq!(verdict(&strategy, mx, dane, &policy(mode, host)).decision, without);
                    }
                }
            }
        }
    }
}

#[test]
fn m15_a_policy_does_not_save_a_certificate_that_fails_dane() {
    for mx in [MxOf::Secure, MxOf::None, MxOf::Insecure] {
        let verdict = verdict(&optional(), mx, &usable(), &policy(Mode::Enforce, HOST));
        let shown = Shown { pkix: Ok(HOST.into()), dane: Some(Err(Mismatch::NoMatch)) };
        assert_eq!(verdict.with_tls(&shown).unwrap_err().last_error, LastError::Dane);
    }
}

#[test]
fn m6_a_policy_that_cannot_be_fetched_is_as_none_unless_it_is_required() {
    let unavailable = Standing::Unavailable(Fault::Status(404));
    for strategy in strategies().filter(|strategy| strategy.mta_sts != Requirement::Require) {
        for (_, dane) in &danes() {
            let of = |sts| verdict(&strategy, MxOf::Secure, dane, sts).decision;
            assert_eq!(of(&unavailable), of(&Standing::Absent));
        }
    }
}

#[test]
fn row_37_optional_dane_is_used_where_it_is_there() {
    let of = |dane: &Dane| verdict(&optional(), MxOf::Secure, dane, &Standing::Absent);
    assert_eq!(of(&danes()[0].1).decision.to_string(), "offered/pkix", "none");
    let matched = Ok(Matched { record: record(), name: None });
    let untrusted = || Err(Untrusted::NotTrusted("UnknownIssuer".into()));
    assert!(of(&usable()).with_tls(&Shown { pkix: untrusted(), dane: Some(matched) }).is_ok(), "a match without PKIX");
    let mismatch = Some(Err(Mismatch::NoMatch));
    assert!(of(&usable()).with_tls(&Shown { pkix: Ok(HOST.into()), dane: mismatch }).is_err(), "a mismatch with PKIX");
    assert_eq!(of(&failed()).decision.to_string(), "skip/dns", "bogus");
}

#[test]
fn row_38_required_dane_sends_nothing_without_a_match() {
    let required = strategy(Requirement::Require, Requirement::Optional, Requirement::Optional, true);
    let of = |mx, dane: &Dane| verdict(&required, mx, dane, &Standing::Absent);
    for (_, dane) in danes().iter().filter(|(name, _)| *name != "usable") {
        for (_, mx) in MX {
            let verdict = of(mx, dane);
            assert!(is_no(&verdict.decision) && verdict.without_tls().is_err(), "{mx:?} {dane:?}");
            assert!(verdict.with_tls(&Shown { pkix: Ok(HOST.into()), dane: None }).is_err(), "{mx:?} {dane:?}");
        }
    }
    let shown = |dane| Shown { pkix: Err(Untrusted::Expired), dane: Some(dane) };
    let matched = Matched { record: record(), name: None };
    assert_eq!(of(MxOf::Secure, &usable()).with_tls(&shown(Ok(matched))), Ok(Assurance::Verified));
    assert!(of(MxOf::Secure, &usable()).with_tls(&shown(Err(Mismatch::NoMatch))).is_err());
}

#[test]
fn row_40_optional_mta_sts_is_applied_where_there_is_a_policy_fetched_or_held() {
    let absent = &danes()[0].1;
    let of = |sts: &Standing| verdict(&optional(), MxOf::Insecure, absent, sts).decision.to_string();
    assert_eq!(of(&Standing::Absent), "offered/pkix");
    assert_eq!(of(&Standing::Unavailable(Fault::Status(404))), "offered/pkix");
    assert_eq!(of(&policy(Mode::Enforce, HOST)), "tls/pkix");
    let Standing::Policy { policy: held, .. } = policy(Mode::Enforce, HOST) else { panic!("it is one") };
    assert_eq!(of(&Standing::Policy { policy: held, fault: Some(Fault::Status(404)) }), "tls/pkix");
}

#[test]
fn row_59_each_refusal_has_its_word() {
    let (absent, shown) = (&danes()[0].1, Shown { pkix: Err(Untrusted::Expired), dane: None });
    let required = |dane, mta_sts| strategy(dane, mta_sts, Requirement::Require, false);
    let (optional, require) = (Requirement::Optional, Requirement::Require);
    let word = |verdict: Verdict| match verdict.decision {
        Decision::Skip(refusal) | Decision::Delay(refusal) => refusal.last_error.name(),
        _ => panic!("{}", verdict.decision),
    };
    let of = |strategy: &TlsStrategy, dane: &Dane, sts: &Standing| verdict(strategy, MxOf::Secure, dane, sts);
    assert_eq!(word(of(&required(optional, optional), &failed(), &Standing::Absent)), "dns");
    assert_eq!(word(of(&required(require, optional), absent, &Standing::Absent)), "dane");
    assert_eq!(word(of(&required(optional, require), absent, &Standing::Absent)), "mta-sts");
    assert_eq!(word(of(&required(optional, optional), absent, &policy(Mode::Enforce, "other.example"))), "mta-sts");
    let tls = of(&required(optional, optional), absent, &Standing::Absent);
    for refusal in [tls.without_tls().unwrap_err(), tls.with_tls(&shown).unwrap_err(), tls.broken("it stalls")] {
        assert_eq!(refusal.last_error.name(), "tls", "{refusal}");
    }
    let mismatch = Shown { pkix: Ok(HOST.into()), dane: Some(Err(Mismatch::NoMatch)) };
    let dane = of(&required(optional, optional), &usable(), &Standing::Absent).with_tls(&mismatch).unwrap_err();
    assert_eq!(dane.last_error.name(), "dane");
}

#[test]
fn row_98_optional_policies_with_required_starttls_never_mean_plaintext() {
    let strict = strategy(Requirement::Optional, Requirement::Optional, Requirement::Require, false);
    for (_, mx) in MX {
        for (_, dane) in &danes() {
            for (_, sts) in &standings() {
                assert!(verdict(&strict, mx, dane, sts).without_tls().is_err());
            }
        }
    }
}

#[test]
fn m14_the_policy_that_counts_is_the_next_hops() {
    let (dane, sts) = (&danes()[0].1, policy(Mode::Enforce, "other.example"));
    let next_hop = NextHop { name: "relay.example", expanded: None, mx: MxOf::Insecure };
    let verdict = decide(&optional(), &Facts { next_hop, host: HOST, dane, sts: &sts });
    let Decision::Skip(refusal) = verdict.decision else { panic!("{}", verdict.decision) };
    assert_eq!(refusal.text, "the MTA-STS policy of relay.example does not list mx.example.org");
}

#[test]
fn row_41_required_mta_sts_refuses_without_policy_host_or_certificate() {
    let required = strategy(Requirement::Optional, Requirement::Require, Requirement::Optional, true);
    let absent = Dane::Absent(Absence::NoRecords);
    for sts in [Standing::Absent, Standing::Unavailable(Fault::Status(404)), policy(Mode::None, HOST)] {
        let Decision::Delay(refusal) = verdict(&required, MxOf::Secure, &absent, &sts).decision else {
            panic!("{sts:?}")
        };
        assert_eq!((refusal.code, refusal.last_error), (451, LastError::MtaSts));
    }
    let skipped = verdict(&required, MxOf::Secure, &absent, &policy(Mode::Testing, "other.example")).decision;
    assert!(matches!(skipped, Decision::Skip(_)));
    let listed = verdict(&required, MxOf::Secure, &absent, &policy(Mode::Enforce, HOST));
    assert!(listed.with_tls(&Shown { pkix: Err(Untrusted::Expired), dane: None }).is_err());
    let both = verdict(&required, MxOf::Secure, &usable(), &policy(Mode::Enforce, HOST)).decision;
    assert_eq!(
        both,
        Decision::Send(Terms::Always(Check { dane: true, pkix: true })),
        "required is required beside DANE"
    );
}

#[test]
fn rows_39_and_42_what_is_disabled_decides_nothing() {
    let absent = (Dane::Absent(Absence::NotAsked(NotAsked::Disabled)), Standing::Unasked(Unasked::Disabled));
    for strategy in strategies() {
        for (_, dane) in &danes() {
            for (_, sts) in &standings() {
                let seen = verdict(&strategy, MxOf::Secure, dane, sts).decision;
                let dane = if strategy.dane == Requirement::Disable { &absent.0 } else { dane };
                let sts = if strategy.mta_sts == Requirement::Disable { &absent.1 } else { sts };
                assert_eq!(verdict(&strategy, MxOf::Secure, dane, sts).decision, seen);
            }
        }
    }
}

#[test]
fn rows_43_44_and_45_starttls_is_used_where_offered_required_or_left_out() {
    let absent = Dane::Absent(Absence::NoRecords);
    let of = |starttls| {
        verdict(
            &strategy(Requirement::Optional, Requirement::Optional, starttls, false),
            MxOf::Secure,
            &absent,
            &Standing::Absent,
        )
    };
    let offered = of(Requirement::Optional);
    assert!(offered.uses_tls() && offered.without_tls().is_ok());
    let required = of(Requirement::Require);
    assert!(required.uses_tls() && required.without_tls().unwrap_err().last_error == LastError::Tls);
    let disabled = of(Requirement::Disable);
    assert!(!disabled.uses_tls() && disabled.without_tls().is_ok());
}

#[test]
fn row_45_what_a_domain_publishes_outranks_starttls_switched_off() {
    let off = strategy(Requirement::Optional, Requirement::Optional, Requirement::Disable, true);
    let absent = Dane::Absent(Absence::NoRecords);
    for (dane, sts) in
        [(usable(), Standing::Absent), (unusable(), Standing::Absent), (absent, policy(Mode::Enforce, HOST))]
    {
        let verdict = verdict(&off, MxOf::Secure, &dane, &sts);
        assert!(verdict.uses_tls() && verdict.without_tls().is_err(), "{dane:?} {sts:?}");
    }
}

#[test]
fn rows_47_and_48_invalid_certificates_are_taken_where_that_is_allowed_and_no_policy_asks_for_more() {
    let absent = Dane::Absent(Absence::NoRecords);
    let wrong_name = Untrusted::WrongName { expected: vec![HOST.into()], presented: vec!["other.example".into()] };
    for untrusted in [Untrusted::NotTrusted("UnknownIssuer".into()), Untrusted::Expired, wrong_name] {
        let shown = Shown { pkix: Err(untrusted), dane: None };
        for starttls in [Requirement::Optional, Requirement::Require] {
            let of = |invalid, sts: &Standing| {
                let strategy = strategy(Requirement::Optional, Requirement::Optional, starttls, invalid);
                verdict(&strategy, MxOf::Secure, &absent, sts).with_tls(&shown)
            };
            assert_eq!(of(false, &Standing::Absent).unwrap_err().last_error, LastError::Tls);
            assert_eq!(of(true, &Standing::Absent), Ok(Assurance::Encrypted));
            assert!(of(true, &policy(Mode::Enforce, HOST)).is_err());
        }
    }
    let shown = Shown { pkix: Ok(HOST.into()), dane: None };
    assert!(
        verdict(&optional(), MxOf::Secure, &usable(), &Standing::Absent).with_tls(&shown).is_err(),
        "nothing was proven"
    );
}

#[test]
fn the_ladder_relaxes_nothing_that_a_policy_demands() {
    let relaxed = [
        strategy(Requirement::Optional, Requirement::Optional, Requirement::Optional, true),
        strategy(Requirement::Optional, Requirement::Optional, Requirement::Disable, false),
    ];
    let bound = [
        (usable(), Standing::Absent),
        (usable(), policy(Mode::Enforce, HOST)),
        (danes()[0].1.clone(), policy(Mode::Enforce, HOST)),
    ];
    for (dane, sts) in &bound {
        for (_, mx) in MX {
            let first = verdict(&optional(), mx, dane, sts).decision;
            for strategy in &relaxed {
                assert_eq!(verdict(strategy, mx, dane, sts).decision, first);
            }
        }
    }
}

#[test]
fn verified_is_who_is_the_host_and_vouched_to_be_one_of_the_domain() {
    let matched = Shown { pkix: Ok(HOST.into()), dane: Some(Ok(Matched { record: record(), name: None })) };
    let of =
        |strategy: &TlsStrategy, mx, dane: &Dane, sts: &Standing| verdict(strategy, mx, dane, sts).with_tls(&matched);
    let absent = &danes()[0].1;
    for mx in [MxOf::Secure, MxOf::None] {
        assert_eq!(of(&optional(), mx, &usable(), &Standing::Absent), Ok(Assurance::Verified));
        assert_eq!(of(&optional(), mx, absent, &Standing::Absent), Ok(Assurance::Trusted));
    }
    assert_eq!(of(&optional(), MxOf::Insecure, absent, &policy(Mode::Enforce, HOST)), Ok(Assurance::Verified));
    assert_eq!(of(&optional(), MxOf::Insecure, absent, &policy(Mode::Testing, HOST)), Ok(Assurance::Trusted));
    let off = strategy(Requirement::Disable, Requirement::Disable, Requirement::Optional, true);
    assert_eq!(of(&off, MxOf::Secure, &usable(), &policy(Mode::Enforce, HOST)), Ok(Assurance::Trusted));
    assert_eq!(verdict(&off, MxOf::Secure, absent, &Standing::Absent).without_tls(), Ok(Assurance::Clear));
}

#[test]
fn reasons_come_in_the_order_of_the_decision() {
    let verdict = verdict(&optional(), MxOf::Secure, &usable(), &policy(Mode::Enforce, HOST));
    let right = [
        "1 of the TLSA records of mx.example.org count: its certificate must match one",
        "the MTA-STS policy of example.org lists mx.example.org; DANE decides, and that is only reported",
        "TLS is mandatory",
        "the certificate must match a TLSA record",
    ];
    assert_eq!(verdict.reasons, right);
    let shown = Shown { pkix: Err(Untrusted::Expired), dane: Some(Ok(Matched { record: record(), name: None })) };
    assert_eq!(verdict.with_tls(&shown), Ok(Assurance::Verified));
}

#[test]
fn nothing_that_a_peer_has_said_ends_a_reply() {
    let verdict = verdict(&optional(), MxOf::Secure, &usable(), &Standing::Absent);
    let refusal = verdict.broken("bad\r\n250 ok \u{202e}");
    assert_eq!(refusal.text, "mx.example.org: bad??250 ok ?");
    assert!(verdict.broken(&"x".repeat(5000)).to_string().len() < 500);
}
