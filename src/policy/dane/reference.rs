//! The names of which a certificate under usage 2 must have one (RFC 7672 §3.2.2).
//!
//! Promises that no name counts that an attacker could have put in: behind MX records that nobody vouches for, the host's
//! alone.

/// What mail was to be sent to, before its MX records were looked up: the recipient's domain, or a relay's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop<'a> {
    /// As it was asked for.
    pub name: &'a str,
    /// At the end of its aliases, each of which DNSSEC vouches for.
    pub expanded: Option<&'a str>,
    /// What led from it to the host.
    pub mx: MxOf,
}

/// What led to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MxOf {
    /// An MX record that DNSSEC vouches for.
    Secure,
    /// An MX record that anybody may have written.
    Insecure,
    /// No MX record, for which DNSSEC vouches: the host is the destination itself.
    None,
}

/// The reference identifiers for a host with its TLSA records at `base`, the most telling first.
#[must_use]
pub fn reference_names(base: &str, next_hop: NextHop<'_>) -> Vec<String> {
    let further = match next_hop.mx {
        MxOf::Insecure => [None, None],
        MxOf::Secure | MxOf::None => [Some(next_hop.name), next_hop.expanded],
    };
    let mut names = vec![base.to_owned()];
    for name in further.into_iter().flatten() {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d17_names_of_the_domain_count_where_its_mx_records_are_vouched_for() {
        let names = |mx, expanded| reference_names("mx.host", NextHop { name: "example.org", expanded, mx });
        assert_eq!(names(MxOf::Secure, None), ["mx.host", "example.org"]);
        assert_eq!(names(MxOf::Secure, Some("real.example")), ["mx.host", "example.org", "real.example"]);
        assert_eq!(names(MxOf::Insecure, None), ["mx.host"]);
        assert_eq!(names(MxOf::Insecure, Some("real.example")), ["mx.host"]);
    }

    #[test]
    fn d17_without_mx_records_the_name_asked_for_counts_beside_the_base_domain() {
        let names = |base| reference_names(base, NextHop { name: "example.org", expanded: None, mx: MxOf::None });
        assert_eq!(names("real.example"), ["real.example", "example.org"]);
        assert_eq!(names("example.org"), ["example.org"]);
    }
}
