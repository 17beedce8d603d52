//! One direction's key: seals one record, or opens one, from one buffer into another.
//!
//! RFC 8446 §5.2 and §5.3 (TLS 1.3); RFC 5246 §6.2.3.3 with RFC 5288 §3 (AES-GCM) and RFC 7905 §2 (ChaCha20-Poly1305) in TLS 1.2.

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
};
use rustls::{ConnectionTrafficSecrets, crypto::cipher::AeadKey};

use super::{APPLICATION_DATA, Fault, HEADER, Version};

/// What every suite's authentication adds, in bytes.
const TAG: usize = 16;

/// The part of AES-GCM's nonce that TLS 1.2 sends along.
const EXPLICIT: usize = 8;

/// The most that sealing adds to a record's content: TLS 1.2 with AES-GCM.
pub(super) const OVERHEAD: usize = HEADER + EXPLICIT + TAG;

/// How a record is laid out, and its nonce made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The content's type is sealed behind it.
    Tls13,
    /// Part of the nonce stands in front of it.
    Tls12Explicit,
    /// Neither.
    Tls12,
}

/// A key with the number of the next record. No nonce is used twice: the number only grows, and a record is refused where
/// it would not.
pub(super) struct Cipher {
    algorithm: &'static Algorithm,
    secret: AeadKey,
    /// The key as records are sealed with it, which is twenty times as long: only while it is used.
    key: Option<LessSafeKey>,
    iv: [u8; NONCE_LEN],
    form: Form,
    /// How many records it was used for.
    pub(super) sequence: u64,
}

