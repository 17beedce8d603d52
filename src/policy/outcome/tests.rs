//! One event after the other, and what a report will say of it (RFC 8460 §4.3).

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::policy::{
    answer::{Ede, LookupError},
    dane::{Absence, Data, MxOf, NextHop, Record, Selector, Tlsa, Unusable, Usage},
    evidence::Matched,
    mta_sts::Invalid,
    verdict::decide,
};

const HOST: &str = "mx.example.org";
const NEXT_HOP: NextHop<'_> = NextHop { name: "example.org", expanded: None, mx: MxOf::Secure };

fn strategy() -> TlsStrategy {
    TlsStrategy {
        id: "default".into(),
        dane: Requirement::Optional,
        mta_sts: Requirement::Optional,
        starttls: Requirement::Optional,
        allow_invalid_certs: false,
        tls_timeout: Duration::from_secs(30),
        mta_sts_timeout: Duration::from_secs(20),
    }
}

fn record() -> Record {
    Record { usage: Usage::Leaf, selector: Selector::Key, data: Data::Sha256([7; 32]) }
}

fn absent() -> Dane {
    Dane::Absent(Absence::NoRecords)
}

fn usable() -> Dane {
    let published = vec![Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] }];
    Dane::Usable(Records { base: "base.example".into(), published, used: vec![record()] })
}

fn policy(mode: Mode, mx: &str, fault: Option<Fault>) -> Standing {
    let lines = vec!["version: STSv1".to_owned(), format!("mode: {mode}")];
    Standing::Policy {
        policy: Policy { mode, mx: vec![mx.into()], max_age: Duration::from_secs(86_400), lines },
        fault,
    }
}

fn outcome(strategy: &TlsStrategy, dane: &Dane, sts: &Standing, event: Event<'_>) -> Outcome {
    let facts = Facts { next_hop: NEXT_HOP, host: HOST, dane, sts };
    Outcome::new(strategy, &facts, &decide(strategy, &facts), Session::default(), event)
}

/// `TYPE DOMAIN: RESULT (REASON), …`, a line for each policy.
fn told(outcome: &Outcome) -> Vec<String> {
    let name = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    let one = |judged: &Judged| {
        let policy = &judged.policy;
        let failures = judged.failures.iter().map(|failure| {
            let kind = name(serde_json::to_value(failure.result_type).unwrap());
            failure.failure_reason_code.as_ref().map_or(kind.clone(), |reason| format!("{kind} ({reason})"))
        });
        let kind = name(serde_json::to_value(policy.policy_type).unwrap());
        format!("{kind} {}: {}", policy.policy_domain, failures.collect::<Vec<_>>().join(", "))
    };
    outcome.policies.iter().map(one).collect()
}

fn shown(pkix: Result<String, Untrusted>, dane: Option<Result<Matched, Mismatch>>) -> Shown {
    Shown { pkix, dane }
}

fn valid() -> Result<String, Untrusted> {
    Ok(HOST.into())
}

#[test]
fn success_is_what_the_policy_wants_and_nothing_else() {
    let matched = shown(Err(Untrusted::Expired), Some(Ok(Matched { record: record(), name: None })));
    let told_of = |dane: &Dane, sts: &Standing, event| told(&outcome(&strategy(), dane, sts, event));
    assert_eq!(told_of(&usable(), &Standing::Absent, Event::Done(&matched)), ["tlsa base.example: "]);
    let good = shown(valid(), None);
    let enforce = policy(Mode::Enforce, HOST, None);
    assert_eq!(told_of(&absent(), &enforce, Event::Done(&good)), ["sts example.org: "]);
    assert_eq!(told_of(&absent(), &Standing::Absent, Event::Done(&good)), ["no-policy-found example.org: "]);
    // DANE decides, and MTA-STS is told of beside.
    let both = told_of(&usable(), &enforce, Event::Done(&matched));
    assert_eq!(both, ["tlsa base.example: ", "sts example.org: certificate-expired"]);
}

#[test]
fn starttls_that_is_not_there_is_a_failure_of_all_that_apply() {
    let event = Event::NotOffered(Some("454 4.7.0 not now"));
    let reason = "starttls-not-supported (454 4.7.0 not now)";
    let both = told(&outcome(&strategy(), &usable(), &policy(Mode::Testing, HOST, None), event));
    assert_eq!(both, [format!("tlsa base.example: {reason}"), format!("sts example.org: {reason}")]);
    let none = told(&outcome(&strategy(), &absent(), &Standing::Absent, Event::NotOffered(None)));
    assert_eq!(none, ["no-policy-found example.org: starttls-not-supported"]);
}

