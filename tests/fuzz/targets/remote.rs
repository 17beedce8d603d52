//! Any server of a recipient: no panic, nothing that depends on how the bytes were cut, and whole commands of ours alone.
#![no_main]

use mailward::outbound_play::play_remote;

libfuzzer_sys::fuzz_target!(|data: &[u8]| play_remote(data));
