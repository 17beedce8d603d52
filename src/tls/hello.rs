//! What a client could have done: the newest TLS version that its ClientHello offers, for the log.

/// The newest TLS version that the beginning of a ClientHello offers, as far as it can be seen in `bytes` (one
/// read; the rest of a long hello may still be on its way). Empty where it is no ClientHello, or where the extension
/// that decides may be in what is not there yet.
///
/// RFC 8446 §4.1.2, §4.2.1: `legacy_version`, overruled by the extension `supported_versions`.
#[must_use]
pub fn offered_version(bytes: &[u8]) -> &'static str {
    let Some(hello) = Hello::parse(bytes) else { return "" };
    let newest = hello.supported_versions().into_iter().flatten().filter(|version| version >> 8 == 3).max();
    // RFC 8446 §4.1.2: whoever sends the extension says 0x0303 here.
    if newest.is_none() && hello.legacy == 0x0303 && !hello.is_whole {
        return "";
    }
    match newest.unwrap_or(hello.legacy) {
        0x0304.. => "TLSv1.3",
        0x0303 => "TLSv1.2",
        0x0302 => "TLSv1.1",
        0x0301 => "TLSv1.0",
        _ => "SSLv3",
    }
}

struct Hello<'a> {
    legacy: u16,
    extensions: &'a [u8],
    /// Whether all of them are there.
    is_whole: bool,
}

impl<'a> Hello<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        // Record header (5), handshake header (4), legacy_version (2), random (32).
        let (&[0x16, 3, _, _, _, 1, _, _, _, major, minor], rest) = bytes.split_first_chunk()? else { return None };
        let rest = rest.get(32..)?;
        let rest = skip(rest, 1).and_then(|rest| skip(rest, 2)).and_then(|rest| skip(rest, 1));
        let rest = rest.and_then(<[u8]>::split_first_chunk);
        let is_whole = rest.is_some_and(|(length, rest)| rest.len() >= usize::from(u16::from_be_bytes(*length)));
        let extensions = rest.map(|(_, rest)| rest).unwrap_or_default();
        Some(Self { legacy: u16::from_be_bytes([major, minor]), extensions, is_whole })
    }

    /// The versions listed, GREASE among them.
    fn supported_versions(&self) -> Option<impl Iterator<Item = u16>> {
        let mut rest = self.extensions;
        loop {
            let (&[a, b, c, d], body) = rest.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([c, d]));
            if u16::from_be_bytes([a, b]) == 43 {
                let list = body.get(1..length.min(body.len()))?;
                return Some(list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])));
            }
            rest = body.get(length..)?;
        }
    }
}

/// Skips a vector with a length of `width` bytes.
fn skip(bytes: &[u8], width: usize) -> Option<&[u8]> {
    let length = bytes.get(..width)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    bytes.get(width + length..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn hello(versions: &[&'static rustls::SupportedProtocolVersion]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let mut client = rustls::ClientConnection::new(Arc::new(config), "mx.example".try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_newest_offered_version_is_seen() {
        let both = hello(&[&rustls::version::TLS13, &rustls::version::TLS12]);
        assert_eq!(offered_version(&both), "TLSv1.3");
        assert_eq!(offered_version(&hello(&[&rustls::version::TLS12])), "TLSv1.2");
        let mut old = hello(&[&rustls::version::TLS12]);
        old.truncate(60);
        old[10] = 1;
        assert_eq!(offered_version(&old), "TLSv1.0");
    }

    #[test]
    fn a_hello_cut_short_is_not_taken_for_an_older_version() {
        let both = hello(&[&rustls::version::TLS13, &rustls::version::TLS12]);
        for end in 0..both.len() {
            assert!(["", "TLSv1.3"].contains(&offered_version(&both[..end])), "{end}");
        }
    }

    #[test]
    fn no_beginning_of_a_hello_is_too_short_or_too_odd() {
        let both = hello(&[&rustls::version::TLS13]);
        for end in 0..both.len() {
            assert!(offered_version(&both[..end]).len() <= "TLSv1.3".len());
        }
        assert_eq!(offered_version(b"EHLO client.example\r\n"), "");
        for at in 0..both.len() {
            let mut odd = both.clone();
            odd[at] ^= 0xff;
            assert!(offered_version(&odd).len() <= "TLSv1.3".len());
        }
    }
}
