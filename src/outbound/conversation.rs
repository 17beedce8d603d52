//! A conversation with a recipient's server over a socket: the machine of `proto::smtp::Remote`, its bytes, and a limit for each wait.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Instant, timeout, timeout_at},
};

use super::times::{FAREWELL, limit};
use crate::{
    config::QueueTimeouts,
    net::connect::BackendStream,
    policy::strategy::LastError,
    proto::{
        Input,
        smtp::{
            Remote,
            remote::{Asked, Breach, Event, Settings},
        },
    },
    tls::why_broken,
};

/// The most that is read at once.
const READ: usize = 4096;

/// How much of a message is gathered before it is written.
const GATHERED: usize = 64 * 1024;

/// One conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// What is said.
    pub(crate) remote: Remote,
    stream: BackendStream,
    input: Input,
    output: Vec<u8>,
    times: QueueTimeouts,
    tls_timeout: Duration,
}

/// Why a conversation has come to an end that it should not have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The connection was lost, or TLS has failed on it.
    #[error("{}", why_broken(.0))]
    Lost(io::Error),
    /// The server ended it.
    #[error("the server has closed the connection{}", while_waiting(*.0))]
    Closed(Option<Asked>),
    /// The server did not answer, or did not take what was sent.
    #[error("no answer within {} s{}", .1.as_secs_f32(), while_waiting(*.0))]
    Late(Option<Asked>, Duration),
    /// What the server says breaks the protocol.
    #[error("{0}")]
    Breach(Breach),
}

fn while_waiting(asked: Option<Asked>) -> String {
    asked.map(|asked| format!(", and {asked} was to come")).unwrap_or_default()
}

impl Broken {
    /// What that means for the next attempt.
    pub(super) const fn last_error(&self) -> LastError {
        match self {
            Self::Late(..) => LastError::Timeout,
            Self::Breach(_) => LastError::UnexpectedReply,
            Self::Lost(_) | Self::Closed(_) => LastError::Io,
        }
    }

    /// Whether TLS has failed, as opposed to the connection below it.
    pub(super) fn is_of_tls(&self) -> bool {
        matches!(self, Self::Lost(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()))
    }
}

impl Conversation {
    /// A conversation that begins with the server's greeting. `tls_timeout` is for the answer to STARTTLS.
    pub(super) fn new(stream: BackendStream, settings: Settings, times: QueueTimeouts, tls_timeout: Duration) -> Self {
        let (remote, input, output) = (Remote::new(settings), Input::new(), Vec::new());
        Self { remote, stream, input, output, times, tls_timeout }
    }

    /// Has the machine say something; it goes out with the next wait.
    pub(super) fn say<T>(&mut self, say: impl FnOnce(&mut Remote, &mut Vec<u8>) -> T) -> T {
        say(&mut self.remote, &mut self.output)
    }

    /// Sends what there is to say, and waits until the server's answers come to something. Each answer has a limit of its own.
    ///
    /// # Errors
    /// [`Broken`], with which the conversation is over.
    pub(super) async fn next(&mut self) -> Result<Event, Broken> {
        let mut asked = self.remote.awaits();
        let mut deadline = Instant::now() + self.limit();
        loop {
            let event = self.remote.step(&mut self.input, &mut self.output).map_err(Broken::Breach)?;
            if let Some(event) = event {
                return Ok(event);
            }
            if self.remote.awaits() != asked {
                asked = self.remote.awaits();
                deadline = Instant::now() + self.limit();
            }
            match timeout_at(deadline, self.exchange()).await {
                Ok(done) => done?,
                Err(_) => return Err(Broken::Late(asked, self.limit())),
            }
        }
    }

    fn limit(&self) -> Duration {
        self.remote.awaits().map_or(self.times.greeting, |asked| limit(&self.times, asked, self.tls_timeout))
    }

    /// Writes what there is, and reads some.
    async fn exchange(&mut self) -> Result<(), Broken> {
        self.flush().await.map_err(Broken::Lost)?;
        let mut bytes = [0; READ];
        let count = self.stream.read(&mut bytes).await.map_err(Broken::Lost)?;
        self.hear(&bytes[..count])
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.input.push(bytes);
        if bytes.is_empty() { Err(Broken::Closed(self.remote.awaits())) } else { Ok(()) }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        self.stream.flush().await
    }

