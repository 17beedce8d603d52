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
        // A client that does not take the last words makes no other end of it.
        let _ = send(stream, &output, Instant::now() + LAST_WORDS).await;
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Has more to say at the end than a connection holds.
    struct Verbose;

    impl Greeter for Verbose {
        fn greet(&mut self, _: &mut Vec<u8>) {}

        fn step(&mut self, _: &mut Input, _: &mut Vec<u8>) -> Result<Step, Violation> {
            Ok(Step::More)
        }

        fn farewell(&self, _: Farewell, output: &mut Vec<u8>) {
            output.resize(64 << 20, b'x');
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_called_what_it_is_though_the_client_takes_no_last_words() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let deadlines = Deadlines { command: Duration::from_secs(60), login: None };
        let (_sender, mut draining) = watch::channel(Stage::Draining);
        let end = drive(&mut Verbose, &mut Input::new(), &mut stream, deadlines, &mut draining).await;
        assert!(matches!(end, Err(Stopped::Draining)), "{end:?}");
        let (_sender, mut running) = watch::channel(Stage::Running);
        let end = drive(&mut Verbose, &mut Input::new(), &mut stream, deadlines, &mut running).await;
        assert!(matches!(end, Err(Stopped::Timeout)), "{end:?}");
    }
}
