//! `[resolver]`: who is asked about names on the way to a remote, and whether DNSSEC is believed.

use std::{net::SocketAddr, path::PathBuf};

use super::{error::Position, file::List, findings::Findings, host, section::Section, setting::Setting, word::one_of};

/// `[resolver]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// `type` and `custom`.
    pub servers: NameServers,
    /// `dnssec`.
    pub dnssec: Dnssec,
    /// Whether the file names `dnssec`: the AD bit of a resolver that is not on loopback is believed only then.
    pub dnssec_named: bool,
    /// `trust-anchor`: a file with keys of the root zone, where it is validated here; without one, the system's.
    pub trust_anchor: Option<PathBuf>,
    /// Where it is named, or that there is need of one.
    pub at: Position,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServers {
    /// `system`: those of the system's configuration.
    System,
    /// `custom`: these, which is one at least.
    Custom(Vec<SocketAddr>),
}

/// `dnssec`: how it is told whether DNSSEC vouches for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dnssec {
    /// `ad`: the resolver says so (RFC 4035 §3.2.3), the default.
    Ad,
    /// `validate`: by validating it here.
    Validate,
    /// `off`: not at all, and there is no DANE.
    Off,
}

impl Dnssec {
    const ALL: [Self; 3] = [Self::Ad, Self::Validate, Self::Off];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ad => "ad",
            Self::Validate => "validate",
            Self::Off => "off",
        }
    }
}

/// `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    System,
    Custom,
}

impl Kind {
    const ALL: [Self; 2] = [Self::System, Self::Custom];

    const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Custom => "custom",
        }
    }
}

/// What the file says.
pub(super) struct ResolverTable {
    pub(super) kind: Setting<Kind>,
    pub(super) custom: List<SocketAddr>,
    pub(super) dnssec: Setting<Dnssec>,
    pub(super) trust_anchor: Setting<String>,
}

/// Reads the table.
pub(super) fn read(table: &mut Section<'_, '_>) -> ResolverTable {
    ResolverTable {
        kind: table.word("type", |name| one_of(name, &Kind::ALL, Kind::name)),
        custom: table.list("custom", host::parse_name_server),
        dnssec: table.word("dnssec", |name| one_of(name, &Dnssec::ALL, Dnssec::name)),
        trust_anchor: table.word("trust-anchor", |path| Ok(path.to_owned())),
    }
}

impl ResolverTable {
    /// The first server that is not on this machine.
    pub(super) fn distant(&self) -> Option<SocketAddr> {
        self.custom.values().into_iter().find(|server| !server.ip().is_loopback())
    }

    /// Whether it is already known that nothing DNSSEC says is believed.
    pub(super) fn believes_nothing(&self) -> bool {
        let dnssec = self.dnssec.value_or(Dnssec::Ad);
        dnssec == Dnssec::Off || (self.dnssec.is_absent() && self.distant().is_some())
    }

    /// What holds.
    pub(super) fn resolve(&self, found: &Findings) -> Resolver {
        let custom = self.kind.value_or(Kind::System) == Kind::Custom;
        Resolver {
            servers: if custom { NameServers::Custom(self.custom.values()) } else { NameServers::System },
            dnssec: self.dnssec.value_or(Dnssec::Ad),
            dnssec_named: self.dnssec.given().is_some(),
            trust_anchor: self.trust_anchor.given().map(|path| found.base().join(&path.value)),
            at: found.position(self.trust_anchor.key().or(self.dnssec.key()).map_or(0, |key| key.offset)),
        }
    }
}
