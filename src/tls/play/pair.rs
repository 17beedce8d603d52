//! A client that may send what it likes, and the same server twice: in plain rustls, and with the records that are ours.
//!
//! Nothing in the handshake is random and nothing in it is secret, so that two servers that are sent the same bytes hold the same keys. The
//! client seals by its own code, straight from the RFCs.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, DigitallySignedStruct, Error, NamedGroup, ServerConfig, ServerConnection,
    SignatureAlgorithm, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
    client::{
        ClientConnectionData, UnbufferedClientConnection,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
        aws_lc_rs::{cipher_suite, default_provider},
    },
    kernel::KernelConnection,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{ServerConnectionData, UnbufferedServerConnection},
    sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey},
    unbuffered::{ConnectionState, EncodeError, UnbufferedConnectionCommon, UnbufferedStatus},
    version::{TLS12, TLS13},
};

use super::super::record::{HEADER, Records};

/// Every suite there are records for.
pub(crate) const SUITES: [SupportedCipherSuite; 6] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// One handshake, seen from all sides.
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) plain: ServerConnection,
    pub(crate) records: Records,
    /// The client's ClientHello, without its record's header.
    pub(crate) hello: Vec<u8>,
    /// All that the client has said in the handshake.
    pub(crate) flights: Vec<Vec<u8>>,
}

impl Pair {
    pub(crate) fn new(suite: SupportedCipherSuite) -> Self {
        let server = server(suite);
        let mut plain = ServerConnection::new(server.clone()).expect("a server");
        let mut ours = UnbufferedServerConnection::new(server).expect("a server");
        let mut client = client(suite);
        let (mut to_server, mut to_client, mut flights) = (Vec::new(), Vec::new(), Vec::new());
        while client.is_handshaking() || ours.is_handshaking() {
            let said = said(
                &mut *client,
                &mut to_client,
                UnbufferedConnectionCommon::<ClientConnectionData>::process_tls_records,
            );
            plain.read_tls(&mut &*said).expect("a flight");
            plain.process_new_packets().expect("a flight of the handshake");
            to_server.extend_from_slice(&said);
            flights.push(said);
            to_client = self::said(
                &mut *ours,
                &mut to_server,
                UnbufferedConnectionCommon::<ServerConnectionData>::process_tls_records,
            );
            let mut same = Vec::new();
            while plain.wants_write() {
                plain.write_tls(&mut same).expect("memory");
            }
            assert_eq!(to_client, same, "two servers that are not the same");
        }
        let (secrets, connection) = ours.dangerous_into_kernel_connection().expect("its keys");
        let records = Records::new(secrets, connection).expect("a suite of ours");
        let hello = flights[0][HEADER..].to_vec();
        Self { client: Client::new(client, suite), plain, records, hello, flights }
    }
}

fn version(suite: SupportedCipherSuite) -> &'static SupportedProtocolVersion {
    if suite.tls13().is_some() { &TLS13 } else { &TLS12 }
}

fn provider(suite: SupportedCipherSuite) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![suite],
        kx_groups: vec![&Fixed],
        secure_random: &Fixed,
        ..default_provider()
    })
}

/// What the servers negotiate.
pub(crate) fn server(suite: SupportedCipherSuite) -> Arc<ServerConfig> {
    let key = CertifiedKey::new(vec![CertificateDer::from(&b"none"[..])], Arc::new(Fixed));
    let builder = ServerConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[version(suite)])
        .expect("a version");
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.enable_secret_extraction = true;
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

fn client(suite: SupportedCipherSuite) -> UnbufferedClientConnection {
    let builder = ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[version(suite)])
        .expect("a version");
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(TakesAll));
    let mut config = builder.with_no_client_auth();
    config.enable_secret_extraction = true;
    let name = ServerName::try_from("mx.example").expect("a name");
    UnbufferedClientConnection::new(Arc::new(config), name).expect("a client")
}

/// What one side has to say once it has heard `heard`.
fn said<Side, Data>(
    side: &mut Side,
    heard: &mut Vec<u8>,
    process: impl for<'a> Fn(&'a mut Side, &'a mut [u8]) -> UnbufferedStatus<'a, 'a, Data>,
) -> Vec<u8> {
    let mut said = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = process(side, heard);
        match state.expect("a handshake") {
            ConnectionState::EncodeTlsData(mut data) => {
                let mut room = Vec::new();
                while let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut room) {
                    room = vec![0; needed.required_size];
                }
                said.extend(room);
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            _ => {
                heard.drain(..discard);
                return said;
            }
        }
        heard.drain(..discard);
    }
}

