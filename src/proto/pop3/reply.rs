//! The backend's side of POP3: where a reply ends, and what it says.
//!
//! Promises that a reply is looked at as a whole: one line, or a list with its final dot (RFC 1939 §3). Refuses
//! what is neither, and what is longer than [`LONGEST_REPLY`].

use crate::proto::line::{self, Line};
use crate::proto::{LONGEST_REPLY, Leg, Violation, sasl};

/// A whole reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    pub(super) status: Status,
    /// The first line, without its end.
    pub(super) text: &'a [u8],
    /// The lines behind the first one, as they are, without the final dot.
    pub(super) list: Option<&'a [u8]>,
    /// How many bytes of the input the reply takes up.
    pub(super) length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// `+OK`.
    Positive,
    /// `-ERR`.
    Negative,
    /// `+`, and the rest of the line is a challenge (RFC 5034 §4).
    Challenge,
}

/// The first reply in `input`, `None` while it is incomplete. `lists`: more lines follow if it is positive.
pub(super) fn first(input: &[u8], lists: bool) -> Result<Option<Reply<'_>>, Violation> {
    let Some((text, length)) = first_line(input)? else { return Ok(None) };
    let status = status(text).ok_or(Violation::Backend)?;
    if !lists || status != Status::Positive {
        return Ok(Some(Reply { status, text, list: None, length }));
    }
    let Some((list, more)) = first_list(&input[length..])? else {
        return if input.len() > LONGEST_REPLY { Err(Violation::Backend) } else { Ok(None) };
    };
    Ok(Some(Reply { status, text, list: Some(list), length: length + more }))
}

/// The lines of a list.
pub(super) fn lines(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split_inclusive(|byte| *byte == b'\n').map(line::without_end)
}

/// Whether a refusal of a login says that the backend wants TLS on its own leg. The code `[AUTH]` (RFC 3206)
/// says no more than that something is wrong with the credentials.
pub(super) fn wants_tls(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let plaintext = ["plaintext", "plain text", "cleartext", "clear text"];
    let forbidden = ["disallowed", "disabled", "not allowed", "not permitted"];
    plaintext.iter().any(|words| text.contains(words)) && forbidden.iter().any(|words| text.contains(words))
}

/// Whether a refusal of a login may be for the credentials. RFC 2449 §8.1.1, RFC 3206 §4: these codes say that it is not.
pub(super) fn blames_credentials(text: &[u8]) -> bool {
    let text = text.to_ascii_uppercase();
    ![&b"-ERR [IN-USE]"[..], b"-ERR [SYS/", b"-ERR [LOGIN-DELAY]"].iter().any(|code| text.starts_with(code))
}

/// Whether a banner carries the timestamp that APOP needs (RFC 1939 §7).
pub(super) fn has_timestamp(banner: &[u8]) -> bool {
    let open = banner.iter().position(|byte| *byte == b'<');
    let close = banner.iter().rposition(|byte| *byte == b'>');
    open < close && open.is_some()
}

/// A banner without the offer to take the client's address on trust; the rest, the timestamp too, is as it was.
pub(super) fn without_xclient(banner: &[u8]) -> Vec<u8> {
    const OFFER: &[u8] = b"[XCLIENT]";
    let (mut kept, mut rest) = (Vec::new(), banner);
    while let Some(at) = rest.windows(OFFER.len()).position(|window| window.eq_ignore_ascii_case(OFFER)) {
        kept.extend_from_slice(line::trim_end(&rest[..at]));
        kept.push(b' ');
        rest = line::trim_start(&rest[at + OFFER.len()..]);
    }
    kept.extend_from_slice(rest);
    kept
}

/// How long the backend's greeting is: see [`crate::proto::greeting_end`].
///
/// # Errors
/// See there.
pub fn greeting_end(input: &[u8]) -> Result<Option<usize>, Violation> {
    let begins = |status: &[u8]| input.iter().zip(status).all(|(byte, wanted)| byte.eq_ignore_ascii_case(wanted));
    if !begins(b"+OK") && !begins(b"-ERR") {
        return Err(Violation::Backend);
    }
    Ok(first(input, false)?.map(|greeting| greeting.length))
}

/// A line of the backend and how many bytes it takes up.
fn first_line(input: &[u8]) -> Result<Option<(&[u8], usize)>, Violation> {
    match line::first(input, LONGEST_REPLY) {
        Line::Whole { text, length } => Ok(Some((text, length))),
        Line::Partial => Ok(None),
        Line::Bad { .. } | Line::Long { .. } | Line::Endless => Err(Violation::Backend),
    }
}

/// The lines before the final dot, and how many bytes they and the dot take up.
fn first_list(input: &[u8]) -> Result<Option<(&[u8], usize)>, Violation> {
    let mut at = 0;
    while let Some((text, length)) = first_line(&input[at..])? {
        if text == b"." {
            return Ok(Some((&input[..at], at + length)));
        }
        at += length;
        if at > LONGEST_REPLY {
            return Err(Violation::Backend);
        }
    }
    Ok(None)
}

fn status(text: &[u8]) -> Option<Status> {
    let (word, _) = line::word(text);
    match word.to_ascii_uppercase().as_slice() {
        b"+OK" => Some(Status::Positive),
        b"-ERR" => Some(Status::Negative),
        b"+" => Some(Status::Challenge),
        _ => None,
    }
}

/// The mechanisms in a reply to a bare AUTH, one on a line, as far as a client whose leg is this may know them.
pub(super) fn mechanisms(list: &[u8], leg: Leg) -> Vec<Vec<u8>> {
    lines(list).flat_map(|line| sasl::passing(line, leg)).map(<[u8]>::to_vec).collect()
}
