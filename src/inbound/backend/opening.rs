//! From a connection to a backend that has greeted: in TLS where it is to be, and never in clear then.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Backend, READ, Target};
use crate::{
    net::connect::BackendStream,
    proto::{
        self, Complaint, Input, Violation,
        upgrade::{Refusal, Stage, Upgrade, Upgraded, greeting_for},
    },
    telemetry::Told,
    tls::{ClientFault, ClientSide},
};

/// Why a connection came to nothing.
pub(super) enum Unopened {
    /// It fell silent, was lost, or cannot be trusted: the reason.
    Failed(String),
    /// It answers, and must not be used.
    Unusable(Complaint),
}

impl Backend {
    /// Brings a connection to where the session inside it can begin. Returns the whole greeting, and nothing behind it.
    pub(super) async fn open(
        &self,
        stream: BackendStream,
        target: &Target,
    ) -> Result<(BackendStream, Vec<u8>), Unopened> {
        let late = |_| Err(Unopened::Failed(self.too_late_to_greet()));
        let opened = timeout(self.config.greeting_timeout, self.secure_and_greet(stream, target));
        opened.await.unwrap_or_else(late)
    }

    async fn secure_and_greet(
        &self,
        mut stream: BackendStream,
        target: &Target,
    ) -> Result<(BackendStream, Vec<u8>), Unopened> {
        let Some(tls) = &self.tls else {
            let greeting = self.greeting(&mut stream).await?;
            return Ok((stream, greeting));
        };
        if !tls.implicit {
            self.ask_for_tls(&mut stream).await?;
        }
        let mut stream = self.handshake(tls, stream, target).await?;
        let greeting = match greeting_for(self.protocol, &self.settings.hostname) {
            Some(greeting) if !tls.implicit => greeting,
            _ => self.greeting(&mut stream).await?,
        };
        Ok((stream, greeting))
    }

    /// The dialogue before TLS.
    async fn ask_for_tls(&self, stream: &mut BackendStream) -> Result<(), Unopened> {
        let mut upgrade = Upgrade::new(self.protocol, &self.settings.hostname);
        let (mut input, mut output) = (Input::new(), Vec::new());
        loop {
            let mut bytes = [0; READ];
            match stream.read(&mut bytes).await {
                Ok(0) => return Err(Unopened::Failed("closed before TLS".to_owned())),
                Ok(count) => input.push(&bytes[..count]),
                Err(error) => return Err(Unopened::Failed(error.to_string())),
            }
            match upgrade.step(&mut input, &mut output) {
                Ok(Upgraded::More) => {}
                Ok(Upgraded::Ready(_)) => return Ok(()),
                Ok(Upgraded::Refused(refusal)) => return Err(Unopened::Failed(refused(&refusal).to_string())),
                Err(Violation::InjectedBeforeTls) => return Err(Unopened::Unusable(Complaint::SpokeBeforeTls)),
                Err(_) => return Err(Unopened::Failed(format!("what it says before TLS is not {}", self.protocol))),
            }
            stream.write_all(&output).await.map_err(|error| Unopened::Failed(error.to_string()))?;
            output.clear();
        }
    }

    async fn handshake(
        &self,
        tls: &ClientSide,
        stream: BackendStream,
        target: &Target,
    ) -> Result<BackendStream, Unopened> {
        let Some(name) = tls.name(&target.host()) else {
            let fault = ClientFault::new("there is no name to ask it for", "write one in tls.name");
            return Err(Unopened::Failed(fault.to_string()));
        };
        match TlsConnector::from(tls.config.clone()).connect(name, stream).await {
            Ok(stream) => Ok(BackendStream::Tls(Box::new(stream))),
            Err(error) => Err(Unopened::Failed(ClientFault::of(&error).to_string())),
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
                Err(error) => return failed(self.unread(&error)),
            }
            match proto::greeting_end(self.protocol, &greeting) {
                Ok(Some(end)) if end < greeting.len() => return Err(Unopened::Unusable(Complaint::SpokeUnasked)),
                Ok(Some(_)) => return Ok(greeting),
                Ok(None) => {}
                Err(_) => return failed(format!("its greeting is not {}", self.protocol)),
            }
        }
    }

    /// Why nothing can be read. In TLS 1.3 a server says only after the handshake that it does not take a certificate.
    fn unread(&self, error: &io::Error) -> String {
        match self.tls {
            Some(_) => ClientFault::of(error).to_string(),
            None => error.to_string(),
        }
    }
}

fn refused(Refusal { at, said }: &Refusal) -> ClientFault {
    let said = Told(said);
    match at {
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