/// One direction, as the client sees it.
struct Key {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Key {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => panic!("a suite of its own"),
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).expect("a key"));
        Self { key, iv: iv.as_ref().try_into().expect("a vector"), sequence }
    }

    fn nonce(&self) -> [u8; 12] {
        let number = u128::from(self.sequence).to_be_bytes();
        std::array::from_fn(|at| self.iv[at] ^ number[at + 4])
    }
}

/// A client behind its handshake.
pub(crate) struct Client {
    kernel: KernelConnection<ClientConnectionData>,
    to_server: Key,
    from_server: Key,
    pub(crate) is_tls13: bool,
    has_explicit_nonce: bool,
}

impl Client {
    fn new(connection: UnbufferedClientConnection, suite: SupportedCipherSuite) -> Self {
        let (secrets, kernel) = connection.dangerous_into_kernel_connection().expect("its keys");
        let is_tls13 = suite.tls13().is_some();
        Self {
            kernel,
            to_server: Key::new(secrets.tx),
            from_server: Key::new(secrets.rx),
            is_tls13,
            has_explicit_nonce: !is_tls13 && suite != cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        }
    }

    /// One record, in TLS 1.3 with so much padding.
    pub(crate) fn record(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let key = &mut self.to_server;
        let nonce = key.nonce();
        let mut body = content.to_vec();
        let (mut header, additional, explicit) = if self.is_tls13 {
            body.push(kind);
            body.resize(body.len() + padding, 0);
            let length = u16::try_from(body.len() + 16).expect("a record").to_be_bytes();
            (vec![23, 3, 3], [&[23, 3, 3], &length[..]].concat(), &[][..])
        } else {
            let length = u16::try_from(content.len()).expect("a record").to_be_bytes();
            let explicit = if self.has_explicit_nonce { &nonce[4..] } else { &[] };
            (vec![kind, 3, 3], [&key.sequence.to_be_bytes()[..], &[kind, 3, 3], &length].concat(), explicit)
        };
        let (unique, additional) = (Nonce::assume_unique_for_key(nonce), Aad::from(additional));
        key.key.seal_in_place_append_tag(unique, additional, &mut body).expect("sealed");
        key.sequence += 1;
        let length = u16::try_from(explicit.len() + body.len()).expect("a record");
        header.extend(length.to_be_bytes());
        [&header[..], explicit, &body].concat()
    }

    /// Goes over to the next key.
    pub(crate) fn next_key(&mut self) {
        self.to_server = Key::new(self.kernel.update_tx_secret().expect("a next key"));
    }

    /// The types and contents of the server's records. A KeyUpdate among them is followed.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
            let (body, rest) = rest.split_at(usize::from(u16::from_be_bytes([header[3], header[4]])));
            bytes = rest;
            let (kind, content) = self.open(*header, body);
            if self.is_tls13 && kind == 22 {
                self.from_server = Key::new(self.kernel.update_rx_secret().expect("a next key"));
            }
            records.push((kind, content));
        }
        assert!(bytes.is_empty(), "a record that is cut");
        records
    }

    fn open(&mut self, header: [u8; HEADER], body: &[u8]) -> (u8, Vec<u8>) {
        let key = &mut self.from_server;
        let mut nonce = key.nonce();
        let body = if self.has_explicit_nonce {
            nonce[4..].copy_from_slice(&body[..8]);
            &body[8..]
        } else {
            body
        };
        let additional = if self.is_tls13 {
            header.to_vec()
        } else {
            let length = u16::try_from(body.len() - 16).expect("a record").to_be_bytes();
            [&key.sequence.to_be_bytes()[..], &header[..3], &length].concat()
        };
        let mut body = body.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        let content =
            key.key.open_in_place(unique, Aad::from(additional), &mut body).expect("a record of the server's");
        key.sequence += 1;
        let mut content = content.to_vec();
        let kind = if self.is_tls13 { content.pop().expect("a type") } else { header[0] };
        (kind, content)
    }
}

/// All that would be random or secret.
#[derive(Debug)]
struct Fixed;

impl SecureRandom for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        bytes.fill(0x5a);
        Ok(())
    }
}

impl SupportedKxGroup for Fixed {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Self))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Fixed {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Ok(SharedSecret::from(&[7; 32][..]))
    }

    fn pub_key(&self) -> &[u8] {
        &[9; 32]
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl SigningKey for Fixed {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Fixed {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(b"signed".to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// A client that looks at certificates itself, or not at all.
#[derive(Debug)]
pub(crate) struct TakesAll;

impl ServerCertVerifier for TakesAll {
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
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
