//! Keywords of EHLO as a configuration writes them (RFC 5321 §4.1.1.1).

use super::word::Refusal;

/// The commands of every server. They are no extensions, and nothing works without most of them.
const BASE: [&str; 10] = ["EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "HELP"];

/// Reads an entry of `hide-extensions`, in upper case.
pub(super) fn parse_extension(text: &str) -> Result<String, Refusal> {
    let keyword = text.to_ascii_uppercase();
    let begins = keyword.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !begins || !keyword.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Refusal::new("is not a keyword", "write it as the server lists it, such as \"CHUNKING\""));
    }
    if BASE.contains(&keyword.as_str()) {
        return Err(Refusal::new("is a command of every server, and no extension", "take it out"));
    }
    Ok(keyword)
}
