//! What was negotiated: for the log, and for a backend that is told.

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use crate::proto::Encryption;

/// The outcome of a handshake. Names are those of the documents; peer text is unescaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The name that the client asked for.
    pub server_name: String,
    /// The application protocol that was agreed on.
    pub application: String,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The suite.
    pub cipher: String,
    /// The key exchange group.
    pub group: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The name in the client's certificate, where that could be verified.
    pub client: Option<String>,
}

/// The name of a version in the documents.
pub(super) fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "",
    }
}

impl Facts {
    /// Reads them off a connection whose handshake is complete, with a client that asked for this name.
    #[must_use]
    pub fn of(connection: &CommonState, server_name: &str) -> Self {
        let text = |name: &dyn std::fmt::Debug| format!("{name:?}");
        Self {
            server_name: server_name.to_owned(),
            application: String::from_utf8_lossy(connection.alpn_protocol().unwrap_or_default()).into_owned(),
            version: version_name(connection.protocol_version()),
            cipher: connection.negotiated_cipher_suite().map(|suite| text(&suite.suite())).unwrap_or_default(),
            group: connection
                .negotiated_key_exchange_group()
                .map(|group| text(&group.name()).to_uppercase())
                .unwrap_or_default(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client: None,
        }
    }

    /// The same for a backend, with the suite by its registered name: rustls has another for those of TLS 1.3.
    #[must_use]
    pub fn encryption(&self) -> Encryption<'_> {
        let registered = self.cipher.strip_prefix("TLS13_");
        Encryption {
            version: self.version,
            cipher: registered.map_or_else(|| self.cipher.as_str().into(), |name| format!("TLS_{name}").into()),
            group: &self.group,
            server_name: &self.server_name,
            application: &self.application,
            client: self.client.as_deref(),
        }
    }
}
