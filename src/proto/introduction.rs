//! Telling a backend, in its own protocol, who the client is: what is said between its greeting and the client's session.
//!
//! Promises that the session begins only once the backend has agreed, that each of its answers is taken whole and alone,
//! and that of the dialogue nothing reaches the client but the greeting that is in force after it.

use super::{Complaint, Connection, Input, Protocol, Violation, imap, smtp};

/// The dialogue, from the client's side.
#[derive(Debug)]
pub enum Introduction {
    /// `XCLIENT`, in SMTP and LMTP.
    Xclient(smtp::Xclient),
    /// `ID`, in IMAP.
    Id(imap::Identification),
}

/// What an [`Introduction`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Introduced {
    /// More of the backend's bytes are needed.
    More,
    /// The backend knows, and this is its greeting for the client: it may as well refuse it.
    Done(Vec<u8>),
    /// The backend does not take mailward's word.
    Refused(Complaint),
}

impl Introduction {
    /// By XCLIENT, with mailward calling itself `hostname` (`server.hostname`).
    #[must_use]
    pub fn by_xclient(protocol: Protocol, hostname: &str, client: &Connection<'_>) -> Self {
        Self::Xclient(smtp::Xclient::new(protocol, hostname, client))
    }

    /// By ID.
    #[must_use]
    pub fn by_id(client: &Connection<'_>) -> Self {
        Self::Id(imap::Identification::new(client))
    }

    /// Takes the backend's whole greeting and writes what is said first to `output`. A greeting that does not welcome
    /// anybody is what it comes to.
    ///
    /// # Errors
    /// [`Violation::Backend`] where it is none.
    pub fn begin(&mut self, greeting: Vec<u8>, output: &mut Vec<u8>) -> Result<Introduced, Violation> {
        match self {
            Self::Xclient(xclient) => xclient.begin(greeting, output),
            Self::Id(identification) => identification.begin(greeting, output),
        }
    }

    /// Uses up the answer in `input` and writes what is said next to `output`.
    ///
    /// # Errors
    /// [`Violation::Backend`] where the backend breaks its protocol, or says more than it was asked.
    pub fn step(&mut self, input: &mut Input, output: &mut Vec<u8>) -> Result<Introduced, Violation> {
        match self {
            Self::Xclient(xclient) => xclient.step(input, output),
            Self::Id(identification) => identification.step(input),
        }
    }
}
