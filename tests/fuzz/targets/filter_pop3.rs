//! Between client and backend: no panic, nothing held without bound, nothing that depends on how the bytes were cut.
#![no_main]

use mailward::{play::play_filter, proto::Protocol};

libfuzzer_sys::fuzz_target!(|data: &[u8]| play_filter(&[Protocol::Pop3], data));
