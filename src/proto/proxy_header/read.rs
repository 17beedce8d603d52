//! Headers that come in: where one ends, and what it says.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader, SslInfo, Tlv};

use super::{SIGNATURE, WORD, checksum::crc32c};

/// The longest header that is taken, in bytes. Addresses and names fit many times over; a client's whole certificate
/// does not, and nobody here would read it.
pub const LONGEST: usize = 4096;

/// The longest header of version 1, its line end included.
const LONGEST_LINE: usize = 107;

/// The part of version 2 that says how long the rest is: signature, command, family, length.
const FIXED: usize = 16;

/// What came is no header, or one that breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The client's address and the one that it connected to. `None`: the proxy speaks for itself, or cannot tell.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// The TLS version of the client's connection, where that had TLS and the header tells so. Peer text.
    pub tls: Option<String>,
    /// The name that the client asked for in TLS. Peer text.
    pub server_name: Option<String>,
}

/// How long the header is that `bytes` begin with; `None` where its end, or the word that says where that is, has not
/// come yet. All of `bytes` belong to the header then.
///
/// # Errors
/// [`Broken`] as soon as it is certain that no header of at most [`LONGEST`] bytes can come of this.
pub fn extent(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    if begins(bytes, WORD) {
        return line_extent(bytes);
    }
    if !begins(bytes, &SIGNATURE) {
        return Err(Broken);
    }
    let Some(&[.., high, low]) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let whole = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if whole > LONGEST { Err(Broken) } else { Ok((bytes.len() >= whole).then_some(whole)) }
}

/// Whether `bytes` and `start` are the same as far as both go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(one, other)| one == other)
}

fn line_extent(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let line = &bytes[..bytes.len().min(LONGEST_LINE)];
    match memchr::memchr(b'\n', line) {
        Some(end) => Ok(Some(end + 1)),
        None if line.len() == LONGEST_LINE => Err(Broken),
        None => Ok(None),
    }
}

/// Reads a whole header, of the length that [`extent`] has found.
///
/// # Errors
/// [`Broken`] where it does not hold to the protocol.
pub fn read(header: &[u8]) -> Result<Header, Broken> {
    if header.starts_with(&SIGNATURE) { read_binary(header) } else { read_line(header) }
}

fn read_line(line: &[u8]) -> Result<Header, Broken> {
    let known: [&[u8]; 4] = [b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN\r", b"PROXY UNKNOWN "];
    // The crate looks neither at the blank behind the first word nor at what follows the third.
    if !known.iter().any(|start| line.starts_with(start)) {
        return Err(Broken);
    }
    Ok(Header { ends: ends(parse(line)?.proxied_address()), ..Header::default() })
}

/// The commands of version 2, with the version in front.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

fn read_binary(header: &[u8]) -> Result<Header, Broken> {
    match header.get(SIGNATURE.len()) {
        // The proxy's own connection: what follows, addresses and all, counts for nothing.
        Some(&LOCAL) => return Ok(Header::default()),
        Some(&PROXY) => {}
        _ => return Err(Broken),
    }
    let parsed = parse(header)?;
    let address = parsed.proxied_address();
    if address.is_some_and(|address| address.protocol == Protocol::Datagram) {
        return Err(Broken);
    }
    let mut read = Header { ends: ends(address), ..Header::default() };
    let mut rest = fields(header).ok_or(Broken)?;
    while let Some((kind, value, behind)) = field(rest)? {
        match Tlv::decode(kind, value) {
            Ok(Tlv::Crc32c(sum)) => check(header, header.len() - behind.len() - value.len(), sum)?,
            Ok(Tlv::Authority(name)) => read.server_name = Some(name.into_owned()),
            Ok(Tlv::Ssl(told)) => read.tls = version(&told),
            // What is not known, or holds text that is none, is nobody's loss.
            _ => {}
        }
        rest = behind;
    }
    Ok(read)
}

/// Parses exactly these bytes. The crate asks for more where a length in them is too small for its addresses.
fn parse(header: &[u8]) -> Result<ProxyHeader<'_>, Broken> {
    match ProxyHeader::parse(header, ParseConfig::default()) {
        Ok((parsed, length)) if length == header.len() => Ok(parsed),
        _ => Err(Broken),
    }
}

