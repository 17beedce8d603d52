//! The records of a client's connection behind its handshake: opened from one buffer into another, and sealed likewise.
//!
//! rustls has done the handshake and makes the keys; from then on the records are ours, so that an idle connection holds two keys and no
//! buffer, and bulk is neither copied nor allocated for. No socket is known here.
//!
//! Promises (RFC 8446, RFC 5246):
//! - What comes out was sealed by the client, in this order, and nothing is missing before it. The first record that does not open ends the
//!   connection (RFC 8446 §5.2), so that an attacker has one guess: the limits on forgeries (RFC 8446 §5.5) are never near.
//! - The end is told from a cut: only a close_notify is one (RFC 8446 §6.1).
//! - No key seals more records than it may (RFC 8446 §5.5): TLS 1.3 takes the next one, TLS 1.2 closes.
//! - Nothing that costs work and brings no data goes on for long: empty records, warnings, KeyUpdates, renegotiation.

mod cipher;
mod message;
#[cfg(test)]
mod tests;

use rustls::{
    AlertDescription, Error, ExtractedSecrets, ProtocolVersion, SupportedCipherSuite, kernel::KernelConnection,
    server::ServerConnectionData,
};

use self::{
    cipher::{Cipher, OVERHEAD},
    message::Message,
};

/// The type, version and length in front of each record.
pub(super) const HEADER: usize = 5;

/// The most content of a record (RFC 8446 §5.1, RFC 5246 §6.2.1).
pub(super) const CONTENT: usize = 1 << 14;

/// The longest record that is sealed.
pub(super) const RECORD: usize = CONTENT + OVERHEAD;

/// The room for all that may be sealed on the way besides data: a KeyUpdate, or an alert.
const ASIDE: usize = 5 + OVERHEAD + 1;

// Content types (RFC 8446 §5.1).
const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

// Alert levels (RFC 5246 §7.2).
const WARNING: u8 = 1;
const FATAL: u8 = 2;

// How much of what brings no data is borne.
const EMPTY: u8 = 32;
const WARNINGS: u8 = 4;
const KEY_UPDATES: u8 = 32;
const RENEGOTIATIONS: u8 = 1;

/// The versions that there is TLS for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Tls12,
    Tls13,
}

/// What ends a connection before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// A record was not sealed by the client, or is not the one whose turn it was.
    #[error("a record that does not open")]
    BadRecordMac,
    /// A record is longer than any may be.
    #[error("a record that is too long")]
    Overflow,
    /// Something came that has no place behind the handshake.
    #[error("an unexpected message")]
    Unexpected,
    /// Too much came that brings nothing.
    #[error("too many messages without data")]
    Flood,
    /// A message is none.
    #[error("a broken message")]
    Decode,
    /// A message has a value that means nothing.
    #[error("a message with an illegal value")]
    IllegalParameter,
    /// The client has given up.
    #[error("the alert {0:?} from the client")]
    Alert(AlertDescription),
    /// The key has sealed, or opened, all that it may.
    #[error("a key that is used up")]
    Exhausted,
    /// The connection was ended, and no more can be said on it.
    #[error("already closed")]
    Closed,
}

impl Fault {
    /// What the client is told (RFC 8446 §6.2).
    const fn alert(self) -> Option<AlertDescription> {
        match self {
            Self::BadRecordMac => Some(AlertDescription::BadRecordMac),
            Self::Overflow => Some(AlertDescription::RecordOverflow),
            Self::Unexpected | Self::Flood => Some(AlertDescription::UnexpectedMessage),
            Self::Decode => Some(AlertDescription::DecodeError),
            Self::IllegalParameter => Some(AlertDescription::IllegalParameter),
            Self::Exhausted => Some(AlertDescription::InternalError),
            Self::Alert(_) | Self::Closed => None,
        }
    }
}

/// How the client's sending has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In good order.
    Closed,
    /// Not so.
    Fault(Fault),
}

/// What became of received bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Opened {
    /// So many of them are used up.
    pub(super) used: usize,
    /// So much data came out.
    pub(super) data: usize,
    /// Nothing more will come, whatever is received.
    pub(super) end: Option<End>,
}

