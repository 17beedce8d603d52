//! What a client says first: the newest TLS version that it offers, and whom and what it asks for.
//!
//! For the log, and for what has to be known before rustls can begin: it is rustls that refuses what is broken.

use std::borrow::Cow;

use super::record::{CONTENT, HANDSHAKE, HEADER};

/// The header in front of each handshake message.
const MESSAGE: usize = 4;

/// The longest of each that rustls lets pass.
const LONGEST_RECORD: usize = CONTENT + 2048;
const LONGEST_MESSAGE: usize = 0xffff;

const CLIENT_HELLO: u8 = 1;

// Extensions (RFC 6066 §3, RFC 7301 §3.1, RFC 8446 §4.2.1).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// A ClientHello, as far as it is there.
#[derive(Debug)]
pub(super) struct Hello<'a> {
    /// The message without its header.
    body: Cow<'a, [u8]>,
    /// Where its extensions begin.
    extensions: usize,
    /// `legacy_version`, once it is there.
    legacy: Option<u16>,
    is_whole: bool,
}

impl<'a> Hello<'a> {
    /// Reads it from the first bytes that a client has sent: RFC 8446 §4.1.2, in records of any size (§5.1). `None` where it is no
    /// ClientHello.
    #[must_use]
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let message = first_message(bytes)?;
        let length = match *message {
            [CLIENT_HELLO, high, middle, low, ..] => length(high, middle, low)?,
            _ => return None,
        };
        let body = match message {
            Cow::Borrowed(message) => Cow::Borrowed(&message[MESSAGE..message.len().min(MESSAGE + length)]),
            Cow::Owned(mut message) => {
                message.truncate(MESSAGE + length);
                Cow::Owned(message.split_off(MESSAGE))
            }
        };
        let is_whole = body.len() == length;
        let legacy = body.first_chunk().map(|version| u16::from_be_bytes(*version));
        let extensions = extensions(&body).unwrap_or(body.len());
        Some(Self { extensions, legacy, is_whole, body })
    }

    /// Whether more has to come until these first bytes of a client are a whole one, which they may yet be.
    #[must_use]
    pub(super) fn is_awaited(bytes: &'a [u8]) -> bool {
        match (Self::of(bytes), first_message(bytes)) {
            (Some(hello), _) => !hello.is_whole,
            (None, Some(message)) => {
                message.len() < MESSAGE && message.first().is_none_or(|kind| *kind == CLIENT_HELLO)
            }
            (None, None) => bytes.len() < HEADER && [HANDSHAKE, 3].starts_with(&bytes[..bytes.len().min(2)]),
        }
    }

    /// The newest version that it offers, by the documents' name. Empty where the extension that decides may be in what is not there yet.
    ///
    /// RFC 8446 §4.1.2, §4.2.1: `legacy_version`, overruled by the extension `supported_versions`.
    #[must_use]
    pub(super) fn offered_version(&self) -> &'static str {
        let offered = self.extension(SUPPORTED_VERSIONS).and_then(|list| list.get(1..)).unwrap_or_default();
        let versions = offered.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        // GREASE is among them.
        let newest = versions.filter(|version| version >> 8 == 3).max();
        let Some(legacy) = self.legacy else { return "" };
        // RFC 8446 §4.1.2: whoever sends the extension says 0x0303 here.
        if newest.is_none() && legacy == 0x0303 && !self.is_whole {
            return "";
        }
        match newest.unwrap_or(legacy) {
            0x0304.. => "TLSv1.3",
            0x0303 => "TLSv1.2",
            0x0302 => "TLSv1.1",
            0x0301 => "TLSv1.0",
            _ => "SSLv3",
        }
    }

    /// The name that it asks for, whatever that is.
    #[must_use]
    pub(super) fn server_name(&self) -> Option<&[u8]> {
        // A list of one name (RFC 6066 §3): its length, the type of the name, the name's length.
        let (&[_, _, 0, high, low], name) = self.extension(SERVER_NAME)?.split_first_chunk()? else { return None };
        name.get(..usize::from(u16::from_be_bytes([high, low])))
    }

    /// Whether this application protocol is the only one that it offers.
    #[must_use]
    pub(super) fn offers_only(&self, application: &[u8]) -> bool {
        // A list of one name: its length, the name's length (RFC 7301 §3.1).
        let Some((&[high, low, length], name)) = self.extension(ALPN).and_then(<[u8]>::split_first_chunk) else {
            return false;
        };
        let list = usize::from(u16::from_be_bytes([high, low]));
        name == application && usize::from(length) == name.len() && list == name.len() + 1
    }

    /// The content of the first extension of this type, as far as it is there.
    fn extension(&self, wanted: u16) -> Option<&[u8]> {
        let mut rest = &self.body[self.extensions..];
        loop {
            let (&[a, b, c, d], body) = rest.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([c, d]));
            if u16::from_be_bytes([a, b]) == wanted {
                return Some(&body[..length.min(body.len())]);
            }
            rest = body.get(length..)?;
        }
    }
}

/// The newest TLS version that the beginning of a ClientHello offers, as far as it can be seen in `bytes`. Empty where it is no
/// ClientHello.
#[must_use]
pub fn offered_version(bytes: &[u8]) -> &'static str {
    Hello::of(bytes).map_or("", |hello| hello.offered_version())
}

/// The front of the first handshake message, joined where it is split over records; what is behind it may follow.
fn first_message(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (mut content, mut rest) = fragment(bytes)?;
    let mut joined = Cow::Borrowed(content);
    loop {
        if let &[_, high, middle, low, ..] = &*joined
            && joined.len() >= MESSAGE + length(high, middle, low)?
        {
            return Some(joined);
        }
        match fragment(rest) {
            Some(next) => (content, rest) = next,
            None => return Some(joined),
        }
        joined.to_mut().extend_from_slice(content);
    }
}