#[test]
fn row_71_certificates_fail_by_their_dates_their_names_or_their_issuer() {
    let wrong = Untrusted::WrongName { expected: vec![HOST.into()], presented: vec!["other.example".into()] };
    let cases = [
        (Untrusted::Expired, "certificate-expired"),
        (Untrusted::NotYetValid, "certificate-expired (not-yet-valid)"),
        (wrong.clone(), &*format!("certificate-host-mismatch ({wrong})")),
        (Untrusted::NotTrusted("UnknownIssuer".into()), "certificate-not-trusted (UnknownIssuer)"),
    ];
    for (untrusted, right) in cases {
        let event = shown(Err(untrusted.clone()), None);
        let sts = told(&outcome(&strategy(), &absent(), &policy(Mode::Enforce, HOST, None), Event::Done(&event)));
        assert_eq!(sts, [format!("sts example.org: {right}")]);
        let none = told(&outcome(&strategy(), &absent(), &Standing::Absent, Event::Done(&event)));
        assert_eq!(none, [format!("no-policy-found example.org: {right}")]);
        let lenient = TlsStrategy { allow_invalid_certs: true, ..strategy() };
        let none = told(&outcome(&lenient, &absent(), &Standing::Absent, Event::Done(&event)));
        assert_eq!(none, ["no-policy-found example.org: "], "nobody asked for a valid one");
        let anchor = shown(valid(), Some(Err(Mismatch::Untrusted(untrusted))));
        let tlsa = told(&outcome(&strategy(), &usable(), &Standing::Absent, Event::Done(&anchor)));
        assert_eq!(tlsa, [format!("tlsa base.example: {right}")]);
    }
}

#[test]
fn dane_fails_by_its_records_their_lookup_or_their_absence() {
    let mismatch = shown(valid(), Some(Err(Mismatch::NoMatch)));
    let of = |strategy: &TlsStrategy, dane: &Dane, event| told(&outcome(strategy, dane, &Standing::Absent, event));
    let no_match = of(&strategy(), &usable(), Event::Done(&mismatch));
    assert_eq!(no_match, ["tlsa base.example: validation-failure (dane-no-match)"]);
    let found = vec![(Tlsa { usage: 1, selector: 1, matching: 1, data: vec![7; 32] }, Unusable::Usage(1))];
    let unusable = Dane::Unusable { base: "base.example".into(), found };
    let good = shown(valid(), None);
    assert_eq!(of(&strategy(), &unusable, Event::Done(&good)), ["tlsa base.example: tlsa-invalid (all-unusable)"]);
    let error = LookupError::Bogus { ede: Some(Ede { code: 6, text: String::new() }) };
    let failed = Dane::Failed { base: "base.example".into(), error };
    let bogus = of(&strategy(), &failed, Event::Refused);
    assert_eq!(bogus, ["tlsa base.example: dnssec-invalid (DNSSEC validation failed (EDE 6))"]);
    let required = TlsStrategy { dane: Requirement::Require, ..strategy() };
    assert_eq!(of(&required, &absent(), Event::Refused), [format!("tlsa {HOST}: dane-required")]);
}

#[test]
fn mta_sts_fails_by_its_host_its_text_or_its_list() {
    let good = shown(valid(), None);
    let faults = [
        (Fault::Status(404), "sts-policy-fetch-error"),
        (Fault::Late(Duration::from_secs(60)), "sts-policy-fetch-error"),
        (Fault::Unreachable("refused".into()), "sts-policy-fetch-error"),
        (Fault::MediaType("text/html".into()), "sts-policy-fetch-error"),
        (Fault::TooLarge(65_536), "sts-policy-fetch-error"),
        (Fault::Recently("404".into()), "sts-policy-fetch-error"),
        (Fault::Certificate(Untrusted::Expired), "sts-webpki-invalid"),
        (Fault::Invalid(Invalid::Missing("mode")), "sts-policy-invalid"),
    ];
    for (fault, kind) in faults {
        let unavailable = Standing::Unavailable(fault.clone());
        let right = [format!("sts example.org: {kind} ({fault})")];
        assert_eq!(told(&outcome(&strategy(), &absent(), &unavailable, Event::Done(&good))), right);
        let held = policy(Mode::Enforce, HOST, Some(fault));
        assert_eq!(told(&outcome(&strategy(), &absent(), &held, Event::Done(&good))), right);
    }
    let held = policy(Mode::Enforce, HOST, Some(Fault::Record(LookupError::Timeout)));
    assert!(told(&outcome(&strategy(), &absent(), &held, Event::Done(&good)))[0].contains("sts-policy-fetch-error"));
    let unknown = Standing::Unavailable(Fault::Record(LookupError::Timeout));
    assert_eq!(told(&outcome(&strategy(), &absent(), &unknown, Event::Done(&good))), ["no-policy-found example.org: "]);
    let unlisted = "sts example.org: validation-failure (mx-mismatch)";
    let enforce = policy(Mode::Enforce, "other.example", None);
    assert_eq!(told(&outcome(&strategy(), &absent(), &enforce, Event::Refused)), [unlisted]);
}