/// Both directions of a connection.
pub(super) struct Records {
    version: Version,
    from_client: Cipher,
    to_client: Cipher,
    /// How many records one key may seal.
    limit: u64,
    /// Makes the keys that follow. TLS 1.2 has none.
    secrets: Option<KernelConnection<ServerConnectionData>>,
    message: Message,
    borne: Borne,
    /// The client has asked for our next key, which has to come before more data (RFC 8446 §4.6.3).
    owes_key_update: bool,
    /// Our close_notify or a fatal alert of ours is sealed: nothing may follow.
    has_ended: bool,
}

/// What was borne since there was data last, or ever.
#[derive(Debug, Default)]
struct Borne {
    empty: u8,
    warnings: u8,
    key_updates: u8,
    renegotiations: u8,
}

/// What is at the front of received bytes.
enum Front {
    /// Not a whole record yet.
    Part,
    /// A record of this length, header and all.
    Record(usize),
}

impl Records {
    /// Goes on where the handshake has ended.
    ///
    /// # Errors
    /// A suite that there is no record layer for.
    pub(super) fn new(
        secrets: ExtractedSecrets,
        connection: KernelConnection<ServerConnectionData>,
    ) -> Result<Self, Error> {
        let version = match connection.protocol_version() {
            ProtocolVersion::TLSv1_3 => Version::Tls13,
            ProtocolVersion::TLSv1_2 => Version::Tls12,
            _ => return Err(Error::General("no record layer for this version".to_owned())),
        };
        let limit = match connection.negotiated_cipher_suite() {
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        };
        Ok(Self {
            version,
            from_client: Cipher::new(version, secrets.rx)?,
            to_client: Cipher::new(version, secrets.tx)?,
            limit,
            secrets: (version == Version::Tls13).then_some(connection),
            message: Message::default(),
            borne: Borne::default(),
            owes_key_update: false,
            has_ended: false,
        })
    }

    /// How many bytes are missing until the first record of `received` is whole, as far as can be seen.
    pub(super) fn missing(&self, received: &[u8]) -> usize {
        match received.first_chunk() {
            Some(&[_, _, _, high, low]) => (HEADER + length(high, low)).saturating_sub(received.len()),
            None => HEADER - received.len(),
        }
    }

    /// The room that opening the first record of `received` may take.
    pub(super) fn room(&self, received: &[u8]) -> usize {
        received.first_chunk().map_or(0, |&[_, _, _, high, low]| self.from_client.room(length(high, low)))
    }

    /// The length of a full record of the client's.
    pub(super) fn full(&self) -> usize {
        CONTENT + self.from_client.overhead()
    }

    /// Opens the records in `received`, as long as there is [`Records::room`] for each in what is left of `out`. What has to be
    /// said to the client because of them is put behind `due`.
    pub(super) fn open(&mut self, received: &[u8], out: &mut [u8], due: &mut Vec<u8>) -> Opened {
        let mut opened = Opened::default();
        while opened.end.is_none() {
            let rest = &received[opened.used..];
            let front = self.front(rest);
            let next = match front {
                Ok(Front::Part) => break,
                Ok(Front::Record(_)) if self.room(rest) > out.len() - opened.data => break,
                Ok(Front::Record(length)) => {
                    opened.used += length;
                    self.open_one(&rest[..length], &mut out[opened.data..], due)
                }
                Err(fault) => Err(End::Fault(fault)),
            };
            match next {
                Ok(count) => opened.data += count,
                Err(end) => opened.end = Some(end),
            }
        }
        if let Some(End::Fault(fault)) = opened.end {
            fault.alert().inspect(|alert| self.say_last(FATAL, *alert, due));
            self.has_ended = true;
        }
        opened
    }

    /// Looks at the first header.
    fn front(&self, received: &[u8]) -> Result<Front, Fault> {
        let Some(kind) = received.first() else { return Ok(Front::Part) };
        match (self.version, *kind) {
            // RFC 8446 §5.2: whatever is in it, a sealed record is called so; §5: no other comes behind the handshake.
            (Version::Tls13, APPLICATION_DATA) => {}
            (Version::Tls12, ALERT | HANDSHAKE | APPLICATION_DATA) => {}
            // RFC 5246 §7.1: the cipher spec changes within a handshake alone.
            _ => return Err(Fault::Unexpected),
        }
        let Some(&[_, major, _, high, low]) = received.first_chunk() else { return Ok(Front::Part) };
        let body = length(high, low);
        if major != 3 {
            return Err(Fault::Decode);
        }
        // RFC 8446 §5.2, RFC 5246 §6.2.3
        let most = CONTENT + if self.version == Version::Tls13 { 256 } else { 2048 };
        if body > most {
            return Err(Fault::Overflow);
        }
        Ok(if received.len() < HEADER + body { Front::Part } else { Front::Record(HEADER + body) })
    }

