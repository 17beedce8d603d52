//! A new binary takes over (spec §5): the very same listening sockets, all workers', go from the old process to the new one,
//! and the old one accepts until the new one does. No client is refused or reset, and where the new one cannot start the old
//! one goes on as if nothing had been asked.
//!
//! The new process is a child of the old one, and its standard input is one end of a pair of sockets. By it come
//! the listening sockets (SCM_RIGHTS, unix(7)), a message for each run of them, and an empty message behind the last. Back
//! goes [`READY`] when the new process accepts; and when the old one has stopped accepting, it closes its end.

use std::{
    env,
    ffi::OsString,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    sockopt::{Timeout, set_socket_timeout},
};

use super::sockets::{Inherited, Sockets};
use crate::snapshot::Bind;

/// What makes a process take over from the one that started it.
const TAKE_OVER: &str = "--take-over";

/// What the new process says when it accepts.
const READY: &[u8] = b"ready";

/// Sockets in one message; the kernel takes 253 at most.
const RUN: usize = 64;

/// The longest message, in bytes: an address, and perhaps a listener's name.
const LONGEST: usize = 4096;

/// How long the new process may take until it accepts: it reads every certificate.
const START: Duration = Duration::from_secs(60);

/// How long either side may take for anything else.
const STEP: Duration = Duration::from_secs(10);

/// The program that SIGUSR2 starts: what stands now where this one was started from, under the name that it was called by.
#[must_use]
pub(super) fn program() -> Option<PathBuf> {
    let called = env::args_os().next().map(PathBuf::from).filter(|path| path.components().count() > 1);
    // A name without a folder was found in $PATH.
    called.and_then(|path| std::path::absolute(path).ok()).or_else(|| env::current_exe().ok())
}

/// The new process, which accepts.
#[derive(Debug)]
pub(super) struct Successor {
    /// Its process id.
    pub(super) id: u32,
    /// Closed when this process has stopped accepting.
    _channel: OwnedFd,
}

/// Starts `program` with this process's arguments, hands it `sockets`, and waits until it accepts. Blocks.
///
/// # Errors
/// Why it does not; it is gone then.
pub(super) fn hand_over(program: &Path, sockets: &Sockets) -> io::Result<Successor> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let mut child = Command::new(program)
        .args(arguments())
        .arg(TAKE_OVER)
        .stdin(Stdio::from(theirs))
        // They are meant for this process.
        .env_remove("WATCHDOG_PID")
        .spawn()?;
    match introduce(&ours, sockets) {
        Ok(()) => Ok(Successor { id: child.id(), _channel: ours }),
        Err(error) => Err(give_up(&mut child, error)),
    }
}

fn arguments() -> impl Iterator<Item = OsString> {
    env::args_os().skip(1).filter(|argument| argument != TAKE_OVER)
}

fn introduce(channel: &OwnedFd, sockets: &Sockets) -> io::Result<()> {
    set_socket_timeout(channel, Timeout::Send, Some(STEP))?;
    for (bind, sockets) in sockets {
        let name = serde_json::to_vec(bind)?;
        for run in sockets.chunks(RUN) {
            let run: Vec<_> = run.iter().map(AsFd::as_fd).collect();
            send(channel, &name, &run)?;
        }
    }
    send(channel, &[], &[])?;
    set_socket_timeout(channel, Timeout::Recv, Some(START))?;
    match receive(channel, &mut Vec::new()) {
        Ok(word) if word == READY => Ok(()),
        Ok(_) => {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before it was ready; its own log says why"))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("it was not ready within {} s", START.as_secs())))
        }
        Err(error) => Err(error),
    }
}

/// Has the child gone, and says how it ended, where it did by itself.
fn give_up(child: &mut Child, error: io::Error) -> io::Error {
    // One that is gone already cannot be killed, and is waited for all the same.
    let _ = child.kill();
    match child.wait() {
        Ok(status) => io::Error::new(error.kind(), format!("{error} ({status})")),
        Err(_) => error,
    }
}

/// The old process, as the new one sees it.
#[derive(Debug)]
pub(super) struct Predecessor {
    channel: OwnedFd,
}

impl Predecessor {
    /// Takes the sockets that wait at the standard input.
    ///
    /// # Errors
    /// Where nobody hands over there.
    pub(super) fn meet() -> io::Result<(Self, Inherited)> {
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        set_socket_timeout(&channel, Timeout::Recv, Some(STEP))?;
        let mut inherited = Inherited::default();
        loop {
            let mut sockets = Vec::new();
            let name = receive(&channel, &mut sockets)?;
            if name.is_empty() {
                return Ok((Self { channel }, inherited));
            }
            let bind: Bind = serde_json::from_slice(&name)?;
            inherited.add(bind, sockets.into_iter().map(TcpListener::from).collect());
        }
    }

    /// Says that this process accepts, and waits until the old one does no more.
    pub(super) fn relieve(self) {
        let told = send(&self.channel, READY, &[]).and_then(|()| receive(&self.channel, &mut Vec::new()));
        if let Err(error) = told {
            tracing::warn!(%error, "the process before this one may still be accepting");
        }
    }
}

fn send(channel: &OwnedFd, bytes: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RUN))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // An end that is closed is an error, not a signal.
    sendmsg(channel, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// One message; an empty one also stands for the other end being closed.
fn receive(channel: &OwnedFd, sockets: &mut Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RUN))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(channel, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("sockets were lost on the way: too few file descriptors"));
    }
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            sockets.extend(passed);
        }
    }
    bytes.truncate(received.bytes);
    Ok(bytes)
}
