//! TXT records, one in each line: no panic, and an id is one, of the one record that begins as it must.
#![no_main]

use std::time::Duration;

use mailward::policy::{
    answer::{Answer, Existence, Security},
    mta_sts::{Published, published},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    take(data);
    // Most inputs are discarded.
    take(&[b"v=STSv1; id=a; ", data].concat());
});

fn take(data: &[u8]) {
    let records: Vec<_> = data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let ours: Vec<_> = records.iter().filter(|record| record.starts_with(b"v=STSv1;")).cloned().collect();
    match found(records) {
        Published::Id(id) => {
            assert!(ours.len() == 1 && (1..=32).contains(&id.len()));
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert_eq!(found(vec![format!("v=STSv1; id={id};").into_bytes()]), Published::Id(id));
        }
        Published::Nothing => {}
        Published::Unknown(error) => panic!("{error}"),
    }
}

fn found(records: Vec<Vec<u8>>) -> Published {
    let (existence, security) = (Existence::Records, Security::Insecure);
    published(&Ok(Answer { records, existence, security, aliases: Vec::new(), ttl: Duration::ZERO }))
}
