//! Any client against a well-behaved backend: what must not reach it does not, and the two stay in step.
#![no_main]

use mailward::strict_smtp::play_client;

libfuzzer_sys::fuzz_target!(|data: &[u8]| play_client(data));
