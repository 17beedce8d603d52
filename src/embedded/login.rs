//! Who a login, or a recipient's address, means: one account per local part.

/// A name longer than this is no account (RFC 5321 §4.5.3.1.1 asks for 64 at least).
const NAME_LIMIT: usize = 128;

/// The account that `ann`, `Ann` and `ann@anything` mean; `None` where that is no name.
pub(super) fn account_name(address: &str) -> Option<String> {
    named(address.rsplit_once('@').map_or(address, |(local, _)| local))
}

/// The account of a local part.
pub(super) fn named(local: &str) -> Option<String> {
    let sound = !local.is_empty() && local.len() <= NAME_LIMIT && !local.chars().any(char::is_control);
    sound.then(|| local.to_lowercase())
}

/// The account that a SASL PLAIN message (RFC 4616 §2) asks for, whatever its password is.
pub(super) fn plain(message: &[u8]) -> Option<String> {
    let mut parts = message.splitn(3, |&byte| byte == 0);
    let (authorization, authentication, _password) = (parts.next()?, parts.next()?, parts.next()?);
    // RFC 4616 §2: an empty authorization identity means that of the authentication identity.
    let identity = if authorization.is_empty() { authentication } else { authorization };
    account_name(std::str::from_utf8(identity).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_and_the_case_do_not_matter() {
        assert_eq!(account_name("Ann@Example.ORG").as_deref(), Some("ann"));
        assert_eq!(account_name("ann").as_deref(), Some("ann"));
        assert_eq!(account_name("@example.org"), None);
        assert_eq!(account_name(""), None);
        assert_eq!(account_name("a\nb"), None);
        assert_eq!(account_name(&"a".repeat(129)), None);
    }

    #[test]
    fn plain_prefers_the_identity_to_act_as() {
        assert_eq!(plain(b"\0ann@example.org\0secret").as_deref(), Some("ann"));
        assert_eq!(plain(b"bob\0ann\0secret").as_deref(), Some("bob"));
        assert_eq!(plain(b"\0ann\0").as_deref(), Some("ann"));
        assert_eq!(plain(b"ann\0secret"), None);
        assert_eq!(plain(b"\0\0secret"), None);
        assert_eq!(plain(b"\0\xff\0secret"), None);
    }
}