    /// Opens one record and does what it says; returns how much data is in `out` then.
    fn open_one(&mut self, record: &[u8], out: &mut [u8], due: &mut Vec<u8>) -> Result<usize, End> {
        let inner = self.from_client.open(record, out).map_err(End::Fault)?;
        let (kind, content) = match self.version {
            Version::Tls12 => (record[0], inner),
            Version::Tls13 => unpadded(inner).map_err(End::Fault)?,
        };
        if content.len() > CONTENT {
            return Err(End::Fault(Fault::Overflow));
        }
        // RFC 8446 §5.1: nothing comes in the middle of a message.
        if self.message.is_open() && kind != HANDSHAKE {
            return Err(End::Fault(Fault::Unexpected));
        }
        let count = content.len();
        if count > 0 {
            self.borne.empty = 0;
        }
        match kind {
            APPLICATION_DATA if count == 0 => bear(&mut self.borne.empty, EMPTY).map(|()| 0).map_err(End::Fault),
            APPLICATION_DATA => {
                self.borne.key_updates = 0;
                Ok(count)
            }
            ALERT => {
                let alert = content.try_into().map_err(|_| End::Fault(Fault::Decode))?;
                self.hear(alert).map(|()| 0)
            }
            // RFC 8446 §5.4: no empty fragments.
            HANDSHAKE if count > 0 => self.handshake(&out[..count], due).map(|()| 0).map_err(End::Fault),
            _ => Err(End::Fault(Fault::Unexpected)),
        }
    }

    /// RFC 8446 §6, RFC 5246 §7.2.
    fn hear(&mut self, [level, description]: [u8; 2]) -> Result<(), End> {
        let description = AlertDescription::from(description);
        if level != WARNING && level != FATAL {
            return Err(End::Fault(Fault::IllegalParameter));
        }
        if description == AlertDescription::CloseNotify {
            return Err(End::Closed);
        }
        // RFC 8446 §6: in TLS 1.3 the description alone counts, and all but this one are errors.
        let is_warning = self.version == Version::Tls12 || description == AlertDescription::UserCanceled;
        if level == WARNING && is_warning {
            return bear(&mut self.borne.warnings, WARNINGS).map_err(End::Fault);
        }
        Err(End::Fault(Fault::Alert(description)))
    }

    fn handshake(&mut self, content: &[u8], due: &mut Vec<u8>) -> Result<(), Fault> {
        match self.version {
            Version::Tls13 => match self.message.key_update(content)? {
                Some(asks) => self.follow_key_update(asks),
                None => Ok(()),
            },
            Version::Tls12 => {
                for _ in 0..self.message.client_hellos(content)? {
                    bear(&mut self.borne.renegotiations, RENEGOTIATIONS)?;
                    // RFC 5246 §7.2.2: whoever does not want to, says so with a warning.
                    self.say(WARNING, AlertDescription::NoRenegotiation, due);
                }
                Ok(())
            }
        }
    }

    /// RFC 8446 §4.6.3: what follows is sealed by the client's next key. Ours is due before our next data; asked for several times
    /// until then, it is due once.
    fn follow_key_update(&mut self, asks: bool) -> Result<(), Fault> {
        bear(&mut self.borne.key_updates, KEY_UPDATES)?;
        let secrets = self.secrets.as_mut().ok_or(Fault::Unexpected)?;
        let next = secrets.update_rx_secret().map_err(|_| Fault::Exhausted)?;
        self.from_client = Cipher::new(self.version, next).map_err(|_| Fault::Exhausted)?;
        self.owes_key_update |= asks;
        Ok(())
    }

