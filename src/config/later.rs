//! The settings of the documentation that this version knows by name and cannot act on: refused, never ignored.
//!
//! A line leaves this table in the commit that brings what it names.

/// A key (`*` stands for an id, or for any key of a table), and what it is about.
const LATER: [(&str, &str); 3] = [
    ("report", "send or take TLS reports"),
    ("session", "follow session rules"),
    ("backend.*.tls.strategy", "follow a TLS strategy"),
];

/// What this version cannot do yet, where it knows the key with this dotted name.
pub(super) fn key(path: &str) -> Option<&'static str> {
    LATER.iter().find(|(pattern, _)| matches(pattern, path)).map(|(_, what)| *what)
}

/// What this version cannot do yet, where it knows the key with this value: "none" asks for nothing.
pub(super) fn value(path: &str, value: &str) -> Option<&'static str> {
    (value != "none").then(|| key(path)).flatten()
}

/// What to do about it.
pub(super) const LEAVE_OUT: &str = "take it out";

/// Says so.
pub(super) fn not_yet(what: &str) -> String {
    format!("this version cannot {what} yet")
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut names = path.split('.');
    let fits = pattern.split('.').all(|part| names.next().is_some_and(|name| part == "*" || part == name));
    fits && names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_exactly_one_name() {
        assert!(key("backend.old.tls.strategy").is_some());
        assert!(key("backend.tls.strategy").is_none());
        assert!(key("backend.a.b.tls.strategy").is_none());
        assert!(key("report").is_some());
    }

    #[test]
    fn a_value_is_refused_with_its_key_unless_it_asks_for_nothing() {
        assert!(value("backend.old.tls.strategy", "strict").is_some());
        assert!(value("backend.old.tls.strategy", "none").is_none());
        assert!(value("backend.old.tls.mode", "starttls").is_none());
    }
}
