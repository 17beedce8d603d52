//! SASL (RFC 4422) as far as a gateway needs it: which mechanisms can pass, and who logged in.

/// Whether a mechanism may be shown to a client: not those that bind to the TLS channel (`-PLUS`), which
/// ends here, and not EXTERNAL, since no client certificate is passed on.
#[must_use]
pub fn passes(mechanism: &[u8]) -> bool {
    let plus = mechanism.len() >= 5 && mechanism[mechanism.len() - 5..].eq_ignore_ascii_case(b"-PLUS");
    !plus && !mechanism.eq_ignore_ascii_case(b"EXTERNAL")
}
