//! Mailbox names with wildcards (RFC 3501 §6.3.8): `*` is anything, `%` anything within a level.

use crate::embedded::folders::DELIMITER;

/// Whether `name` fits `pattern`. Takes time in proportion to the product of their lengths, whatever they hold.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    // `fits[i]`: the pattern so far fits the first `i` characters.
    let mut fits = vec![false; name.len() + 1];
    fits[0] = true;
    for wanted in pattern.chars() {
        let mut before = fits[0];
        fits[0] = fits[0] && matches!(wanted, '*' | '%');
        for (at, &found) in name.iter().enumerate() {
            let longer = fits[at];
            let here = fits[at + 1];
            fits[at + 1] = match wanted {
                '*' => here || longer,
                '%' => here || longer && found != DELIMITER,
                _ => before && wanted == found,
            };
            before = here;
        }
    }
    fits[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_stays_within_a_level() {
        assert!(matches("*", "a/b/c"));
        assert!(matches("%", "a"));
        assert!(!matches("%", "a/b"));
        assert!(matches("%/%", "a/b"));
        assert!(matches("a*c", "a/b/c"));
        assert!(matches("INBOX", "INBOX"));
        assert!(!matches("INBOX", "INBOX/x"));
        assert!(!matches("", "a"));
        assert!(matches("", ""));
        assert!(matches("%b", "ab") && !matches("%b", "a/b"));
    }

    #[test]
    fn many_wildcards_take_no_longer() {
        assert!(!matches(&"*a".repeat(100), &"b".repeat(200)));
    }
}