fn ends(address: Option<&ProxiedAddress>) -> Option<(SocketAddr, SocketAddr)> {
    let unmapped = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    address.map(|address| (unmapped(address.source), unmapped(address.destination)))
}

/// The fields behind the addresses of a binary header.
fn fields(header: &[u8]) -> Option<&[u8]> {
    let addresses = match header.get(SIGNATURE.len() + 1)? >> 4 {
        1 => 2 * (4 + 2),
        2 => 2 * (16 + 2),
        3 => 2 * 108,
        _ => 0,
    };
    header.get(FIXED + addresses..)
}

/// A field's kind, its value, and what is behind it.
type Field<'a> = (u8, &'a [u8], &'a [u8]);

/// The first field; `None` at the end.
fn field(bytes: &[u8]) -> Result<Option<Field<'_>>, Broken> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (&[kind, high, low], rest) = bytes.split_first_chunk().ok_or(Broken)?;
    let (value, behind) = rest.split_at_checked(u16::from_be_bytes([high, low]).into()).ok_or(Broken)?;
    Ok(Some((kind, value, behind)))
}

/// Holds a header against its checksum, which was made while the four bytes at `at` were zero.
fn check(header: &[u8], at: usize, sum: u32) -> Result<(), Broken> {
    let zeroed = header.iter().enumerate().map(|(index, byte)| if (at..at + 4).contains(&index) { 0 } else { *byte });
    if crc32c(zeroed) == sum { Ok(()) } else { Err(Broken) }
}

