//! IDLE (RFC 2177): news as they come, until the client says DONE.

use std::io;

use imap_codec::imap_types::response::{CommandContinuationRequest, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Session, State, answer::Answer, view::Numbering};
use crate::embedded::stream::Heard;

const DONE_LIMIT: usize = 64;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) async fn idle(&mut self) -> io::Result<Answer> {
        if let Ok(request) = CommandContinuationRequest::basic(None, "idling, say DONE to go on") {
            self.respond(Response::CommandContinuationRequest(request)).await?;
        }
        loop {
            self.catch_up(Numbering::MayChange).await?;
            // What is dropped below must have nothing left to send.
            self.stream.flush().await?;
            if let Some(answer) = self.wait().await? {
                return Ok(answer);
            }
        }
    }

    /// Waits for a change (`None`), or for the end.
    async fn wait(&mut self) -> io::Result<Option<Answer>> {
        let (State::Authenticated(user) | State::Selected(user, _)) = &mut self.state else {
            return Ok(Some(Answer::bad("log in first")));
        };
        tokio::select! {
            // The account, which the session holds, holds the sender: there is always one.
            _ = user.changes.changed() => Ok(None),
            heard = self.stream.line(DONE_LIMIT) => match heard? {
                Heard::Line(line) if line.eq_ignore_ascii_case(b"DONE") => Ok(Some(Answer::ok("idled"))),
                Heard::Line(_) | Heard::Bad => Ok(Some(Answer::bad("DONE is what ends IDLE"))),
                Heard::TooLong | Heard::Ended => Err(io::ErrorKind::UnexpectedEof.into()),
            },
        }
    }
}
