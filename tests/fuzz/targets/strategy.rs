//! The conditions of strategies, one in each line: any text gives a condition or a fault within it; what is decided early
//! stays decided; and no rule that counts is called hidden.
#![no_main]

use mailward::policy::strategy::{Condition, Facts, LastError, Names, Source, condition, id, unreachable};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let names = Names { listeners: list(&["egress"]), strategies: list(&["default", "invalid-tls"]) };
    let mut conditions: Vec<Condition> = Vec::new();
    for line in text.lines() {
        match condition(line, &names) {
            Ok(condition) => conditions.push(condition),
            Err(fault) => assert!(line.is_char_boundary(fault.at)),
        }
        if let Err(fault) = id(line, &names) {
            assert!(line.is_char_boundary(fault.at));
        }
    }
    let hidden = unreachable(&conditions.iter().collect::<Vec<_>>());
    for facts in all_facts() {
        let early = Facts { mx: None, mx_last_error: None, remote_ip: None, local_ip: None, ..facts.clone() };
        for condition in &conditions {
            let (early, late) = (condition.holds(&early), condition.holds(&facts));
            assert!(late.is_some() && (early.is_none() || early == late), "{condition}");
        }
        let first = conditions.iter().position(|condition| condition.holds(&facts) == Some(true));
        let first = first.unwrap_or(conditions.len());
        assert!(hidden.iter().all(|rule| rule.rule != first));
    }
});

fn all_facts() -> impl Iterator<Item = Facts<'static>> {
    let numbers = [0, 1, 2, 7];
    let names = ["a.example", "mx1.b.example", "xn--bcher-kva.example"];
    let errors = [LastError::None, LastError::Tls, LastError::MtaSts];
    let with = move |retry_num, name, last_error| Facts {
        listener: "egress",
        source: Source::Unauthenticated,
        sender: "",
        sender_domain: "",
        rcpt: "John@b.example",
        rcpt_domain: "b.example",
        retry_num,
        last_error,
        domain_failures: 3,
        domain_last_error: LastError::Io,
        mx: Some(name),
        mx_last_error: Some(LastError::Dane),
        remote_ip: Some([192, 0, 2, 1].into()),
        local_ip: Some([127, 0, 0, 1].into()),
    };
    numbers.into_iter().flat_map(move |number| {
        names.into_iter().flat_map(move |name| errors.into_iter().map(move |error| with(number, name, error)))
    })
}
