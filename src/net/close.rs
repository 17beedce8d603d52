//! Taking leave of a client so that it gets the last words.

use std::{io, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a client that is being sent away has for taking the last words.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

/// Ends our side (with TLS: close_notify, then FIN), then reads away what the client still sends, for a short while:
/// closing a socket with unread bytes in it would reset the connection and take our last words with it.
pub async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let drained = async {
        stream.shutdown().await?;
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether the client followed is its own affair.
    let _ = timeout(LAST_WORDS, drained).await;
}

/// Closes a connection that nothing is said on, so that nothing stays of it: a reset, where a close in good order would
/// leave the kernel something to remember of each of a flood.
pub fn reset(stream: TcpStream) {
    // Where it cannot be had, it is closed in good order.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Says `words` to a client that there is no place for, and closes. The place is free again at once: whoever waits for it
/// shall be told soon, and a client that is refused before it has said anything loses nothing by a close without ceremony.
pub async fn turn_away<S: AsyncWrite + Unpin>(stream: &mut S, words: &[u8]) {
    let said = timeout(LAST_WORDS, async {
        stream.write_all(words).await?;
        stream.shutdown().await
    });
    let _ = said.await;
}

/// Says `words` and closes.
pub async fn say_last<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, words: &[u8]) {
    let said = timeout(LAST_WORDS, async {
        stream.write_all(words).await?;
        stream.flush().await
    });
    if matches!(said.await, Ok(Ok(()))) {
        close(stream).await;
    }
}
