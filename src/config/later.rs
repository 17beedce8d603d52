//! The tables of the documentation that this version knows by name and cannot act on: refused, never ignored.
//!
//! A line leaves this list in the commit that brings what it names.

/// A table, and what it is about.
const LATER: [(&str, &str); 2] = [("report", "send or take TLS reports"), ("session", "follow session rules")];

/// What this version cannot do yet, where it knows the table of this name.
pub(super) fn key(path: &str) -> Option<&'static str> {
    LATER.iter().find(|(name, _)| *name == path).map(|(_, what)| *what)
}

/// What to do about it.
pub(super) const LEAVE_OUT: &str = "take it out";

/// Says so.
pub(super) fn not_yet(what: &str) -> String {
    format!("this version cannot {what} yet")
}
