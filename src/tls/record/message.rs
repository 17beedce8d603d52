//! Handshake messages behind the handshake: a KeyUpdate in TLS 1.3 (RFC 8446 §4.6.3), a new ClientHello in TLS 1.2, which is refused
//! (RFC 5246 §7.4.1.2). No other is expected from a client, and none is kept: at most five bytes are.

use super::Fault;

/// The type and length in front of each.
const HEADER: usize = 4;

const CLIENT_HELLO: u8 = 1;
const KEY_UPDATE: u8 = 24;

/// The longest ClientHello that is passed over.
const HELLO: u32 = 0xffff;

/// What has come of a message. It may be split over records (RFC 8446 §5.1, RFC 5246 §6.2.1).
#[derive(Debug, Default)]
pub(super) struct Message {
    header: [u8; HEADER],
    have: u8,
    /// How much of it is still to come, once the header is there.
    left: u32,
}

impl Message {
    /// Whether one has begun and is not over: nothing else may come in between (RFC 8446 §5.1).
    pub(super) const fn is_open(&self) -> bool {
        self.have > 0
    }

    /// What a record of TLS 1.3 brought: a whole KeyUpdate, and whether it asks for one in return.
    ///
    /// # Errors
    /// Any other message, and one that does not end with its record: behind it the next key holds (RFC 8446 §5.1).
    pub(super) fn key_update(&mut self, mut content: &[u8]) -> Result<Option<bool>, Fault> {
        if !self.header(&mut content, KEY_UPDATE, 1..=1)? {
            return Ok(None);
        }
        let Some((request, behind)) = content.split_first() else { return Ok(None) };
        let asks = match request {
            0 => false,
            1 => true,
            // RFC 8446 §4.6.3
            _ => return Err(Fault::IllegalParameter),
        };
        if !behind.is_empty() {
            return Err(Fault::Unexpected);
        }
        self.have = 0;
        Ok(Some(asks))
    }

    /// How many a record of TLS 1.2 has brought to their end. Their content does not matter.
    ///
    /// # Errors
    /// Any other message, and one that is absurdly long.
    pub(super) fn client_hellos(&mut self, mut content: &[u8]) -> Result<u8, Fault> {
        let mut whole = 0u8;
        while !content.is_empty() {
            if !self.header(&mut content, CLIENT_HELLO, 0..=HELLO)? {
                break;
            }
            let count = content.len().min(self.left as usize);
            content = &content[count..];
            self.left -= u32::try_from(count).unwrap_or(self.left);
            if self.left == 0 {
                self.have = 0;
                whole = whole.saturating_add(1);
            }
        }
        Ok(whole)
    }

    /// Takes the header off `content`, as far as it is there, and says whether it is whole. It has to be that of a message of
    /// this type, of such a length.
    fn header(&mut self, content: &mut &[u8], kind: u8, length: std::ops::RangeInclusive<u32>) -> Result<bool, Fault> {
        let have = usize::from(self.have);
        if have == HEADER {
            return Ok(true);
        }
        let (taken, rest) = content.split_at(content.len().min(HEADER - have));
        self.header[have..have + taken.len()].copy_from_slice(taken);
        self.have += u8::try_from(taken.len()).unwrap_or_default();
        *content = rest;
        if self.have > 0 && self.header[0] != kind {
            return Err(Fault::Unexpected);
        }
        if usize::from(self.have) < HEADER {
            return Ok(false);
        }
        let [_, high, middle, low] = self.header;
        self.left = u32::from_be_bytes([0, high, middle, low]);
        if length.contains(&self.left) { Ok(true) } else { Err(Fault::Decode) }
    }
}

/// A KeyUpdate of ours; with `asks` the client is to send one too.
pub(super) const fn key_update(asks: u8) -> [u8; HEADER + 1] {
    [KEY_UPDATE, 0, 0, 1, asks]
}
