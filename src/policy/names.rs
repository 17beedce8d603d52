//! Names of hosts against names with a wildcard: those of a certificate, and those of an MTA-STS policy.
//!
//! Promises that `*` stands for exactly one whole label, the left-most (RFC 7672 §3.2.3, RFC 8461 §4.1), and that `*` anywhere
//! else stands for nothing.

/// Whether `pattern` is `name`, or stands for it. Neither has a trailing dot; case does not count.
#[must_use]
pub fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && !parent.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => !pattern.contains('*') && pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d18_a_wildcard_is_one_whole_label() {
        assert!(covers("*.example", "mx.example"));
        assert!(covers("*.Example.org", "MX1.example.ORG"));
        assert!(!covers("mx*.example", "mx1.example"));
        assert!(!covers("*mx.example", "1mx.example"));
        assert!(!covers("mx.*.example", "mx.a.example"));
        assert!(!covers("*", "example"));
    }

    #[test]
    fn m9_a_pattern_covers_neither_the_apex_nor_two_labels() {
        assert!(covers("*.example.com", "a.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*.example.com", "a.b.example.com"));
        assert!(!covers("*.example.com", ".example.com"));
        assert!(!covers("*.", "a."));
        assert!(covers("mx.example.com", "MX.EXAMPLE.COM"));
        assert!(!covers("mx.example.com", "mx.example.org"));
    }
}
