//! The keywords of one account (RFC 3501 §2.3.2): names that clients give to flags of their own.

use super::flags::Flags;

const NAME_LIMIT: usize = 64;

/// Keywords by their number. Their case does not matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Keywords(Vec<String>);

impl Keywords {
    /// The names in the order of their numbers.
    pub(super) fn names(&self) -> &[String] {
        &self.0
    }

    /// The flag of a keyword, made if need be; `None`: no room.
    pub(super) fn add(&mut self, name: &str) -> Option<Flags> {
        if let Some(known) = self.find(name) {
            return Some(known);
        }
        let new = Flags::keyword(self.0.len()).filter(|_| name.len() <= NAME_LIMIT)?;
        self.0.push(name.to_owned());
        Some(new)
    }

    /// The flag of a keyword that is in use.
    pub(super) fn find(&self, name: &str) -> Option<Flags> {
        self.0.iter().position(|known| known.eq_ignore_ascii_case(name)).and_then(Flags::keyword)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_found_whatever_their_case_and_bounded() {
        let mut keywords = Keywords::default();
        let junk = keywords.add("$Junk").unwrap();
        assert_eq!(keywords.add("$junk"), Some(junk));
        assert_eq!(keywords.find("$other"), None);
        assert_eq!(keywords.add(&"x".repeat(65)), None);
        let more = (0..100).filter(|number| keywords.add(&format!("k{number}")).is_some()).count();
        assert_eq!(more, Flags::KEYWORDS - 1);
    }
}