fn version(told: &SslInfo<'_>) -> Option<String> {
    told.client_ssl().then(|| told.version().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\n";

    /// A header of version 2.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    /// From 192.0.2.7:40000 to 192.0.2.1:25.
    const FOUR: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0x9c, 0x40, 0, 25];

    fn with_fields(fields: &[u8]) -> Vec<u8> {
        binary(PROXY, 0x11, &[FOUR, fields].concat())
    }

    fn four() -> Header {
        let ends = Some(("192.0.2.7:40000".parse().unwrap(), "192.0.2.1:25".parse().unwrap()));
        Header { ends, ..Header::default() }
    }

    #[test]
    fn of_a_stream_exactly_the_header_is_taken_wherever_it_is_cut() {
        let all = [LINE.to_vec(), b"PROXY UNKNOWN\r\n".to_vec(), with_fields(b"\x04\0\x02ab"), binary(LOCAL, 0, b"")];
        for header in all {
            for end in 0..header.len() {
                assert_eq!(extent(&header[..end]), Ok(None), "{end}");
            }
            for behind in ["", "E", "PROXY ", "\r\n"] {
                assert_eq!(extent(&[&header, behind.as_bytes()].concat()), Ok(Some(header.len())));
            }
            assert!(read(&header).is_ok());
        }
    }

    #[test]
    fn what_cannot_become_a_header_is_refused_at_its_first_wrong_byte() {
        for wrong in [&b"E"[..], b"\x16", b"PROXI", b"PROXY\t", b"p", b"\r\n\r\n\r", b"\r\n\r\n\0\r\nQUIT\r", b"\n"] {
            assert_eq!(extent(wrong), Err(Broken), "{wrong:?}");
            assert!(extent(&wrong[..wrong.len() - 1]).is_ok(), "{wrong:?}");
        }
    }

    #[test]
    fn a_header_is_bounded() {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(LONGEST_LINE, b'x');
        assert_eq!(extent(&line[..LONGEST_LINE - 1]), Ok(None));
        assert_eq!(extent(&line), Err(Broken));
        line.truncate(LONGEST_LINE - 2);
        line.extend(b"\r\n");
        assert_eq!(extent(&line), Ok(Some(LONGEST_LINE)));
        assert_eq!(read(&line), Ok(Header::default()));
        let longest = with_fields(&[&[4, 0x0f, 0xe1][..], &[0; 4065]].concat());
        assert_eq!((longest.len(), extent(&longest)), (LONGEST, Ok(Some(LONGEST))));
        assert_eq!(read(&longest), Ok(four()));
        let mut longer = longest;
        longer[15] += 1;
        assert_eq!(extent(&longer[..FIXED]), Err(Broken));
    }

    #[test]
    fn lines_are_read_strictly() {
        assert_eq!(read(LINE), Ok(four()));
        let six = read(b"PROXY TCP6 2001:db8::7 ::ffff:192.0.2.1 1 2\r\n").unwrap();
        assert_eq!(six.ends, Some(("[2001:db8::7]:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap())));
        assert_eq!(read(b"PROXY UNKNOWN ffff::1 any thing\r\n"), Ok(Header::default()));
        for wrong in [
            "PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 40000 25 \r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 40000\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 65536 25\r\n",
            "PROXY TCP4 192.0.2.7  192.0.2.1 40000 25\r\n",
            "PROXY TCP4 192.0.2 192.0.2.1 40000 25\r\n",
            "PROXY TCP4 ::1 ::1 40000 25\r\n",
            "PROXY TCP6 192.0.2.7 192.0.2.1 40000 25\r\n",
            "PROXY UDP4 192.0.2.7 192.0.2.1 40000 25\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN\n",
            "PROXY \r\n",
            "PROXY a\rb\r\n",
        ] {
            assert_eq!(read(wrong.as_bytes()), Err(Broken), "{wrong:?}");
        }
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_or_cannot_tell_leaves_the_connection_as_it_is() {
        let wrong_checksum = [FOUR, b"\x03\0\x04abcd"].concat();
        for (command, family, rest) in
            [(LOCAL, 0, &b""[..]), (LOCAL, 0x11, &wrong_checksum), (LOCAL, 0xff, b"x"), (PROXY, 0, b"")]
        {
            assert_eq!(read(&binary(command, family, rest)), Ok(Header::default()));
        }
        assert_eq!(read(&binary(PROXY, 0x31, &[b'/'; 216])), Ok(Header::default()));
    }

    #[test]
    fn binary_headers_are_read_strictly() {
        assert_eq!(read(&binary(PROXY, 0x11, FOUR)), Ok(four()));
        let wrong = [
            binary(0x22, 0x11, FOUR),
            binary(0x11, 0x11, FOUR),
            binary(PROXY, 0x12, FOUR),
            binary(PROXY, 0x41, FOUR),
            binary(PROXY, 0x11, &FOUR[..11]),
            binary(PROXY, 0x21, FOUR),
            binary(PROXY, 0x31, FOUR),
            binary(PROXY, 0x11, b""),
            with_fields(b"\x01"),
            with_fields(b"\x01\0\x02a"),
            with_fields(b"\x04\0\0\x04\0"),
        ];
        for wrong in wrong {
            assert_eq!(read(&wrong), Err(Broken), "{wrong:x?}");
        }
    }

    #[test]
    fn a_field_that_is_not_understood_is_passed_over() {
        let odd = with_fields(b"\x02\0\x02\xff\xfe\x20\0\x01\x01\xee\0\x03abc\x05\0\0");
        assert_eq!(read(&odd), Ok(four()));
        // In clear, whatever else is said of it.
        let plain = with_fields(b"\x20\0\x0f\0\0\0\0\0\x21\0\x07TLSv1.3");
        assert_eq!(read(&plain), Ok(four()));
    }

    #[test]
    fn a_checksum_that_is_there_must_be_right() {
        let mut header = with_fields(b"\x04\0\x01x\x03\0\x04\0\0\0\0\x02\0\x01a");
        let sum = crc32c(header.iter().copied());
        let at = header.len() - 8;
        header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(read(&header).unwrap().server_name.as_deref(), Some("a"));
        // But the type of the field itself.
        for byte in (FIXED..header.len()).filter(|byte| *byte != at - 3) {
            let mut other = header.clone();
            other[byte] ^= 0x20;
            assert_ne!(read(&other), read(&header), "{byte}");
        }
        header[at] ^= 1;
        assert_eq!(read(&header), Err(Broken));
    }
}
