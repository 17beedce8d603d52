//! Runs a pure machine over a socket, under its deadlines.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Stage, close::LAST_WORDS};
use crate::proto::{Farewell, Greeter, Input, Outcome, Step, Violation};

/// Why the dialogue before TLS ended without an [`Outcome`].
#[derive(Debug)]
pub enum Stopped {
    /// The client went away.
    Lost,
    /// The client was too slow.
    Timeout,
    /// The client broke a rule.
    Violation(Violation),
    /// The client spoke TLS where the protocol has to begin in the clear.
    TlsToPlainPort,
    /// mailward is stopping.
    Draining,
}

/// When a dialogue has to be somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a whole line, from the last reply.
    pub command: Duration,
    /// For the login, where there is one to come.
    pub login: Option<Instant>,
}

/// What one read before TLS may bring.
const READ: usize = 4096;

/// Sends the greeting.
///
/// # Errors
/// [`Stopped::Lost`], [`Stopped::Timeout`].
pub async fn greet(greeter: &mut dyn Greeter, stream: &mut TcpStream, deadlines: Deadlines) -> Result<(), Stopped> {
    let mut output = Vec::new();
    greeter.greet(&mut output);
    send(stream, &output, deadlines.next()).await
}

/// Reads, steps and replies until the machine has come to something. What it wrote is sent before that is
/// returned.
///
/// # Errors
/// [`Stopped`]; the client was told in its protocol's words where it could be.
pub async fn drive(
    greeter: &mut dyn Greeter,
    input: &mut Input,
    stream: &mut TcpStream,
    deadlines: Deadlines,
    stage: &mut watch::Receiver<Stage>,
) -> Result<Outcome, Stopped> {
    let mut output = Vec::new();
    let mut deadline = deadlines.next();
    loop {
        let step = greeter.step(input, &mut output);
        if !output.is_empty() {
            deadline = deadlines.next();
            send(stream, &output, deadline).await?;
            output.clear();
        }
        match step {
            Ok(Step::Done(outcome)) => return Ok(outcome),
            Err(violation) => return Err(Stopped::Violation(violation)),
            Ok(Step::More) => {}
        }
        let stopped = tokio::select! {
            read = read(stream, input) => match read {
                Ok(()) => continue,
                Err(stopped) => return Err(stopped),
            },
            _ = stage.wait_for(|stage| *stage != Stage::Running) => (Farewell::Draining, Stopped::Draining),
            () = sleep_until(deadline) => (Farewell::Timeout, Stopped::Timeout),
        };
        greeter.farewell(stopped.0, &mut output);
        send(stream, &output, Instant::now() + LAST_WORDS).await?;
        return Err(stopped.1);
    }
}

impl Deadlines {
    fn next(&self) -> Instant {
        let command = Instant::now() + self.command;
        self.login.map_or(command, |login| login.min(command))
    }
}

async fn read(stream: &mut TcpStream, input: &mut Input) -> Result<(), Stopped> {
    let mut bytes = [0; READ];
    let count = stream.read(&mut bytes).await.map_err(|_| Stopped::Lost)?;
    // RFC 8446 §5.1: a handshake record; no command begins with this byte.
    if input.peek().is_empty() && bytes[..count].starts_with(&[0x16, 0x03]) {
        return Err(Stopped::TlsToPlainPort);
    }
    input.push(&bytes[..count]);
    if count == 0 { Err(Stopped::Lost) } else { Ok(()) }
}

/// Sends `bytes` whole.
///
/// # Errors
/// [`Stopped::Lost`], [`Stopped::Timeout`].
pub async fn send(stream: &mut TcpStream, bytes: &[u8], deadline: Instant) -> Result<(), Stopped> {
    match timeout_at(deadline, stream.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Stopped::Lost),
        Err(_) => Err(Stopped::Timeout),
    }
}
