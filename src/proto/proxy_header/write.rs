//! Headers that go out, to a backend.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proxy_header::{ProxiedAddress, ProxyHeader, SslInfo, Tlv};

use super::Version;
use crate::proto::{Connection, Encryption};

/// The header for a connection; for one that is the writer's own where that is `None`. (There are receivers that take no
/// line without addresses.)
#[must_use]
pub fn write(version: Version, connection: Option<&Connection<'_>>) -> Vec<u8> {
    match (version, connection) {
        (Version::V1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (Version::V1, Some(connection)) => line(connection),
        (Version::V2, connection) => binary(connection),
    }
}

fn line(connection: &Connection<'_>) -> Vec<u8> {
    let (source, destination) = of_one_family(connection);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn binary(connection: Option<&Connection<'_>>) -> Vec<u8> {
    let addresses = connection.map(of_one_family).map(|(from, to)| ProxiedAddress::stream(from, to));
    let tls = connection.and_then(|connection| connection.tls.as_ref());
    let header = ProxyHeader::with_tlvs(addresses, tls.map(fields).unwrap_or_default());
    let mut bytes = Vec::new();
    header.encode_v2(&mut bytes).expect("addresses of one family, and short fields");
    bytes
}

/// Both addresses, in the family of the client's: what the backend acts on is who the client is. Where the other cannot
/// be said in that family it is left open, and not the client: of an unknown client the backend would think that it is
/// mailward, whom it may trust.
fn of_one_family(connection: &Connection<'_>) -> (SocketAddr, SocketAddr) {
    let (source, destination) = (connection.source, connection.destination);
    let open = match source.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let is_same = source.is_ipv4() == destination.is_ipv4();
    (source, SocketAddr::new(if is_same { destination.ip() } else { open }, destination.port()))
}

/// What a field may hold at most, in bytes: a name of the domain name system. (The crate panics beyond 64 KiB.)
const LONGEST_FIELD: usize = 255;

/// The type of the field for the group, inside of that for TLS; the crate has no name for it.
const GROUP: u8 = 0x26;

/// What stands for a client certificate that was verified, and for none.
const VERIFIED: u32 = 0;
const NOT_VERIFIED: u32 = 1;

/// Whether the header of version 2 for a connection tells whose certificate the client has.
#[must_use]
pub fn names_client(connection: &Connection<'_>) -> bool {
    connection.tls.as_ref().and_then(client_name).is_some()
}

fn fields<'a>(tls: &'a Encryption<'_>) -> Vec<Tlv<'a>> {
    let client = client_name(tls);
    let verified = if client.is_some() { VERIFIED } else { NOT_VERIFIED };
    // Of a resumed session the certificate belongs to the session, and only that is asked of the field.
    let mut about = SslInfo::new(true, client.is_some(), client.is_some(), verified);
    let inner = [
        short(tls.version).map(|text| Tlv::SslVersion(text.into())),
        short(&tls.cipher).map(|text| Tlv::SslCipher(text.into())),
        short(tls.group).map(|text| Tlv::Custom(GROUP, text.as_bytes().into())),
        client.map(|text| Tlv::SslCn(text.into())),
    ];
    inner.into_iter().flatten().for_each(|field| about.append_tlv(field));
    let outer = [
        short(tls.application).map(|text| Tlv::Alpn(text.as_bytes().into())),
        short(tls.server_name).map(|text| Tlv::Authority(text.into())),
        Some(Tlv::Ssl(about)),
    ];
    outer.into_iter().flatten().collect()
}

/// The name in the client's certificate. One that the field has no room for, or that a backend might cut at a control
/// character, would be none there, or somebody else's: the certificate is not told of then.
fn client_name<'a>(tls: &Encryption<'a>) -> Option<&'a str> {
    tls.client.and_then(short).filter(|name| !name.contains(char::is_control))
}