impl Cipher {
    /// For the record of this number and those that follow.
    pub(super) fn new(
        version: Version,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, rustls::Error> {
        use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
        let (algorithm, secret, iv) = match secrets {
            Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(rustls::Error::General("no record layer for this suite".to_owned())),
        };
        let form = match version {
            Version::Tls13 => Form::Tls13,
            Version::Tls12 if *algorithm == CHACHA20_POLY1305 => Form::Tls12,
            Version::Tls12 => Form::Tls12Explicit,
        };
        let iv = iv.as_ref().try_into().map_err(|_| rustls::Error::General("an odd nonce".to_owned()))?;
        let mut cipher = Self { algorithm, secret, key: None, iv, form, sequence };
        match cipher.key() {
            Ok(_) => Ok(cipher),
            Err(_) => Err(rustls::Error::General("a key that does not fit its suite".to_owned())),
        }
    }

    /// Gives back what is made of the key, until it is used again.
    pub(super) fn rest(&mut self) {
        self.key = None;
    }

    /// Whether that is given back.
    #[cfg(test)]
    pub(super) fn rests(&self) -> bool {
        self.key.is_none()
    }

    fn key(&mut self) -> Result<&LessSafeKey, Unspecified> {
        if self.key.is_none() {
            self.key = Some(LessSafeKey::new(UnboundKey::new(self.algorithm, self.secret.as_ref())?));
        }
        self.key.as_ref().ok_or(Unspecified)
    }

    /// What sealing adds to a record's content.
    pub(super) fn overhead(&self) -> usize {
        HEADER + self.explicit() + usize::from(self.form == Form::Tls13) + TAG
    }

    /// The room that opening a record with a body of this length takes.
    pub(super) fn room(&self, body: usize) -> usize {
        body.saturating_sub(TAG + self.explicit())
    }

    /// Opens `record`, header and all, into the front of `into`, which has [`Cipher::room`] for it; returns what is there then.
    ///
    /// # Errors
    /// [`Fault::BadRecordMac`]; also where the record is too short to be one.
    pub(super) fn open<'a>(&mut self, record: &[u8], into: &'a mut [u8]) -> Result<&'a [u8], Fault> {
        let (header, body) = record.split_first_chunk::<HEADER>().ok_or(Fault::Decode)?;
        let (explicit, sealed) = body.split_at_checked(self.explicit()).ok_or(Fault::BadRecordMac)?;
        let (ciphertext, tag) =
            sealed.len().checked_sub(TAG).map(|end| sealed.split_at(end)).ok_or(Fault::BadRecordMac)?;
        let mut nonce = self.nonce();
        nonce[NONCE_LEN - explicit.len()..].copy_from_slice(explicit);
        let (bytes, length) = self.additional(header, body.len(), ciphertext.len());
        let into = &mut into[..ciphertext.len()];
        let (nonce, additional) = (Nonce::assume_unique_for_key(nonce), Aad::from(&bytes[..length]));
        let key = self.key().map_err(|_| Fault::Exhausted)?;
        key.open_separate_gather(nonce, additional, ciphertext, tag, into).map_err(|_| Fault::BadRecordMac)?;
        self.count()?;
        Ok(into)
    }

    /// Seals `content` as one record into the front of `out`, which has [`OVERHEAD`] more room than that; returns the record's length.
    ///
    /// # Errors
    /// [`Fault::Exhausted`].
    pub(super) fn seal(&mut self, kind: u8, content: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        let inner = [kind];
        let (kind, inner) = if self.form == Form::Tls13 { (APPLICATION_DATA, &inner[..]) } else { (kind, &[][..]) };
        let body = self.explicit() + content.len() + inner.len() + TAG;
        let [high, low] = u16::try_from(body).map_err(|_| Fault::Exhausted)?.to_be_bytes();
        // RFC 8446 §5.1: 0x0303 in every record behind the first hello; RFC 5246 §6.2.1: the version agreed on.
        let header = [kind, 3, 3, high, low];
        let nonce = self.nonce();
        let (bytes, length) = self.additional(&header, body, content.len());
        self.count()?;
        let (front, rest) = out[..HEADER + body].split_at_mut(HEADER + self.explicit());
        front[..HEADER].copy_from_slice(&header);
        // RFC 5288 §3: the explicit part may be anything that never comes again.
        front[HEADER..].copy_from_slice(&nonce[NONCE_LEN - self.explicit()..]);
        let (ciphertext, extra) = rest.split_at_mut(content.len());
        let (nonce, additional) = (Nonce::assume_unique_for_key(nonce), Aad::from(&bytes[..length]));
        let key = self.key().map_err(|_| Fault::Exhausted)?;
        let sealed = key.seal_out_of_place_scatter(nonce, additional, content, ciphertext, inner, extra);
        sealed.map_err(|_| Fault::Exhausted)?;
        Ok(HEADER + body)
    }

    /// RFC 8446 §5.3, RFC 5246 §6.1: sequence numbers do not wrap.
    fn count(&mut self) -> Result<(), Fault> {
        self.sequence = self.sequence.checked_add(1).ok_or(Fault::Exhausted)?;
        Ok(())
    }

    /// RFC 8446 §5.3 and RFC 7905 §2: the number of the record, padded in front and mixed into the vector.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// What is authenticated beside the content, and its length: in TLS 1.3 the header (RFC 8446 §5.2), in TLS 1.2 the number and a
    /// header with the length of the content (RFC 5246 §6.2.3.3).
    fn additional(&self, header: &[u8; HEADER], body: usize, content: usize) -> ([u8; 13], usize) {
        let mut bytes = [0; 13];
        let length = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        if self.form == Form::Tls13 {
            // RFC 8446 §5.1: the version in the header is to be ignored, so that only the one that has to be there is counted in.
            bytes[..3].copy_from_slice(&[header[0], 3, 3]);
            bytes[3..5].copy_from_slice(&length(body));
            return (bytes, HEADER);
        }
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..11].copy_from_slice(&header[..3]);
        bytes[11..].copy_from_slice(&length(content));
        (bytes, bytes.len())
    }

    const fn explicit(&self) -> usize {
        match self.form {
            Form::Tls12Explicit => EXPLICIT,
            Form::Tls13 | Form::Tls12 => 0,
        }
    }
}