    /// Sends octets of the message. A server may end it in the middle: what it says then is returned.
    ///
    /// # Errors
    /// [`Broken`]; the server does not have the message.
    pub(super) async fn carry(&mut self, octets: &[u8]) -> Result<Option<Event>, Broken> {
        self.remote.message(octets, &mut self.output);
        if self.output.len() < GATHERED {
            return Ok(None);
        }
        self.drain().await
    }

    /// Ends the message, of which nothing is sent any more if the server has said something meanwhile: [`Conversation::next`] is the
    /// answer.
    ///
    /// # Errors
    /// [`Broken`]: the server does not have the message.
    pub(super) async fn finish(&mut self) -> Result<Option<Event>, Broken> {
        if let Some(event) = self.overhear()? {
            return Ok(Some(event));
        }
        self.remote.end(&mut self.output);
        Ok(None)
    }

    /// What the server has said, without waiting for it.
    fn overhear(&mut self) -> Result<Option<Event>, Broken> {
        let (mut bytes, mut cx) = ([0; READ], Context::from_waker(Waker::noop()));
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer) {
            Poll::Pending => Ok(None),
            Poll::Ready(Err(error)) => Err(Broken::Lost(error)),
            Poll::Ready(Ok(())) => self.interrupted_by(buffer.filled()),
        }
    }

    /// What it comes to that the server speaks in the middle of the message.
    fn interrupted_by(&mut self, bytes: &[u8]) -> Result<Option<Event>, Broken> {
        self.hear(bytes)?;
        let mut unused = Vec::new();
        self.remote.step(&mut self.input, &mut unused).map_err(Broken::Breach)
    }

    /// Writes what is gathered, listening all the while: a server that does not want the rest says so and closes, and what it has said would
    /// be lost with what is written then.
    async fn drain(&mut self) -> Result<Option<Event>, Broken> {
        let mut written = 0;
        while written < self.output.len() {
            let mut bytes = [0; READ];
            let moved = timeout(self.times.block, poll_fn(|cx| self.poll_exchange(cx, written, &mut bytes)));
            match moved.await {
                Err(_) => return Err(Broken::Late(None, self.times.block)),
                Ok(Err(error)) => return Err(Broken::Lost(error)),
                Ok(Ok(Moved::Out(count))) => written += count,
                Ok(Ok(Moved::In(count))) => {
                    let event = self.interrupted_by(&bytes[..count])?;
                    if event.is_some() {
                        return Ok(event);
                    }
                }
            }
        }
        self.output.clear();
        Ok(None)
    }

    fn poll_exchange(&mut self, cx: &mut Context<'_>, from: usize, bytes: &mut [u8]) -> Poll<io::Result<Moved>> {
        let mut buffer = ReadBuf::new(bytes);
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            return Poll::Ready(read.map(|()| Moved::In(buffer.filled().len())));
        }
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output[from..]))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(Moved::Out(count)))
    }

    /// Whether the server has said or done nothing since it was last heard: otherwise it is not to be relied upon.
    pub(super) fn is_quiet(&mut self) -> bool {
        matches!(self.overhear(), Ok(None)) && self.input.peek().is_empty()
    }

    /// Goes on inside TLS, on the stream that `shake` makes of this one. Nothing that came before counts any more; what is to be said
    /// next is [`Remote::secured`].
    ///
    /// # Errors
    /// What `shake` says.
    pub(super) async fn secure<E>(
        self,
        shake: impl AsyncFnOnce(BackendStream) -> Result<BackendStream, E>,
    ) -> Result<Self, E> {
        let stream = shake(self.stream).await?;
        Ok(Self { stream, input: Input::new(), ..self })
    }

    /// Takes leave of the server.
    pub(crate) async fn leave(mut self) {
        let farewell = timeout(FAREWELL, async {
            self.remote.quit(&mut self.output);
            // What comes of it changes nothing.
            let _ = self.flush().await;
            let _ = self.stream.read(&mut [0; READ]).await;
            let _ = self.stream.shutdown().await;
        });
        let _ = farewell.await;
    }
}

/// Bytes that went somewhere.
enum Moved {
    In(usize),
    Out(usize),
}
