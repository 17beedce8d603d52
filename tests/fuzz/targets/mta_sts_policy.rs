//! A policy file: no panic, nothing in a policy that the RFC does not let in, and its lines are what was read.
#![no_main]

use mailward::policy::mta_sts::{LONGEST_AGE, Mode, Policy};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    take(data);
    // Most inputs lack a key.
    take(&[b"version: STSv1\nmode: enforce\nmx: *.example\nmax_age: 1\n", data].concat());
});

fn take(data: &[u8]) {
    let Ok(policy) = Policy::parse(data) else { return };
    assert!(policy.max_age <= LONGEST_AGE);
    assert!(policy.mode == Mode::None || !policy.mx.is_empty());
    for pattern in &policy.mx {
        let host = pattern.replacen('*', "host", 1);
        assert!(policy.lists(&host) && policy.lists(&host.to_ascii_uppercase()));
        assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)));
    }
    assert!(policy.lines.iter().all(|line| !line.contains(['\r', '\n', '\0'])));
    assert_eq!(Policy::parse(policy.lines.join("\r\n").as_bytes()).as_ref(), Ok(&policy));
}