    /// Seals as much of `data` as there is room for in `out`; returns how much that was, and how many bytes it became.
    ///
    /// # Errors
    /// [`Fault::Closed`] behind our close_notify; [`Fault::Exhausted`] where the only key there is may seal no more, and then `out` holds a
    /// close_notify, whose length comes with it.
    pub(super) fn seal(&mut self, data: &[u8], out: &mut [u8]) -> Result<(usize, usize), (Fault, usize)> {
        let (mut taken, mut written) = (0, 0);
        if self.has_ended {
            return Err((Fault::Closed, 0));
        }
        while taken < data.len() && out.len() - written >= ASIDE + OVERHEAD + CONTENT.min(data.len() - taken) {
            written += self.take_next_key(&mut out[written..]).map_err(|fault| (fault, written))?;
            if self.to_client.sequence >= self.limit {
                let mut due = Vec::new();
                self.say_last(WARNING, AlertDescription::CloseNotify, &mut due);
                out[written..written + due.len()].copy_from_slice(&due);
                return Err((Fault::Exhausted, written + due.len()));
            }
            let record = &data[taken..data.len().min(taken + CONTENT)];
            let sealed = self.to_client.seal(APPLICATION_DATA, record, &mut out[written..]);
            written += sealed.map_err(|fault| (fault, written))?;
            taken += record.len();
        }
        Ok((taken, written))
    }

    /// Goes over to our next key where that is due, in TLS 1.3 also before this one is used up (RFC 8446 §5.5), and says so in front of
    /// `out`.
    fn take_next_key(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        // The last record that the key may seal is the one that says that it is the last.
        let is_used_up = self.to_client.sequence.saturating_add(1) >= self.limit;
        let Some(secrets) = self.secrets.as_mut().filter(|_| self.owes_key_update || is_used_up) else { return Ok(0) };
        // Whoever has had so much from us may have sent as much: it is asked for its next key too.
        let asks = u8::from(is_used_up && !self.owes_key_update);
        let written = self.to_client.seal(HANDSHAKE, &message::key_update(asks), out)?;
        let next = secrets.update_tx_secret().map_err(|_| Fault::Exhausted)?;
        self.to_client = Cipher::new(self.version, next).map_err(|_| Fault::Exhausted)?;
        self.owes_key_update = false;
        Ok(written)
    }

    /// Gives back what is made of the keys, until they are used again.
    pub(super) fn rest(&mut self) {
        self.from_client.rest();
        self.to_client.rest();
    }

    /// Says behind `due` that nothing more will come from us (RFC 8446 §6.1), unless that or worse is said.
    pub(super) fn close(&mut self, due: &mut Vec<u8>) {
        self.say_last(WARNING, AlertDescription::CloseNotify, due);
    }

    fn say_last(&mut self, level: u8, description: AlertDescription, due: &mut Vec<u8>) {
        self.say(level, description, due);
        self.has_ended = true;
    }

    /// An alert is always sealed, with a key that is used up too: there are few of them. Behind our end there are none.
    fn say(&mut self, level: u8, description: AlertDescription, due: &mut Vec<u8>) {
        if self.has_ended {
            return;
        }
        let mut record = [0; ASIDE];
        // Where not even that can be sealed, the client sees a cut.
        let sealed = self.to_client.seal(ALERT, &[level, description.into()], &mut record).unwrap_or(0);
        // What is due may be long, and is not to be given twice the room.
        due.reserve_exact(sealed);
        due.extend_from_slice(&record[..sealed]);
    }
}

fn length(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high, low]))
}

/// Counts one more.
fn bear(count: &mut u8, most: u8) -> Result<(), Fault> {
    if *count >= most {
        return Err(Fault::Flood);
    }
    *count += 1;
    Ok(())
}

/// The type and the content of an opened record of TLS 1.3 (RFC 8446 §5.2, §5.4).
fn unpadded(inner: &[u8]) -> Result<(u8, &[u8]), Fault> {
    // RFC 8446 §5.4: with its padding it is no longer than a full record and its type.
    if inner.len() > CONTENT + 1 {
        return Err(Fault::Overflow);
    }
    let end = inner.iter().rposition(|byte| *byte != 0).ok_or(Fault::Unexpected)?;
    Ok((inner[end], &inner[..end]))
}
