//! `backend.<id>.tls.*`: how TLS is spoken to a backend, and what it has to show.

use std::{path::PathBuf, sync::Arc};

use super::{
    Queue, Text,
    file::List,
    findings::{Findings, Key},
    host::is_host_name,
    section::Section,
    setting::Setting,
    word::{Refusal, one_of},
};
use crate::policy::strategy::{Requirement, TlsStrategy};

/// How a backend is spoken to, if not always in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// `mode`: always in TLS.
    Always(Box<BackendTls>),
    /// `strategy`: as a table `[queue.tls.<id>]` says, after STARTTLS.
    Strategy(Arc<TlsStrategy>),
}

impl Encryption {
    /// Whether it is spoken to in TLS from the first byte.
    #[must_use]
    pub fn is_implicit(&self) -> bool {
        matches!(self, Self::Always(tls) if tls.implicit)
    }

    /// Whether mailward shows it a certificate of its own.
    #[must_use]
    pub fn shows_our_own(&self) -> bool {
        matches!(self, Self::Always(tls) if tls.own.is_some())
    }

    /// Whether no session goes there in clear, or to a server that has not shown who it is (RFC 8689 §4.2.1).
    #[must_use]
    pub fn is_certain(&self) -> bool {
        match self {
            Self::Always(_) => true,
            Self::Strategy(strategy) => {
                strategy.dane == Requirement::Require
                    || (strategy.starttls == Requirement::Require && !strategy.allow_invalid_certs)
            }
        }
    }
}

/// `backend.<id>.tls.*`, of a backend that is always spoken to in TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// `mode`: TLS from the first byte, and not after STARTTLS.
    pub implicit: bool,
    /// `ca`: PEM files with the only roots that count; `None`: the system's, and those of `server.ca`.
    pub ca: Option<Vec<PathBuf>>,
    /// `name`: what the certificate must be for; `None`: the address' name.
    pub name: Option<String>,
    /// `pin`: where there is one, the SHA-256 of the certificate's public key (SubjectPublicKeyInfo) must be among them,
    /// and neither its chain, its name nor its dates count.
    pub pins: Vec<[u8; 32]>,
    /// `cert` and `private-key`, both as PEM: what mailward shows.
    pub own: Option<(Text, Text)>,
}

/// `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    None,
    StartTls,
    Implicit,
}

impl Mode {
    const ALL: [Self; 3] = [Self::None, Self::StartTls, Self::Implicit];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::StartTls => "starttls",
            Self::Implicit => "implicit",
        }
    }
}

/// What the file says.
pub(super) struct BackendTlsKeys {
    pub(super) strategy: Setting<String>,
    pub(super) mode: Setting<Mode>,
    pub(super) ca: List<String>,
    pub(super) name: Setting<String>,
    pub(super) pin: List<[u8; 32]>,
    pub(super) cert: Setting<Text>,
    pub(super) private_key: Setting<Text>,
}

/// Reads the keys.
pub(super) fn read(table: &mut Section<'_, '_>) -> BackendTlsKeys {
    BackendTlsKeys {
        strategy: table.word("strategy", |id| Ok(id.to_owned())),
        mode: table.word("mode", |name| one_of(name, &Mode::ALL, Mode::name)),
        ca: table.list("ca", |path| Ok(path.to_owned())),
        name: table.word("name", parse_name),
        pin: table.list("pin", parse_pin),
        cert: table.pem("cert"),
        private_key: table.pem("private-key"),
    }
}

impl BackendTlsKeys {
    /// `mode`; `None` where it is none, or was refused.
    pub(super) fn mode(&self) -> Option<Mode> {
        self.mode.given().map(|mode| mode.value).filter(|mode| *mode != Mode::None)
    }

    /// The keys that mean something only with TLS.
    pub(super) fn details(&self) -> impl Iterator<Item = &Key> {
        let keys = [self.ca.key(), self.name.key(), self.pin.key(), self.cert.key(), self.private_key.key()];
        keys.into_iter().flatten()
    }

    /// What holds; `None` without TLS.
    pub(super) fn resolve(&self, queue: &Queue, found: &Findings) -> Option<Encryption> {
        let strategy = self.strategy.given().and_then(|id| queue.strategies.get(&id.value));
        match (strategy, self.mode()) {
            (Some(strategy), _) => Some(Encryption::Strategy(strategy.clone())),
            (None, mode) => mode.map(|mode| Encryption::Always(Box::new(self.in_tls(mode, found)))),
        }
    }

    fn in_tls(&self, mode: Mode, found: &Findings) -> BackendTls {
        let path = |path: String| found.base().join(path);
        BackendTls {
            implicit: mode == Mode::Implicit,
            ca: self.ca.given().map(|_| self.ca.values().into_iter().map(path).collect()),
            name: self.name.given().map(|name| name.value.clone()),
            pins: self.pin.values(),
            own: self
                .cert
                .given()
                .zip(self.private_key.given())
                .map(|(cert, key)| (cert.value.clone(), key.value.clone())),
        }
    }
}

fn parse_name(text: &str) -> Result<String, Refusal> {
    if is_host_name(text) || text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Refusal::new("is no name that a server's certificate can have", "write \"mail.internal\", or an IP address"))
}

/// Reads 64 hexadecimal digits, as `openssl` prints them with colons and without.
fn parse_pin(text: &str) -> Result<[u8; 32], Refusal> {
    let refusal = || {
        let right = "write 64 hexadecimal digits: the digest of the public key in DER, not of the certificate";
        Refusal::new("is not a SHA-256 digest", right)
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let values: Vec<u8> = digits.iter().map(value).collect::<Option<_>>().ok_or_else(refusal)?;
    let bytes: Vec<u8> = values.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if values.len() == 64 { bytes.try_into().map_err(|_| refusal()) } else { Err(refusal()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_a_whole_digest_with_or_without_colons() {
        let digest: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7).unwrap());
        let plain: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let colons = digest.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
        assert_eq!(parse_pin(&plain), Ok(digest));
        assert_eq!(parse_pin(&colons), Ok(digest));
        for wrong in [&plain[1..], &format!("{plain}00"), &format!("sha256//{plain}"), "", "g0"] {
            assert!(parse_pin(wrong).is_err(), "{wrong}");
        }
    }
}
