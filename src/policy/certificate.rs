//! Why a certificate is not trusted, in the few words that a report knows (RFC 8460 §4.3).

use serde::{Deserialize, Serialize};

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Untrusted {
    /// It, or one it comes from, is past its end.
    #[error("the certificate has expired")]
    Expired,
    /// It, or one it comes from, is before its beginning.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// It is another's.
    #[error("the certificate is for {}, and not for {}", listed(presented), listed(expected))]
    WrongName {
        /// The names of which it should have had one.
        expected: Vec<String>,
        /// Those that it has, as the peer wrote them.
        presented: Vec<String>,
    },
    /// It comes from nobody who is trusted, or may not be used for this.
    #[error("the certificate is not trusted: {0}")]
    NotTrusted(String),
}

/// A certificate may have hundreds; some tell enough.
const SHOWN: usize = 8;

/// Nothing in it can end a line or look like something else.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "no name at all".to_owned();
    }
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let printable = |name: &String| name.replace(|char: char| !char.is_ascii_graphic(), "?");
    names.iter().take(SHOWN).map(printable).collect::<Vec<_>>().join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_71_the_names_of_a_wrong_certificate_are_told_and_forge_no_line() {
        let presented = vec!["a.example".to_owned(), "b\r\n250 ok".to_owned()];
        let wrong = Untrusted::WrongName { expected: vec!["mx.example".to_owned()], presented };
        assert_eq!(wrong.to_string(), "the certificate is for a.example, b??250?ok, and not for mx.example");
        let many = (0..100).map(|at| format!("n{at}.example")).collect();
        let wrong = Untrusted::WrongName { expected: Vec::new(), presented: many };
        assert!(wrong.to_string().len() < 200, "{wrong}");
    }
}
