//! From a connection to a backend that has greeted: in TLS where it is to be, and in clear then only where a strategy lets
//! it go on without (`guide`).

use std::io;

use tokio::{io::AsyncReadExt, time::timeout};
use tokio_rustls::TlsConnector;

use super::{Backend, Encryption, READ, Target, request::Request};
use crate::{
    net::connect::BackendStream,
    proto::{
        self, Complaint,
        upgrade::{Refusal, Stage, Upgraded, greeting_for},
    },
    telemetry::Told,
    tls::{ClientFault, ClientSide},
};

/// Why a connection came to nothing.
pub(super) enum Unopened {
    /// It fell silent, was lost, or cannot be trusted: the reason.
    Failed(String),
    /// No TLS comes about, and it must not be spoken to in clear: the reason, and what to do.
    Unsecured(String),
    /// It answers, and must not be used.
    Unusable(Complaint),
}

/// A connection on which a session can begin, and the whole greeting, with nothing behind it.
pub(super) type Opened = Result<(BackendStream, Vec<u8>), Unopened>;

impl Backend {
    /// Brings a connection to where the session inside it can begin.
    pub(super) async fn open(&self, stream: BackendStream, target: &Target) -> Opened {
        let late = |_| Err(Unopened::Failed(self.too_late_to_greet()));
        let opened = timeout(self.config.greeting_timeout, self.secure_and_greet(stream, target));
        opened.await.unwrap_or_else(late)
    }

    async fn secure_and_greet(&self, stream: BackendStream, target: &Target) -> Opened {
        match &self.encryption {
            Encryption::Never => self.greet(stream).await,
            Encryption::Always(tls) => self.in_tls(tls, stream, target).await,
            // What it takes is much, and most backends are never guided.
            Encryption::Strategy(guide) => Box::pin(self.guided(guide, stream, target)).await,
        }
    }

    async fn in_tls(&self, tls: &ClientSide, mut stream: BackendStream, target: &Target) -> Opened {
        if !tls.implicit {
            self.ask_for_tls(&mut stream).await?;
        }
        let stream = handshake(tls, stream, target).await?;
        if tls.implicit { self.greet(stream).await } else { self.greet_again(stream).await }
    }

    /// The dialogue before TLS.
    async fn ask_for_tls(&self, stream: &mut BackendStream) -> Result<(), Unopened> {
        let mut request = Request::new(self.protocol, &self.settings.hostname);
        loop {
            match request.hear(stream).await? {
                Upgraded::More => {}
                Upgraded::Ready(_) => return Ok(()),
                Upgraded::Refused(refusal) => return Err(Unopened::Unsecured(refused(&refusal).to_string())),
            }
        }
    }

    /// Has it greet.
    pub(super) async fn greet(&self, mut stream: BackendStream) -> Opened {
        let greeting = self.greeting(&mut stream).await?;
        Ok((stream, greeting))
    }

    /// The greeting inside TLS of a backend that has greeted before it.
    pub(super) async fn greet_again(&self, stream: BackendStream) -> Opened {
        match greeting_for(self.protocol, &self.settings.hostname) {
            Some(greeting) => Ok((stream, greeting)),
            None => self.greet(stream).await,
        }
    }

    /// Reads the whole greeting.
    async fn greeting(&self, stream: &mut BackendStream) -> Result<Vec<u8>, Unopened> {
        let failed = |what: String| Err(Unopened::Failed(what));
        let mut greeting = Vec::new();
        loop {
            let mut bytes = [0; READ];
            match stream.read(&mut bytes).await {
                Ok(0) => return failed("closed before its greeting was complete".to_owned()),
                Ok(count) => greeting.extend_from_slice(&bytes[..count]),
                Err(error) => return failed(unread(stream, &error)),
            }
            match proto::greeting_end(self.protocol, &greeting) {
                Ok(Some(end)) if end < greeting.len() => return Err(Unopened::Unusable(Complaint::SpokeUnasked)),
                Ok(Some(_)) => return Ok(greeting),
                Ok(None) => {}
                Err(_) => return failed(format!("its greeting is not {}", self.protocol)),
            }
        }
    }
}

async fn handshake(tls: &ClientSide, stream: BackendStream, target: &Target) -> Result<BackendStream, Unopened> {
    let Some(name) = tls.name(&target.host()) else {
        let fault = ClientFault::new("there is no name to ask it for", "write one in tls.name");
        return Err(Unopened::Unsecured(fault.to_string()));
    };
    match TlsConnector::from(tls.config.clone()).connect(name, stream).await {
        Ok(stream) => Ok(BackendStream::Tls(Box::new(stream))),
        Err(error) => Err(Unopened::Unsecured(ClientFault::of(&error).to_string())),
    }
}

/// Why nothing can be read. In TLS 1.3 a server says only after the handshake that it does not take a certificate.
fn unread(stream: &BackendStream, error: &io::Error) -> String {
    match stream {
        BackendStream::Tls(_) => ClientFault::of(error).to_string(),
        _ => error.to_string(),
    }
}

/// Why a backend cannot be spoken to in TLS, in plain words.
pub(super) fn refused(refusal: &Refusal) -> ClientFault {
    let said = Told(&refusal.said);
    match refusal.at {
        Stage::Greeting => ClientFault::new(
            format!("it refuses the connection before TLS: {said}"),
            "what it says in clear is passed on to nobody; its own log may say more",
        ),
        Stage::List => ClientFault::new(
            "it does not offer STARTTLS",
            "turn TLS on there; or set tls.mode to \"implicit\" with the port for that, or to \"none\"",
        ),
        Stage::StartTls => ClientFault::new(
            format!("it refuses STARTTLS: {said}"),
            "turn TLS on there; or set tls.mode to \"implicit\" with the port for that, or to \"none\"",
        ),
    }
}
