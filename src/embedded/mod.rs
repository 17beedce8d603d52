//! The embedded mail store: `address = "embedded"` in place of a real backend (spec §2).
//!
//! A newcomer sends a message with swaks or curl and reads it in a real mail program, with nothing installed. It
//! is the plaintext backend behind mailward's own TLS, reached inside the process, and lives in memory alone.
//!
//! Promises:
//! - **One account per local part.** Mail to `ann@example.org` and to `ann@anything.else` lands in the account
//!   `ann`; `ann` and `ann@anything` with any password (or none) open it. Case does not matter. An account is made
//!   by the first RCPT or the first login.
//! - **A message comes back byte for byte**: SMTP takes out the dot stuffing and nothing else, and adds nothing
//!   (no `Received`, no `Return-Path`). POP3 alone adds a line end where the last line has none.
//! - **Everything is bounded** ([`Capacity`]): what does not fit is 452 4.3.1, 552 5.3.4, `NO [OVERQUOTA]`.
//! - SMTP (RFC 5321) with PIPELINING, SIZE, 8BITMIME, SMTPUTF8, CHUNKING, ENHANCEDSTATUSCODES, AUTH; LMTP
//!   (RFC 2033); POP3 (RFC 1939, 2449); IMAP4rev1 (RFC 3501) with LITERAL+, SASL-IR, ID, IDLE, NAMESPACE, UIDPLUS,
//!   UNSELECT and MOVE.
//!
//! Refuses: to relay (every recipient is local), NUL in a message (IMAP4rev1 cannot carry it), ManageSieve.

mod account;
mod budget;
mod flags;
mod folder;
mod folders;
mod imap;
mod keywords;
mod login;
mod message;
mod pop3;
mod smtp;
mod store;
mod stream;
pub mod welcome;

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

pub use store::{Capacity, Store};
use stream::Stream;

use crate::proto::Protocol;

/// Serves one session, from the greeting to its end, on `stream`.
///
/// # Errors
/// Those of `stream`. That the client left is none.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(store: Store, protocol: Protocol, stream: S) -> io::Result<()> {
    let stream = Stream::new(stream);
    let served = match protocol {
        Protocol::Smtp | Protocol::Submission => smtp::serve(store, smtp::Dialect::Smtp, stream).await,
        Protocol::Lmtp => smtp::serve(store, smtp::Dialect::Lmtp, stream).await,
        Protocol::Imap => imap::serve(store, stream).await,
        Protocol::Pop3 => pop3::serve(store, stream).await,
        Protocol::ManageSieve => refuse_sieve(stream).await,
    };
    served.or_else(|error| if is_departure(&error) { Ok(()) } else { Err(error) })
}

/// The configuration refuses this combination; should it come here all the same, it is said in RFC 5804's words.
async fn refuse_sieve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: Stream<S>) -> io::Result<()> {
    stream.say("BYE \"the embedded mail store keeps no Sieve scripts\"");
    stream.close().await
}

/// The other side went away without a farewell.
fn is_departure(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
