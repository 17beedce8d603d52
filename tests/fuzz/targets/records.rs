//! What a TLS client sends behind its handshake, whatever it is and however it is split: mailward's records take it as rustls does.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailward::tls::play(data));
