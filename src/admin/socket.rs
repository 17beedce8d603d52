//! The socket that requests come in by, and the conversations over it.

use std::{
    fs::{self, DirBuilder, Permissions},
    future::Future,
    io,
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixStream as BlockingStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, SockAddr, Type};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{Reply, Request};

/// How long a peer may take to send its request, and again to take the reply.
const PEER: Duration = Duration::from_secs(10);

/// How long the answer to a request may take.
const ANSWER: Duration = Duration::from_secs(60);

/// The longest request, in bytes.
const LONGEST: u64 = 4096;

/// How many peers are heard at once. The next one waits.
const AT_ONCE: usize = 16;

/// How long to wait where a connection cannot be accepted.
const PAUSE: Duration = Duration::from_secs(1);

/// How many connections the kernel holds until they are heard.
const BACKLOG: i32 = 64;

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("another mailward answers there")]
    InUse,
    /// Something that is no socket has the name.
    #[error("what is there is no socket")]
    NoSocket,
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The open socket. It is closed, and its name removed, when this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// Device and inode: whoever has put another one in its place keeps that.
    identity: (u64, u64),
    conversations: AbortHandle,
}

impl Socket {
    /// Opens the socket at `path`, in a directory that is made where it is missing, and has requests answered by
    /// `answer`. One that a dead process has left is replaced, and with `replace` that of a living one too, which goes on
    /// without. Needs to be inside a runtime.
    ///
    /// # Errors
    /// [`SocketError`]; nothing is left behind then.
    pub fn open<A, R>(path: &Path, replace: bool, answer: A) -> Result<Self, SocketError>
    where
        A: Fn(Request) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let listener = if replace {
            bind_over(path)?
        } else {
            remove_stale(path)?;
            bind(path)?
        };
        let metadata = fs::symlink_metadata(path)?;
        let conversations = tokio::spawn(listen(UnixListener::from_std(listener)?, answer)).abort_handle();
        Ok(Self { path: path.to_owned(), identity: identity(&metadata), conversations })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.conversations.abort();
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.identity) {
            // One that stays is taken for what it is by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => {
            if !found?.file_type().is_socket() {
                return Err(SocketError::NoSocket);
            }
        }
    }
    match BlockingStream::connect(path) {
        Ok(_) => Err(SocketError::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) => Err(error.into()),
    }
}

fn bind(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before it listens, so that the mode is the first that anybody meets.
    let opened = fs::set_permissions(path, Permissions::from_mode(0o600))
        .and_then(|()| socket.set_nonblocking(true))
        .and_then(|()| socket.listen(BACKLOG));
    if opened.is_err() {
        // What went wrong is told; that the name stays adds nothing.
        let _ = fs::remove_file(path);
    }
    opened.map(|()| socket.into())
}

/// As [`bind`], in the place of what is there: at every moment somebody answers.
fn bind_over(path: &Path) -> Result<std::os::unix::net::UnixListener, SocketError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    remove_stale(new)?;
    let listener = bind(new)?;
    fs::rename(new, path).inspect_err(|_| drop(fs::remove_file(new)))?;
    Ok(listener)
}

async fn listen<A, R>(listener: UnixListener, answer: A)
where
    A: Fn(Request) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(AT_ONCE));
    // It is never closed.
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer.clone();
                tokio::spawn(async move {
                    converse(stream, answer).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted on the control socket");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Hears one request and answers it. Whoever does not get that far is left alone.
async fn converse<A, R>(mut stream: UnixStream, answer: A)
where
    A: Fn(Request) -> R,
    R: Future<Output = Reply>,
{
    let Ok(Ok(line)) = timeout(PEER, read_line(&mut stream)).await else { return };
    let reply = match serde_json::from_slice(&line) {
        Ok(request) => timeout(ANSWER, answer(request)).await.unwrap_or_else(|_| late()),
        Err(error) => Reply::Refused(format!("this is no request that this mailward knows: {error}")),
    };
    let Ok(mut line) = serde_json::to_vec(&reply) else { return };
    line.push(b'\n');
    // Who asked may be gone.
    let _ = timeout(PEER, stream.write_all(&line)).await;
}

async fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream).take(LONGEST).read_until(b'\n', &mut line).await?;
    Ok(line)
}

fn late() -> Reply {
    Reply::Refused(format!("it is not done after {} seconds; the log tells what becomes of it", ANSWER.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{AskError, ask};
    use std::{io::Write, os::unix::net::UnixListener as BlockingListener};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mailward-socket-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("state/control.sock")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    async fn echo(request: Request) -> Reply {
        Reply::Done(format!("{request:?}"))
    }

    async fn asked(path: PathBuf) -> Result<Reply, AskError> {
        tokio::task::spawn_blocking(move || ask(&path, &Request::Drain)).await.unwrap()
    }

    #[tokio::test]
    async fn it_is_for_its_owner_alone_and_gone_when_it_is_dropped() {
        let folder = Folder::new("mode");
        let path = folder.socket();
        let socket = Socket::open(&path, false, echo).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(asked(path.clone()).await.unwrap(), Reply::Done("Drain".to_owned()));
        drop(socket);
        assert!(!path.exists());
        assert!(matches!(asked(path).await, Err(AskError::NotRunning { .. })));
    }

    #[tokio::test]
    async fn a_dead_ones_place_is_taken_and_a_living_ones_and_a_files_are_not() {
        let folder = Folder::new("places");
        let path = folder.socket();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        drop(BlockingListener::bind(&path).unwrap());
        let socket = Socket::open(&path, false, echo).unwrap();
        assert!(matches!(Socket::open(&path, false, echo), Err(SocketError::InUse)));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert!(matches!(Socket::open(&path, false, echo), Err(SocketError::NoSocket)));
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file", "it is another's now");
    }

    #[tokio::test(start_paused = true)]
    async fn silent_peers_keep_others_waiting_no_longer_than_their_time() {
        let folder = Folder::new("silent");
        let path = folder.socket();
        let _socket = Socket::open(&path, false, echo).unwrap();
        let silent: Vec<_> = (0..AT_ONCE).map(|_| BlockingStream::connect(&path).unwrap()).collect();
        let mut peer = UnixStream::connect(&path).await.unwrap();
        peer.write_all(b"\"reload\"\n").await.unwrap();
        let mut reply = String::new();
        peer.read_to_string(&mut reply).await.unwrap();
        assert_eq!(reply, "{\"done\":\"Reload\"}\n");
        drop(silent);
    }

    #[tokio::test]
    async fn junk_is_answered_and_an_endless_line_is_cut() {
        let folder = Folder::new("junk");
        let path = folder.socket();
        let _socket = Socket::open(&path, false, echo).unwrap();
        for junk in [&b"\n"[..], b"\xff\xfe\n", b"{\"acme\":{}}\n", b"\"unban\"\n", &[b'['; 4096]] {
            let mut peer = UnixStream::connect(&path).await.unwrap();
            peer.write_all(junk).await.unwrap();
            let mut reply = String::new();
            peer.read_to_string(&mut reply).await.unwrap();
            assert!(reply.starts_with("{\"refused\":\"this is no request"), "{reply}");
        }
        // On a thread of its own: it is let go in the middle of its line, and not before the socket is served.
        let mut endless = BlockingStream::connect(&path).unwrap();
        let writing = tokio::task::spawn_blocking(move || endless.write_all(&[b' '; 1 << 20]));
        assert!(writing.await.unwrap().is_err());
        assert_eq!(asked(path).await.unwrap(), Reply::Done("Drain".to_owned()));
    }
}