fn short(text: &str) -> Option<&str> {
    (1..=LONGEST_FIELD).contains(&text.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::proto::proxy_header::{Header, extent, read};

    const TLS: Encryption<'static> = Encryption {
        version: "TLSv1.3",
        cipher: Cow::Borrowed("TLS_AES_256_GCM_SHA384"),
        group: "X25519MLKEM768",
        server_name: "mail.example.org",
        application: "imap",
        client: None,
    };

    fn connection(source: &str, destination: &str, tls: Option<Encryption<'static>>) -> Connection<'static> {
        Connection { source: source.parse().unwrap(), destination: destination.parse().unwrap(), tls }
    }

    #[test]
    fn a_line_tells_the_addresses() {
        let line = |source, destination| write(Version::V1, Some(&connection(source, destination, Some(TLS))));
        assert_eq!(line("192.0.2.7:40000", "192.0.2.1:25"), b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\n");
        assert_eq!(line("[2001:db8::7]:4", "[2001:db8::1]:25"), b"PROXY TCP6 2001:db8::7 2001:db8::1 4 25\r\n");
        assert_eq!(write(Version::V1, None), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn the_client_is_told_whatever_it_has_connected_to() {
        let line = |source, destination| write(Version::V1, Some(&connection(source, destination, None)));
        assert_eq!(line("192.0.2.7:40000", "[2001:db8::1]:25"), b"PROXY TCP4 192.0.2.7 0.0.0.0 40000 25\r\n");
        assert_eq!(line("[2001:db8::7]:4", "192.0.2.1:25"), b"PROXY TCP6 2001:db8::7 :: 4 25\r\n");
        let binary = write(Version::V2, Some(&connection("[2001:db8::7]:4", "192.0.2.1:25", None)));
        let ends = Some(("[2001:db8::7]:4".parse().unwrap(), "[::]:25".parse().unwrap()));
        assert_eq!(read(&binary), Ok(Header { ends, ..Header::default() }));
    }

    #[test]
    fn what_was_negotiated_is_in_the_fields_of_version_2() {
        let header = write(Version::V2, Some(&connection("192.0.2.7:40000", "192.0.2.1:993", Some(TLS))));
        let expected = [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x62\xc0\x00\x02\x07\xc0\x00\x02\x01\x9c\x40\x03\xe1".as_slice(),
            b"\x01\x00\x04imap\x02\x00\x10mail.example.org",
            b"\x20\x00\x39\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.3\x23\x00\x16TLS_AES_256_GCM_SHA384",
            b"\x26\x00\x0eX25519MLKEM768",
        ];
        assert_eq!(header, expected.concat());
        let ends = Some(("192.0.2.7:40000".parse().unwrap(), "192.0.2.1:993".parse().unwrap()));
        let (tls, server_name) = (Some("TLSv1.3".to_owned()), Some("mail.example.org".to_owned()));
        assert_eq!(extent(&header), Ok(Some(header.len())));
        assert_eq!(read(&header), Ok(Header { ends, tls, server_name }));
    }

    #[test]
    fn without_tls_nothing_is_said_of_it_and_of_mailward_itself_nothing_at_all() {
        let plain = write(Version::V2, Some(&connection("192.0.2.7:40000", "192.0.2.1:25", None)));
        assert_eq!(plain.len(), 16 + 12);
        assert_eq!(write(Version::V2, None), b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
    }

    #[test]
    fn a_certificate_is_told_of_by_a_name_that_cannot_become_anothers() {
        let named = |name| {
            let tls = Some(Encryption { client: name, ..TLS });
            let connection = connection("192.0.2.7:40000", "192.0.2.1:25", tls);
            let header = write(Version::V2, Some(&connection));
            let told = header.windows(3 + 3).any(|field| field == b"\x22\x00\x03ann");
            // The field of TLS: its flags, and what came of the certificate.
            let at = header.windows(2).position(|start| start == [0x20, 0]).unwrap();
            let verified = header[at + 3..at + 8] == [7, 0, 0, 0, 0];
            assert_eq!(verified, names_client(&connection), "{name:?}");
            (told, verified)
        };
        assert_eq!(named(Some("ann")), (true, true));
        let long: &'static str = "x".repeat(256).leak();
        for name in [None, Some(""), Some("ann\0.example.org"), Some("ann\n"), Some("ann\u{85}"), Some(long)] {
            assert_eq!(named(name), (false, false), "{name:?}");
        }
        assert!(!names_client(&connection("192.0.2.7:40000", "192.0.2.1:25", None)));
    }

    #[test]
    fn a_text_that_no_field_has_room_for_is_left_out() {
        let long = "x".repeat(70_000);
        let tls = Encryption { server_name: &long, application: "", ..TLS };
        let connection = Connection { tls: Some(tls), ..connection("192.0.2.7:40000", "192.0.2.1:25", None) };
        let header = read(&write(Version::V2, Some(&connection))).unwrap();
        assert_eq!((header.tls.as_deref(), header.server_name), (Some("TLSv1.3"), None));
    }
}
