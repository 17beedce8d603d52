//! Any sender: no panic, nothing held without bound, nothing that depends on how the bytes were cut, and each message
//! that gets through reaches the next server as one.
#![no_main]

use mailward::outbound_play::play_egress;

libfuzzer_sys::fuzz_target!(|data: &[u8]| play_egress(data));
