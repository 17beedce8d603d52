//! The contract of the machines inside TLS: what stands between client and backend (spec §4.2).

use super::{Complaint, Ending, Farewell, Opening, smtp};

/// What stands between a client and the backend, inside TLS or in permitted plaintext.
///
/// The caller shows each side's bytes to [`Self::client`] and [`Self::backend`], front first, until the step
/// says [`Flow::More`] or [`Flow::Wait`]; a `Wait` of one side is shown again after any step of the other.
pub trait Filter {
    /// Takes the backend's whole greeting (as [`super::greeting_end`] found it), once, before anything else.
    /// Answers [`Flow::Consume`] of all of it; [`Flow::Cut`] of all of it where the backend refused and the
    /// client is still to be told in reply to its command (SMTP, LMTP); or [`Flow::End`].
    fn greeting(&mut self, greeting: &[u8], wire: &mut Wire) -> Flow;

    /// Begins every message with a trace of the session, from before the greeting on. Only SMTP and LMTP have messages.
    fn trace(&mut self, _trace: smtp::Trace) {}

    /// Looks at the client's bytes (never empty).
    fn client(&mut self, input: &[u8], wire: &mut Wire) -> Flow;

    /// Looks at the backend's bytes (never empty).
    fn backend(&mut self, input: &[u8], wire: &mut Wire) -> Flow;

    /// The client ended its sending side. `true`: the backend may be told by a half-close; `false`: it was
    /// in the middle of something (a body, a literal), and the backend's connection is to be cut instead.
    fn client_ended(&mut self) -> bool;

    /// The backend is gone. Writes what the client is owed and answers [`Flow::End`], or [`Flow::More`] where
    /// the rest of a body is first to be read and discarded: then only [`Self::client`] is called on, until it
    /// ends the session.
    fn backend_lost(&mut self, wire: &mut Wire) -> Flow;

    /// Writes the protocol's words for `farewell`, if the session is at a point where they can be said
    /// without being taken for something else; says whether it was.
    fn farewell(&mut self, farewell: Farewell, wire: &mut Wire) -> bool;

    /// What the session is waiting for.
    fn phase(&self) -> Phase;

    /// Whether the login that `timeout.login` waits for is still to come.
    fn awaits_login(&self) -> bool {
        !self.steps_aside()
    }

    /// Whether this filter has seen all it wants: both directions are copied blindly from here, beginning
    /// with what it has not used up, and it is dropped.
    fn steps_aside(&self) -> bool;

    /// The user named in the accepted login, as the client wrote it: unescaped peer text.
    fn user(&self) -> Option<&str>;

    /// The login that the backend has refused since this was last asked, if it was for the credentials: not where it wanted
    /// TLS, was not able to look, or the client gave up.
    fn refused_login(&mut self) -> Option<RefusedLogin> {
        None
    }

    /// Something the operator must know about the backend, said once (spec §4.2, last paragraph).
    fn complaint(&mut self) -> Option<Complaint>;
}

/// A login that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedLogin {
    /// Whose it was to be, as the client wrote it: unescaped peer text; `None` where the mechanism names nobody.
    pub user: Option<String>,
}

/// Where a [`Filter`] puts the bytes that it writes itself.
#[derive(Debug, Default)]
pub struct Wire {
    /// To the client, before anything that passes unchanged in the same step.
    pub to_client: Vec<u8>,
    /// To the backend, before anything that passes unchanged in the same step.
    pub to_backend: Vec<u8>,
}

/// What becomes of the front of the bytes that a [`Filter`] was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The first bytes (at least one) go on to the other side unchanged, behind what the step wrote.
    Pass(usize),
    /// The first bytes (at least one) are used up; what stands for them, if anything, was written.
    Consume(usize),
    /// The decision needs more bytes than these. Never said of more bytes than the limit in force, so that
    /// what is held is bounded.
    More,
    /// Not looked at before the other side has said something: show the same bytes again after that.
    Wait,
    /// The first bytes (maybe none) are used up, and the backend's connection is cut at once as it stands:
    /// nothing more goes to it, no end of anything. From here only [`Filter::client`] is called, until it ends
    /// the session, also where nothing is used up: it looks at the same bytes with other eyes.
    Cut(usize),
    /// The session ends when what was written is sent.
    End(Ending),
}

impl Flow {
    /// The first bytes are used up, and maybe the session came to its end by them.
    pub(super) fn used(length: usize, taken: Result<(), Ending>) -> Self {
        taken.map_or_else(Self::End, |()| Self::Consume(length))
    }
}

/// What a client is sent of the backend's greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The greeting, filtered: the client has had none (implicit TLS).
    Greeting,
    /// Nothing: mailward has greeted (after STARTTLS). ManageSieve repeats its list there (RFC 5804 §2.2).
    Greeted,
    /// Nothing: the client goes on in plaintext, and the backend is told what it said.
    Opened(Opening),
}

/// What a session is waiting for; its clock is chosen by it (spec §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A whole line from the client: `timeout.command` from the last reply, however the bytes drip.
    Command,
    /// The backend's reply, or the next bytes of a body or literal: `timeout.idle`.
    Transfer,
    /// The backend's answer to the end of a message: `timeout.data-end`.
    DataEnd,
}
