//! A dialogue over a socket, in the clear or in TLS, byte by byte where a test wants it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::NAME;
use crate::support::process::wait::eventually;
use crate::support::stuffed;

/// How long the other side may think. Only a broken test waits for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// One end of a dialogue. Every wait is bounded.
#[derive(Debug)]
pub struct Talk {
    stream: Stream,
    held: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// At the server's end.
    Serving(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Talk {
    /// Connects.
    #[track_caller]
    pub fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("a connection"))
    }

    /// Connects from this address.
    #[track_caller]
    pub fn from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("an address of this machine");
        socket.connect(&address.into()).expect("a connection");
        Self::over(socket.into())
    }

    /// Talks over a connection that is there.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream: Stream::Plain(stream), held: Vec::new() }
    }

    /// Does a TLS handshake as a client that trusts `roots` and wants [`NAME`].
    #[track_caller]
    pub fn tls(self, roots: Arc<RootCertStore>) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.tls_with(Arc::new(config))
    }

    /// Does a TLS handshake by this configuration; panics where it fails.
    #[track_caller]
    pub fn tls_with(self, config: Arc<ClientConfig>) -> Self {
        self.try_tls(config).expect("a handshake")
    }

    /// Does a TLS handshake by this configuration.
    pub fn try_tls(self, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        assert!(self.held.is_empty(), "unread before TLS: {:?}", String::from_utf8_lossy(&self.held));
        let Stream::Plain(mut stream) = self.stream else { panic!("TLS inside TLS") };
        let mut connection =
            ClientConnection::new(config, NAME.try_into().expect("a name")).map_err(std::io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        // What is sent at once is sealed first and then written, however much it is: who reads it need not wait for the sealing.
        connection.set_buffer_limit(None);
        Ok(Self { stream: Stream::Tls(Box::new(StreamOwned::new(connection, stream))), held: Vec::new() })
    }

    /// Does a TLS handshake as a server.
    pub fn serve_tls(self, config: Arc<ServerConfig>) -> std::io::Result<Self> {
        assert!(self.held.is_empty(), "unread before TLS: {:?}", String::from_utf8_lossy(&self.held));
        let Stream::Plain(mut stream) = self.stream else { panic!("TLS inside TLS") };
        let mut connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self { stream: Stream::Serving(Box::new(StreamOwned::new(connection, stream))), held: Vec::new() })
    }

    /// The TLS connection of a server.
    pub fn serving(&self) -> &ServerConnection {
        match &self.stream {
            Stream::Serving(stream) => &stream.conn,
            _ => panic!("not serving TLS"),
        }
    }

    /// The TLS connection.
    pub fn connection(&self) -> &ClientConnection {
        match &self.stream {
            Stream::Tls(stream) => &stream.conn,
            _ => panic!("not in TLS"),
        }
    }

    /// Sends a KeyUpdate that asks for one in return.
    pub fn update_keys(&mut self) -> std::io::Result<()> {
        let Stream::Tls(stream) = &mut self.stream else { panic!("not in TLS") };
        stream.conn.refresh_traffic_keys().map_err(std::io::Error::other)?;
        stream.flush()
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Tls(stream) => &stream.sock,
            Stream::Serving(stream) => &stream.sock,
            Stream::Plain(stream) => stream,
        }
    }

    /// Sends these bytes in one write.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the other side takes bytes");
        self
    }

    /// Sends these bytes in one write, if the other side still takes any.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes.as_ref()),
            Stream::Tls(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
            Stream::Serving(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
        }
    }

    /// The next line, with its end; what there is where the other side closed.
    #[track_caller]
    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return String::from_utf8_lossy(&line).into_owned();
            }
            if self.fill().expect("the other side answers") == 0 {
                return String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned();
            }
        }
    }

    /// The next line of a peer that may go away however it likes: empty where it did.
    pub fn heard(&mut self) -> String {
        while !self.held.contains(&b'\n') {
            if !matches!(self.fill(), Ok(count) if count > 0) {
                return String::new();
            }
        }
        self.line()
    }

    /// Takes a message's text, up to and with the line that ends it (RFC 5321, section 4.1.1.4), from a peer that may go away however it
    /// likes; whether that line came. Quick, so that who measures a gateway does not wait for what is behind it.
    pub fn message_ends(&mut self) -> bool {
        const END: &[u8] = b"\r\n.\r\n";
        // What ended the line with DATA.
        self.held.splice(..0, *b"\r\n");
        loop {
            if let Some(at) = memchr::memmem::find(&self.held, END) {
                self.held.drain(..at + END.len());
                return true;
            }
            let ruled_out = self.held.len().saturating_sub(END.len() - 1);
            self.held.drain(..ruled_out);
            if !matches!(self.fill(), Ok(count) if count > 0) {
                return false;
            }
        }
    }

    /// The next line, which must begin so.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> String {
        let line = self.line();
        assert!(line.starts_with(start), "expected {start:?}…, and there came {line:?}");
        line
    }

    /// Sends a line and returns the next one, which must begin so.
    #[track_caller]
    pub fn ask(&mut self, line: &str, start: &str) -> String {
        self.send(format!("{line}\r\n"));
        self.expect(start)
    }

    /// A whole SMTP reply, whose last line must begin so.
    #[track_caller]
    pub fn reply(&mut self, start: &str) -> String {
        let mut reply = String::new();
        loop {
            let line = self.line();
            let last = line.as_bytes().get(3) != Some(&b'-');
            reply += &line;
            if last {
                assert!(line.starts_with(start), "expected {start:?}…, and there came {reply:?}");
                return reply;
            }
        }
    }

    /// One SMTP transaction, one command at a time, which has to succeed.
    #[track_caller]
    pub fn send_mail(&mut self, from: &str, to: &[impl AsRef<str>], message: &[u8]) {
        self.ask(&format!("MAIL FROM:<{from}>"), "250");
        for to in to {
            self.ask(&format!("RCPT TO:<{}>", to.as_ref()), "250");
        }
        self.ask("DATA", "354");
        self.send(stuffed(message)).reply("250");
    }

    /// Everything up to and with a line that begins so.
    #[track_caller]
    pub fn until(&mut self, start: &str) -> String {
        let mut text = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "expected {start:?}…, and the other side closed after {text:?}");
            text += &line;
            if line.starts_with(start) {
                return text;
            }
        }
    }

    /// Exactly so many bytes.
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.held.len() < count {
            assert!(self.fill().expect("the other side answers") > 0, "closed after {} bytes", self.held.len());
        }
        self.held.drain(..count).collect()
    }

    /// What has come, at least one byte; nothing where the other side closed, however it did.
    pub fn some(&mut self) -> Vec<u8> {
        if self.held.is_empty() {
            let _ = self.fill();
        }
        std::mem::take(&mut self.held)
    }

    /// Waits until the program at the other end of the socket has read all that was sent, as the kernel sees it: what
    /// is sent now comes in another read. Both ends are on this machine and on IPv4.
    #[track_caller]
    pub fn taken(&mut self) -> &mut Self {
        let (ours, theirs) = (self.socket().local_addr().expect("ours"), self.socket().peer_addr().expect("theirs"));
        eventually(|| (unread(theirs, ours) == 0 && unsent(ours, theirs) == 0).then_some(()))
            .expect("the other side reads what was sent");
        self
    }

    /// Whether nothing comes for so long: neither a byte nor the end.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        if !self.held.is_empty() {
            return false;
        }
        self.socket().set_read_timeout(Some(time)).expect("a timeout");
        let filled = self.fill();
        self.socket().set_read_timeout(Some(PATIENCE)).expect("a timeout");
        filled.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Everything until the other side closes, however it does.
    pub fn rest(&mut self) -> Vec<u8> {
        while matches!(self.fill(), Ok(count) if count > 0) {}
        std::mem::take(&mut self.held)
    }

    /// The other side closes now, without another word; and so do we then.
    #[track_caller]
    pub fn closes(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "expected the end, and there came {:?}", String::from_utf8_lossy(&rest));
        self.cut();
    }

    /// Whether the other side, whatever it still says, ends TLS as it should, with close_notify.
    pub fn closes_with_notify(&mut self) -> bool {
        loop {
            match self.fill() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// The other side closes now, without another word, and in TLS with close_notify; and so do we then.
    #[track_caller]
    pub fn closes_in_order(&mut self) {
        let orderly = self.closes_with_notify();
        assert!(self.held.is_empty(), "expected the end, and there came {:?}", String::from_utf8_lossy(&self.held));
        assert!(orderly, "the end of TLS without close_notify");
        self.cut();
    }

    /// Ends our sending side: in TLS by close_notify and FIN.
    pub fn end_sending(&mut self) {
        match &mut self.stream {
            Stream::Plain(_) => {}
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            Stream::Serving(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Cuts the line: a bare FIN, without close_notify.
    pub fn cut(&mut self) {
        let _ = self.socket().shutdown(Shutdown::Both);
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let count = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut bytes)?,
            Stream::Tls(stream) => stream.read(&mut bytes)?,
            Stream::Serving(stream) => stream.read(&mut bytes)?,
        };
        self.held.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// The bytes that wait in the socket from `local` to `remote` to be read by its program.
fn unread(local: SocketAddr, remote: SocketAddr) -> u64 {
    queues(local, remote).map_or(0, |(_, unread)| unread)
}

/// The bytes that the socket from `local` to `remote` has sent and that are not acknowledged.
fn unsent(local: SocketAddr, remote: SocketAddr) -> u64 {
    queues(local, remote).map_or(0, |(unsent, _)| unsent)
}

/// Both queues of a socket of this machine, from the kernel's table; `None` where there is no such socket any more.
fn queues(local: SocketAddr, remote: SocketAddr) -> Option<(u64, u64)> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc");
    let row = format!(" {} {} ", hexadecimal(local), hexadecimal(remote));
    let line = table.lines().find(|line| line.contains(&row))?;
    let (unsent, unread) = line.split_whitespace().nth(4)?.split_once(':')?;
    Some((u64::from_str_radix(unsent, 16).ok()?, u64::from_str_radix(unread, 16).ok()?))
}

fn hexadecimal(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { panic!("{address} is not IPv4") };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}
