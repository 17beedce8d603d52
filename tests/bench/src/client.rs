//! One client's way into a session, and the words that it says there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, SupportedProtocolVersion, version,
};

use crate::plan::{Protocol, Service};

/// The one version, suite and group that are offered, so that every proxy has the same work.
const VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13];
const SUITE: tokio_rustls::rustls::SupportedCipherSuite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// Where a client knocks.
#[derive(Clone, Debug)]
pub struct Door {
    /// The proxy, or the backend itself.
    pub address: SocketAddr,
    /// What is served there.
    pub service: Service,
    /// Whether it is served in TLS at all.
    pub tls: bool,
    /// Whether the proxy itself answers SMTP until there is a recipient, so that only then a backend is behind it.
    pub asks_recipient: bool,
}

/// How a client speaks TLS, and whom it asks for.
#[derive(Clone, Debug)]
pub struct Identity {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Identity {
    /// A client that asks for this host. Where it resumes, it remembers the tickets that it gets.
    ///
    /// # Errors
    /// Where this is no host's name.
    pub fn new(host: &str, resumes: bool) -> Result<Self, String> {
        let provider = CryptoProvider {
            cipher_suites: vec![SUITE],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(VERSIONS)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous))
            .with_no_client_auth();
        config.resumption = if resumes { Resumption::in_memory_sessions(4) } else { Resumption::disabled() };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// The same client, asking for another host.
    ///
    /// # Errors
    /// Where this is no host's name.
    pub fn asks_for(&self, host: &str) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        Ok(Self { config: Arc::clone(&self.config), name })
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A session from its client's side.
pub struct Client {
    wire: Box<dyn Wire>,
    /// What is left of a reply that is not whole yet.
    input: Vec<u8>,
    /// Whether its handshake was a resumed one.
    pub resumed: bool,
}

impl Client {
    /// Connects, gets into TLS, and hears the greeting.
    ///
    /// # Errors
    /// Those of the connection, and a reply that is not the right one.
    pub async fn enter(door: &Door, identity: &Identity) -> io::Result<Self> {
        let stream = TcpStream::connect(door.address).await?;
        stream.set_nodelay(true)?;
        let mut plain = Self { wire: Box::new(stream), input: Vec::new(), resumed: false };
        if !door.tls {
            plain.hear(door.service.protocol().greeting()).await?;
            return Ok(plain);
        }
        if door.service.starts_in_clear() {
            plain.hear(door.service.protocol().greeting()).await?;
            plain.ask_for_tls(door.service.protocol()).await?;
        }
        let mut client = plain.secure(identity).await?;
        if !door.service.starts_in_clear() {
            client.hear(door.service.protocol().greeting()).await?;
        }
        Ok(client)
    }

    async fn ask_for_tls(&mut self, protocol: Protocol) -> io::Result<()> {
        match protocol {
            Protocol::Imap => self.ask("s STARTTLS\r\n", "s OK").await,
            Protocol::Smtp => {
                self.ask("EHLO client.example\r\n", "250 ").await?;
                self.ask("STARTTLS\r\n", "220 ").await
            }
        }
    }

    async fn secure(self, identity: &Identity) -> io::Result<Self> {
        let connector = TlsConnector::from(Arc::clone(&identity.config));
        let stream = connector.connect(identity.name.clone(), self.wire).await?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Self { wire: Box::new(stream), input: Vec::new(), resumed })
    }

    /// Says what makes the backend answer for the first time.
    ///
    /// # Errors
    /// As of [`Self::enter`].
    pub async fn log_in(&mut self, door: &Door) -> io::Result<()> {
        match door.service.protocol() {
            Protocol::Imap => self.ask("l LOGIN ann secret\r\n", "l OK").await,
            Protocol::Smtp => {
                self.ask("EHLO client.example\r\n", "250 ").await?;
                if door.asks_recipient { self.envelope().await } else { Ok(()) }
            }
        }
    }

    async fn envelope(&mut self) -> io::Result<()> {
        self.ask("MAIL FROM:<ann@example.net>\r\n", "250 ").await?;
        self.ask("RCPT TO:<bob@example.org>\r\n", "250 ").await
    }

    /// Sends one message: `text`, of whole lines as [`lines`] makes them, so many times.
    ///
    /// # Errors
    /// As of [`Self::enter`].
    pub async fn deliver(&mut self, text: &[u8], times: u64) -> io::Result<()> {
        self.envelope().await?;
        self.ask("DATA\r\n", "354 ").await?;
        for _ in 0..times {
            self.wire.write_all(text).await?;
        }
        self.ask(".\r\n", "250 ").await
    }

