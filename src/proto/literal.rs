//! The announcement of a literal at the end of a line, in IMAP (RFC 9051 §4.3, RFC 7888, RFC 3516) and in ManageSieve
//! (RFC 5804 §4), which has no binary ones.

/// The longest announcement, in bytes: `~{`, 20 digits, `+}`, and room to spare. Only so much of a line's end is
/// looked at, so that the end of a line that was read in pieces says the same as a whole one.
pub(super) const LONGEST: usize = 32;

/// `{n}`, `{n+}`, `~{n}` or `~{n+}` at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    /// How long it is itself, in bytes.
    pub(super) length: usize,
    /// How many bytes are announced; `None`: more than can be counted.
    pub(super) size: Option<usize>,
    /// `{n+}`: the bytes come without waiting for a `+`.
    pub(super) plus: bool,
    /// `~{n}`: the bytes may hold NUL.
    pub(super) binary: bool,
}

/// The literal that the line announces.
pub(super) fn announced(text: &[u8]) -> Option<Announcement> {
    let tail = &text[text.len().saturating_sub(LONGEST)..];
    let inner = tail.strip_suffix(b"}")?;
    let (inner, plus) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, true),
        None => (inner, false),
    };
    let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = inner.split_at(inner.len() - digits);
    let before = before.strip_suffix(b"{")?;
    let (before, binary) = match before.strip_suffix(b"~") {
        Some(before) => (before, true),
        None => (before, false),
    };
    (!digits.is_empty()).then(|| Announcement { length: tail.len() - before.len(), size: number(digits), plus, binary })
}

fn number(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0_usize, |sum, digit| sum.checked_mul(10)?.checked_add(usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8]) -> Option<(usize, Option<usize>, bool, bool)> {
        announced(text).map(|found| (found.length, found.size, found.plus, found.binary))
    }

    #[test]
    fn all_four_forms_are_known() {
        assert_eq!(found(b"a LOGIN {3}"), Some((3, Some(3), false, false)));
        assert_eq!(found(b"a LOGIN {310+}"), Some((6, Some(310), true, false)));
        assert_eq!(found(b"~{0}"), Some((4, Some(0), false, true)));
        assert_eq!(found(b"x ~{12+}"), Some((6, Some(12), true, true)));
    }

    #[test]
    fn what_only_looks_alike_is_none() {
        for text in [&b""[..], b"}", b"{}", b"{+}", b"{3", b"{3} ", b"{-3}", b"{3a}", b"{3++}", b"3}", b"{ 3}"] {
            assert_eq!(found(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_number_that_cannot_be_counted_is_not_wrapped_around() {
        assert_eq!(found(b"{99999999999999999999}"), Some((22, None, false, false)));
        assert_eq!(found(b"{18446744073709551616+}"), Some((23, None, true, false)));
        assert_eq!(found(b"{00000000000000000005}"), Some((22, Some(5), false, false)));
        assert_eq!(found(&[b"{".as_slice(), &[b'0'; LONGEST], b"5}"].concat()), None);
    }
}
