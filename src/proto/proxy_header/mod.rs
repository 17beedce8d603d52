//! The header by which a proxy tells the server behind it whose connection it carries: the PROXY protocol, versions 1
//! and 2.
//!
//! Promises that of a stream exactly the header is taken, however the bytes come, that it is bounded, and that what does
//! not hold to the protocol is refused whole. Refuses datagrams, and a checksum that is there and wrong. Addresses are
//! unmapped. Of what is told about the client's TLS nothing is believed for anybody's policy: it is for the log.
//!
//! Who may send one, and that one must come, is decided where the connection is known (`inbound::proxied`).

mod checksum;
mod read;
mod write;

pub use read::{Broken, Header, LONGEST, extent, read};
pub use write::{names_client, write};

/// The version of a header that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text: the addresses alone.
    V1,
    /// Binary: the addresses, and what was negotiated in TLS.
    V2,
}

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What a header of version 1 begins with.
const WORD: &[u8] = b"PROXY ";