    /// Sends one message, `text`, whose end is in it, all at once.
    ///
    /// # Errors
    /// As of [`Self::enter`].
    pub async fn deliver_at_once(&mut self, text: &[u8]) -> io::Result<()> {
        self.envelope().await?;
        self.ask("DATA\r\n", "354 ").await?;
        self.wire.write_all(text).await?;
        self.wire.flush().await?;
        self.hear("250 ").await
    }

    /// Downloads so many bytes in one literal. `buffer` is read into.
    ///
    /// # Errors
    /// As of [`Self::enter`].
    pub async fn download(&mut self, length: usize, buffer: &mut [u8]) -> io::Result<()> {
        self.wire.write_all(format!("f FETCH {length}\r\n").as_bytes()).await?;
        self.wire.flush().await?;
        const END: &[u8] = b"f OK done\r\n";
        let mut left = format!("* 1 FETCH (BODY[] {{{length}}}\r\n)\r\n").len() + length + END.len();
        let mut last = Vec::new();
        while left > 0 {
            let count = self.wire.read(buffer).await?;
            if count == 0 || count > left {
                return Err(io::Error::other("a download of another length"));
            }
            left -= count;
            last.extend_from_slice(&buffer[count.saturating_sub(END.len())..count]);
            last.drain(..last.len().saturating_sub(END.len()));
        }
        if last == END { Ok(()) } else { Err(io::Error::other("a download without its end")) }
    }

    /// Asks for nothing and is answered.
    ///
    /// # Errors
    /// As of [`Self::enter`].
    pub async fn nothing(&mut self) -> io::Result<()> {
        self.ask("n NOOP\r\n", "n OK").await
    }

    /// Leaves: the end of TLS, then that of the connection.
    pub async fn leave(mut self) {
        // Whoever is gone already has nothing to be told.
        let _ = self.wire.shutdown().await;
    }

    async fn ask(&mut self, words: &str, answer: &str) -> io::Result<()> {
        self.wire.write_all(words.as_bytes()).await?;
        self.wire.flush().await?;
        self.hear(answer).await
    }

    /// Reads up to the line that starts with `answer`; any other last line of a reply is an error.
    async fn hear(&mut self, answer: &str) -> io::Result<()> {
        loop {
            match judged(&self.input, answer.as_bytes()) {
                Some(Ok(())) => {
                    self.input.clear();
                    return Ok(());
                }
                Some(Err(line)) => return Err(io::Error::other(format!("{line:?} in place of {answer:?}"))),
                None => {}
            }
            if self.wire.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::other(format!("the end in place of {answer:?}")));
            }
        }
    }
}

/// What has come of a reply: the line that was waited for, or another last line; `None` while there is neither.
fn judged(input: &[u8], answer: &[u8]) -> Option<Result<(), String>> {
    let lines = input.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
    for line in lines {
        if line.starts_with(answer) {
            return Some(Ok(()));
        }
        if ends_reply(line, answer) {
            return Some(Err(String::from_utf8_lossy(line).trim_end().to_owned()));
        }
    }
    None
}

/// Whether a line is the last one of a reply: in SMTP a blank is behind its code, in IMAP it bears the command's tag.
fn ends_reply(line: &[u8], answer: &[u8]) -> bool {
    match answer[0] {
        b'0'..=b'9' => line.get(3) == Some(&b' '),
        _ => line.starts_with(&answer[..2]),
    }
}

/// Whole lines of text, so many bytes at most.
pub fn lines(length: usize) -> Vec<u8> {
    let line = format!("{}\r\n", "x".repeat(76));
    line.repeat(length / line.len()).into_bytes()
}

/// Takes every certificate: what the client's own checks cost is no proxy's business.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_judged_by_its_last_line() {
        assert_eq!(judged(b"250-PIPELINING\r\n250 done\r\n", b"250 "), Some(Ok(())));
        assert_eq!(judged(b"250-PIPELINING\r\n250 do", b"250 "), None);
        assert_eq!(judged(b"550 no\r\n", b"250 "), Some(Err("550 no".to_owned())));
        assert_eq!(judged(b"* CAPABILITY IMAP4rev1\r\nl OK done\r\n", b"l OK"), Some(Ok(())));
        assert_eq!(judged(b"l NO no\r\n", b"l OK"), Some(Err("l NO no".to_owned())));
        assert_eq!(judged(b"* BYE full\r\n", b"* OK"), Some(Err("* BYE full".to_owned())));
    }

    #[test]
    fn a_text_is_of_whole_lines() {
        assert_eq!(lines(10_240).len(), 10_218);
        assert!(lines(10_240).ends_with(b"x\r\n"));
    }
}
