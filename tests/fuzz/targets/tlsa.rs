//! TLSA records, each as usage, selector, matching type, length and data: no panic, and what an answer comes to follows from
//! whether one of its records can be used.
#![no_main]

use std::time::Duration;

use mailward::policy::{
    answer::{Answer, Existence, Security},
    dane::{Absence, Asked, Dane, Data, Record, Tlsa, strongest},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let records = records(data);
    let usable: Vec<_> = records.iter().filter_map(|record| record.usable().ok()).collect();
    match state(records.clone(), Security::Secure) {
        Dane::Absent(Absence::NoRecords) => assert!(records.is_empty()),
        Dane::Unusable { found, .. } => assert!(usable.is_empty() && found.len() == records.len()),
        Dane::Usable(found) => {
            assert!(!found.used.is_empty() && found.used.iter().all(|record| usable.contains(record)));
            assert_eq!(strongest(found.used.clone()), found.used);
            let whole = |record: &&Record| matches!(record.data, Data::Full(_));
            assert_eq!(found.used.iter().filter(whole).count(), usable.iter().filter(whole).count());
            assert_eq!(found.published, records);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(state(records, Security::Insecure), Dane::Absent(Absence::Insecure));
});

fn state(records: Vec<Tlsa>, security: Security) -> Dane {
    let (existence, ttl) = (Existence::Records, Duration::ZERO);
    Dane::of(Asked::Answered {
        base: "mx.example".into(),
        answer: Answer { records, existence, security, aliases: Vec::new(), ttl },
    })
}

fn records(mut data: &[u8]) -> Vec<Tlsa> {
    let mut records = Vec::new();
    while let [usage, selector, matching, length, rest @ ..] = data {
        let (found, behind) = rest.split_at(rest.len().min(usize::from(*length)));
        records.push(Tlsa { usage: *usage, selector: *selector, matching: *matching, data: found.to_vec() });
        data = behind;
    }
    records
}
