//! The mail server behind every proxy: as little IMAP and SMTP as a session needs, and what nginx asks before it
//! connects.
//!
//! It runs in the process of the load, on a thread of its own. Nothing is stored: a download is made up, and a message
//! is read to its end and thrown away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

/// What a download is made of.
static NOTHING: [u8; 256 * 1024] = [b'x'; 256 * 1024];

/// What is read of a message at once.
const MESSAGE_BUFFER: usize = 64 * 1024;

/// How long it may take until the end of every session has come through.
const SETTLING: Duration = Duration::from_secs(20);

/// Connections that wait to be accepted, at most.
const BACKLOG: u32 = 4096;

/// A running backend. It runs as long as the process does.
#[derive(Debug)]
pub struct Backend {
    /// Where it speaks IMAP.
    pub imap: SocketAddr,
    /// Where it speaks SMTP.
    pub smtp: SocketAddr,
    /// Where it answers nginx's `auth_http`.
    pub auth_http: SocketAddr,
    open: Arc<AtomicUsize>,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug)]
enum Speaks {
    Imap,
    Smtp,
    /// Tells nginx where the two others are.
    AuthHttp {
        imap: SocketAddr,
        smtp: SocketAddr,
    },
}

impl Backend {
    /// Binds three ports of loopback and serves them.
    ///
    /// # Errors
    /// Those of binding and of starting a thread.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let open = Arc::new(AtomicUsize::new(0));
        let imap = listen(&runtime, Speaks::Imap, &open)?;
        let smtp = listen(&runtime, Speaks::Smtp, &open)?;
        let auth_http = listen(&runtime, Speaks::AuthHttp { imap, smtp }, &Arc::default())?;
        let serve = move || runtime.block_on(std::future::pending::<()>());
        thread::Builder::new().name("backend".to_owned()).spawn(serve)?;
        Ok(Self { imap, smtp, auth_http, open })
    }

    /// Waits until just so many sessions are open: the end of a session is part of its cost.
    ///
    /// # Errors
    /// When there are more or fewer to the last.
    pub async fn settles(&self, expected: usize) -> Result<(), String> {
        let deadline = Instant::now() + SETTLING;
        while self.open.load(SeqCst) != expected {
            if Instant::now() > deadline {
                return Err(format!("{} sessions at the backend in place of {expected}", self.open.load(SeqCst)));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

fn listen(runtime: &Runtime, speaks: Speaks, open: &Arc<AtomicUsize>) -> io::Result<SocketAddr> {
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    runtime.spawn(accept(listener, speaks, Arc::clone(open)));
    Ok(address)
}

async fn accept(listener: TcpListener, speaks: Speaks, open: Arc<AtomicUsize>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(session(stream, speaks, Arc::clone(&open)))),
            Err(error) => {
                eprintln!("tests/bench/run: the backend cannot accept: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// How a session ends is its client's business.
async fn session(stream: TcpStream, speaks: Speaks, open: Arc<AtomicUsize>) {
    open.fetch_add(1, SeqCst);
    let _ = stream.set_nodelay(true);
    let peer = Peer { stream, input: Vec::new() };
    let _ = match speaks {
        Speaks::Imap => imap(peer).await,
        Speaks::Smtp => smtp(peer).await,
        Speaks::AuthHttp { imap, smtp } => auth_http(peer, imap, smtp).await,
    };
    open.fetch_sub(1, SeqCst);
}

/// A proxy, as its backend sees it.
#[derive(Debug)]
struct Peer {
    stream: TcpStream,
    /// What was read and not taken yet.
    input: Vec<u8>,
}

impl Peer {
    async fn say(&mut self, words: &str) -> io::Result<()> {
        self.stream.write_all(words.as_bytes()).await
    }

    /// The next line without its end; `None` where there is none to come.
    async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&self.input[..end]).trim_end().to_owned();
                self.input.drain(..=end);
                return Ok(Some(line));
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// A whole IMAP command. Its literals are asked for, and stand in it without their length: nginx logs in by them.
    async fn command(&mut self) -> io::Result<Option<String>> {
        let Some(mut command) = self.line().await? else { return Ok(None) };
        while let Some(length) = literal(&command) {
            self.say("+ go on\r\n").await?;
            while self.input.len() < length {
                if self.stream.read_buf(&mut self.input).await? == 0 {
                    return Ok(None);
                }
            }
            command.push_str(&String::from_utf8_lossy(&self.input.drain(..length).collect::<Vec<_>>()));
            let Some(rest) = self.line().await? else { return Ok(None) };
            command.push_str(&rest);
        }
        Ok(Some(command))
    }

    /// Reads up to the end of a message. The load sends nothing behind it before it is answered.
    async fn message(&mut self) -> io::Result<()> {
        const END: &[u8] = b"\r\n.\r\n";
        let mut buffer = vec![0; MESSAGE_BUFFER];
        let mut last = std::mem::take(&mut self.input);
        while !last.ends_with(END) {
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            last.extend_from_slice(&buffer[count.saturating_sub(END.len())..count]);
            last.drain(..last.len().saturating_sub(END.len()));
        }
        Ok(())
    }
}

/// The length of the literal that a command goes on with.
fn literal(command: &str) -> Option<usize> {
    let (_, length) = command.strip_suffix('}')?.rsplit_once('{')?;
    length.parse().ok()
}

fn word(line: &str, index: usize) -> String {
    line.split_whitespace().nth(index).unwrap_or_default().to_ascii_uppercase()
}

async fn imap(mut peer: Peer) -> io::Result<()> {
    peer.say("* OK [CAPABILITY IMAP4rev1] ready\r\n").await?;
    while let Some(command) = peer.command().await? {
        let tag = command.split_whitespace().next().unwrap_or_default().to_owned();
        match word(&command, 1).as_str() {
            "CAPABILITY" => peer.say(&format!("* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n")).await?,
            "FETCH" => fetch(&mut peer, &tag, word(&command, 2).parse().unwrap_or(0)).await?,
            "LOGOUT" => return peer.say(&format!("* BYE\r\n{tag} OK done\r\n")).await,
            _ => peer.say(&format!("{tag} OK done\r\n")).await?,
        }
    }
    Ok(())
}

/// Answers with a literal of so many bytes.
async fn fetch(peer: &mut Peer, tag: &str, length: usize) -> io::Result<()> {
    peer.say(&format!("* 1 FETCH (BODY[] {{{length}}}\r\n")).await?;
    let mut left = length;
    while left > 0 {
        let count = left.min(NOTHING.len());
        peer.stream.write_all(&NOTHING[..count]).await?;
        left -= count;
    }
    peer.say(&format!(")\r\n{tag} OK done\r\n")).await
}

async fn smtp(mut peer: Peer) -> io::Result<()> {
    peer.say("220 backend.example ESMTP\r\n").await?;
    while let Some(command) = peer.line().await? {
        match word(&command, 0).as_str() {
            "EHLO" => peer.say("250-backend.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n").await?,
            "DATA" => {
                peer.say("354 go on\r\n").await?;
                peer.message().await?;
                peer.say("250 2.6.0 taken\r\n").await?;
            }
            "QUIT" => return peer.say("221 2.0.0 bye\r\n").await,
            _ => peer.say("250 2.0.0 done\r\n").await?,
        }
    }
    Ok(())
}

/// Lets everybody in. nginx asks once for each session, on a connection of its own.
async fn auth_http(mut peer: Peer, imap: SocketAddr, smtp: SocketAddr) -> io::Result<()> {
    let mut server = imap;
    while let Some(header) = peer.line().await? {
        if header.is_empty() {
            break;
        }
        if header.eq_ignore_ascii_case("Auth-Protocol: smtp") {
            server = smtp;
        }
    }
    let (host, port) = (server.ip(), server.port());
    let answer = format!("HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: {host}\r\nAuth-Port: {port}\r\n\r\n");
    peer.say(&answer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_ends_in_a_length_goes_on() {
        assert_eq!(literal("a LOGIN {3}"), Some(3));
        assert_eq!(literal("a LOGIN ann {x}"), None);
        assert_eq!(literal("a NOOP"), None);
    }
}