#[test]
fn m12_a_policy_under_test_reports_what_it_does_not_prevent() {
    let good = shown(valid(), None);
    let of = |mode, event| told(&outcome(&strategy(), &absent(), &policy(mode, "other.example", None), event));
    assert_eq!(of(Mode::Testing, Event::Done(&good)), ["sts example.org: validation-failure (mx-mismatch)"]);
    let both = "sts example.org: validation-failure (mx-mismatch), starttls-not-supported";
    assert_eq!(of(Mode::Testing, Event::NotOffered(None)), [both]);
    assert_eq!(of(Mode::None, Event::Done(&good)), ["no-policy-found example.org: "]);
}

#[test]
fn a_handshake_that_breaks_off_is_a_validation_failure_also_right_behind_its_end() {
    let broken = outcome(&strategy(), &absent(), &Standing::Absent, Event::Broken("handshake_failure"));
    assert_eq!(told(&broken), ["no-policy-found example.org: validation-failure (handshake_failure)"]);
    let good = shown(valid(), None);
    let mut late = outcome(&strategy(), &absent(), &policy(Mode::Enforce, HOST, None), Event::Done(&good));
    late.broke_after_the_handshake("certificate_required");
    assert_eq!(told(&late), ["sts example.org: validation-failure (certificate_required)"]);
    late.broke_after_the_handshake("eof");
    assert_eq!(late.policies[0].failures.len(), 1, "a failure is not counted twice");
}

#[test]
fn nothing_is_told_of_what_nobody_asked_for_or_tried() {
    let off = TlsStrategy { starttls: Requirement::Disable, ..strategy() };
    for sts in [Standing::Absent, policy(Mode::Testing, HOST, None), Standing::Unavailable(Fault::Status(404))] {
        assert_eq!(outcome(&off, &absent(), &sts, Event::NotOffered(None)).policies, []);
    }
    let required = TlsStrategy { mta_sts: Requirement::Require, ..strategy() };
    assert_eq!(outcome(&required, &absent(), &Standing::Absent, Event::Refused).policies, []);
    // The records could not be looked up: the session that there was not says nothing of the policy.
    let failed = Dane::Failed { base: "base.example".into(), error: LookupError::Timeout };
    let policies = outcome(&strategy(), &failed, &policy(Mode::Enforce, HOST, None), Event::Refused).policies;
    assert_eq!(policies.len(), 1);
    assert_eq!(policies[0].policy.policy_type, PolicyType::Tlsa);
}

#[test]
fn the_fields_have_the_names_of_the_rfc() {
    let session = Session {
        sending_mta_ip: Some("192.0.2.1".parse().unwrap()),
        receiving_mx_hostname: Some(HOST.into()),
        ..Session::default()
    };
    let (dane, sts) = (usable(), policy(Mode::Enforce, "*.example.org", None));
    let facts = Facts { next_hop: NEXT_HOP, host: HOST, dane: &dane, sts: &sts };
    let verdict = decide(&strategy(), &facts);
    let outcome = Outcome::new(&strategy(), &facts, &verdict, session, Event::NotOffered(None));
    let failures = json!([{"result-type": "starttls-not-supported"}]);
    let right = json!({
        "sending-mta-ip": "192.0.2.1",
        "receiving-mx-hostname": "mx.example.org",
        "policies": [
            {
                "policy": {
                    "policy-type": "tlsa",
                    "policy-string": [format!("3 1 1 {}", "07".repeat(32))],
                    "policy-domain": "base.example",
                },
                "failures": failures,
            },
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": ["version: STSv1", "mode: enforce"],
                    "policy-domain": "example.org",
                    "mx-host": ["*.example.org"],
                },
                "failures": failures,
            },
        ],
    });
    assert_eq!(serde_json::to_value(&outcome).unwrap(), right);
    assert_eq!(serde_json::from_value::<Outcome>(right).unwrap(), outcome);
}
