//! The beginning of a ClientHello: whatever it is, it has one of the names of a version, or none.
#![no_main]

use mailward::tls::offered_version;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let known = ["", "SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
    assert!(known.contains(&offered_version(data)));
    // Most inputs that begin otherwise are none.
    let framed = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", data].concat();
    assert!(known.contains(&offered_version(&framed)));
});
