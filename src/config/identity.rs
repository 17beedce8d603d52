//! The names of the ways to tell a backend who the client is.

use crate::proto::proxy_header::Version;

/// One entry of a backend's `identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// `none`: not at all.
    None,
    /// `proxy-v1`, `proxy-v2`: by a header in front of the session.
    Proxy(Version),
}

impl Identity {
    pub(super) const ALL: [Self; 3] = [Self::None, Self::Proxy(Version::V1), Self::Proxy(Version::V2)];

    /// The name used in the configuration.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Proxy(Version::V1) => "proxy-v1",
            Self::Proxy(Version::V2) => "proxy-v2",
        }
    }

    /// The version of the header, if this is one.
    pub(super) const fn proxy_header(self) -> Option<Version> {
        match self {
            Self::None => None,
            Self::Proxy(version) => Some(version),
        }
    }
}