/// What is there of the first record's content, and what follows on it. `None` where it is none of a handshake.
fn fragment(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[HANDSHAKE, 3, _, high, low], rest) = bytes.split_first_chunk::<HEADER>()? else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    (length <= LONGEST_RECORD).then(|| rest.split_at(length.min(rest.len())))
}

/// The length of a message, where it is not absurd.
fn length(high: u8, middle: u8, low: u8) -> Option<usize> {
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    (length <= LONGEST_MESSAGE).then_some(length)
}

/// Where the extensions begin in the message: behind version (2), random (32), session, suites, compressions and their own length.
fn extensions(body: &[u8]) -> Option<usize> {
    let session = body.get(34..)?;
    let rest = skip(session, 1).and_then(|rest| skip(rest, 2)).and_then(|rest| skip(rest, 1))?;
    Some(body.len() - rest.get(2..)?.len())
}

/// Skips a vector with a length of `width` bytes.
fn skip(bytes: &[u8], width: usize) -> Option<&[u8]> {
    let length = bytes.get(..width)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    bytes.get(width + length..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::accept::dns_name;
    use rustls::{pki_types::ServerName, server::Acceptor};
    use std::sync::Arc;

    fn hello(versions: &[&'static rustls::SupportedProtocolVersion]) -> Vec<u8> {
        asking(versions, "mx.example", &[])
    }

    fn asking(versions: &[&'static rustls::SupportedProtocolVersion], name: &str, offered: &[&[u8]]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message, in records of so many bytes.
    fn split(hello: &[u8], size: usize) -> Vec<u8> {
        let records = hello[HEADER..].chunks(size).map(|part| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[HANDSHAKE, 3, 1, length[0], length[1]], part].concat()
        });
        records.collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_newest_offered_version_is_seen() {
        let both = hello(&[&rustls::version::TLS13, &rustls::version::TLS12]);
        assert_eq!(offered_version(&both), "TLSv1.3");
        assert_eq!(offered_version(&split(&both, 7)), "TLSv1.3");
        assert_eq!(offered_version(&hello(&[&rustls::version::TLS12])), "TLSv1.2");
        let mut old = hello(&[&rustls::version::TLS12]);
        old.truncate(60);
        old[10] = 1;
        assert_eq!(offered_version(&old), "TLSv1.0");
    }

    #[test]
    fn a_hello_cut_short_is_not_taken_for_an_older_version_and_is_awaited() {
        let both = hello(&[&rustls::version::TLS13, &rustls::version::TLS12]);
        for whole in [both.clone(), split(&both, 1), split(&both, 100)] {
            for end in 0..whole.len() {
                assert!(["", "TLSv1.3"].contains(&offered_version(&whole[..end])), "{end}");
                assert!(Hello::is_awaited(&whole[..end]), "{end}");
            }
            assert!(!Hello::is_awaited(&whole));
            assert!(!Hello::is_awaited(&[&whole[..], &[20, 3, 3, 0, 1, 1]].concat()));
        }
    }

    #[test]
    fn what_is_no_hello_or_an_absurd_one_is_not_awaited() {
        for odd in [
            &b"EHLO"[..],
            b"\x16\x02",
            b"\x15\x03",
            b"\x16\x03\x01\xff\xff",
            b"\x16\x03\x01\x00\x04\x02",
            b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
            b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
            b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
        ] {
            assert!(!Hello::is_awaited(odd), "{odd:x?}");
            assert_eq!(offered_version(odd), "");
        }
    }

    #[test]
    fn what_is_asked_for_is_what_rustls_reads_however_it_is_split() {
        let names = ["mx.example", "MX.Example", "a", "192.0.2.7", "2001:db8::1", "under_score.example"];
        let lists: [&[&[u8]]; 5] =
            [&[], &[b"acme-tls/1"], &[b"imap"], &[b"imap", b"acme-tls/1"], &[b"acme-tls/1", b"imap"]];
        for (name, offered) in names.iter().flat_map(|name| lists.iter().map(move |offered| (name, offered))) {
            let bytes = asking(&[&rustls::version::TLS13, &rustls::version::TLS12], name, offered);
            let mut acceptor = Acceptor::default();
            acceptor.read_tls(&mut &*bytes).unwrap();
            let accepted = acceptor.accept().unwrap().unwrap();
            let read = accepted.client_hello();
            for size in [1, 3, 4, 5, 50, 10_000] {
                let bytes = split(&bytes, size);
                let hello = Hello::of(&bytes).unwrap();
                let asked_for = hello.server_name().and_then(dns_name);
                assert_eq!(asked_for.as_ref().map(AsRef::as_ref), read.server_name(), "{name}");
                let is_only = read.alpn().is_some_and(|offered| offered.eq([b"acme-tls/1"]));
                assert_eq!(hello.offers_only(b"acme-tls/1"), is_only, "{offered:?}");
            }
        }
    }

    #[test]
    fn no_beginning_of_a_hello_is_too_short_or_too_odd() {
        let both = asking(&[&rustls::version::TLS13], "mx.example", &[b"imap"]);
        let look = |bytes: &[u8]| {
            assert!(offered_version(bytes).len() <= "TLSv1.3".len());
            Hello::of(bytes).map(|hello| (hello.server_name().is_some(), hello.offers_only(b"imap")))
        };
        for end in 0..both.len() {
            look(&both[..end]);
        }
        assert_eq!(offered_version(b"EHLO client.example\r\n"), "");
        for at in 0..both.len() {
            let mut odd = both.clone();
            odd[at] ^= 0xff;
            look(&odd);
        }
    }
}
