//! Asking the running process.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Reply, Request};

/// How long to wait for the reply: longer than the process takes for one.
const PATIENCE: Duration = Duration::from_secs(90);

/// The longest reply, in bytes: a hundred thousand certificates.
const LONGEST: u64 = 256 << 20;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there to ask.
    #[error("no mailward runs that answers at {}", path.display())]
    NotRunning {
        /// The control socket.
        path: PathBuf,
    },
    /// The socket is not for us, or the conversation broke off.
    #[error("{}: {source}", path.display())]
    Io {
        /// The control socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It came, and is none.
    #[error("{}: the reply makes no sense: {source}", path.display())]
    NoReply {
        /// The control socket.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Asks the process whose control socket is at `path`.
///
/// # Errors
/// [`AskError`].
pub fn ask(path: &Path, request: &Request) -> Result<Reply, AskError> {
    let line = converse(path, request).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path: path.to_owned() },
        _ => AskError::Io { path: path.to_owned(), source },
    })?;
    serde_json::from_slice(&line).map_err(|source| AskError::NoReply { path: path.to_owned(), source })
}

fn converse(path: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = Vec::new();
    BufReader::new(stream).take(LONGEST).read_until(b'\n', &mut reply)?;
    Ok(reply)
}
