//! Whose login it is: no panic, and no name without bound, whatever the exchange.
#![no_main]

use mailward::proto::{Leg, sasl};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mechanism = lines.next().unwrap_or_default();
    let responses: Vec<Vec<u8>> = lines.map(<[u8]>::to_vec).collect();
    let user = sasl::user(mechanism, &responses);
    assert!(user.is_none_or(|user| !user.is_empty() && user.len() <= 256));
    for leg in [Leg::Plaintext, Leg::Tls, Leg::Certified] {
        assert!(sasl::passing(mechanism, leg).all(|mechanism| sasl::passes(mechanism, leg)));
    }
});
