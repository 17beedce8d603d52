//! The contract of the machines before TLS: a whole, tiny server (spec §4.1).

use super::{Emptied, Farewell, Input, Violation, smtp};

/// A server's side of the dialogue before TLS.
pub trait Greeter {
    /// Writes the greeting, once, before anything is read.
    fn greet(&mut self, output: &mut Vec<u8>);

    /// Uses up as many whole commands of `input` as it can and writes the replies to `output`.
    ///
    /// # Errors
    /// A [`Violation`] ends the session once `output` (which then holds the protocol's last words) is sent.
    fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Step, Violation>;

    /// Continues after [`Outcome::AskExtensions`] with what the backend is known to offer
    /// (`None`: it could not be asked). Only SMTP and LMTP ask.
    fn learn(&mut self, _offered: Option<smtp::Extensions>, _output: &mut Vec<u8>) {}

    /// Writes the protocol's words for `farewell`.
    fn farewell(&self, farewell: Farewell, output: &mut Vec<u8>);
}

/// What a [`Greeter`] came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing decided: more bytes are needed.
    More,
    /// The dialogue came to something. `output` is sent first.
    Done(Outcome),
}

/// How the dialogue before TLS goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client asked for TLS, its request is granted in `output`, and it sent nothing behind it.
    StartTls(Emptied),
    /// The client goes on without TLS, where the listener permits it. What it sent, from the first command
    /// that needs the backend on, is still in the input.
    Plaintext(Opening),
    /// The reply to EHLO waits for what the backend offers: [`Greeter::learn`], then [`Greeter::step`] again.
    AskExtensions,
    /// The client took its leave (QUIT, LOGOUT) and was answered.
    Closed,
}

/// What a client said in plaintext that the backend has to be told (spec §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// SMTP and LMTP: the greeting command as it is to be sent on, without its line end, and what the client
    /// was offered in reply.
    Hello {
        /// `EHLO name`, `HELO name` or `LHLO name`; `None` where the client sent MAIL without one.
        command: Option<Vec<u8>>,
        /// The extensions that stood in our reply.
        offered: smtp::Extensions,
    },
    /// IMAP, POP3 and ManageSieve: nothing; the client's next command is in the input.
    Nothing,
}
