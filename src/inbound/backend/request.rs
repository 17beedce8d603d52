//! The request for TLS, over a backend's connection: what `proto::upgrade` says, and what the backend answers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{READ, opening::Unopened};
use crate::{
    net::connect::BackendStream,
    proto::{
        Complaint, Input, Protocol, Violation,
        upgrade::{Stage, Upgrade, Upgraded},
    },
};

/// A dialogue before TLS.
pub(super) struct Request {
    protocol: Protocol,
    upgrade: Upgrade,
    input: Input,
    output: Vec<u8>,
    greeting: Vec<u8>,
}

impl Request {
    /// One of which nothing was said yet.
    pub(super) fn new(protocol: Protocol, hostname: &str) -> Self {
        let upgrade = Upgrade::new(protocol, hostname);
        Self { protocol, upgrade, input: Input::new(), output: Vec::new(), greeting: Vec::new() }
    }

    /// What it waits for.
    pub(super) fn stage(&self) -> Stage {
        self.upgrade.stage()
    }

    /// The whole greeting, once there was one.
    pub(super) fn into_greeting(self) -> Vec<u8> {
        self.greeting
    }

    /// Hears one reply out, and says what comes next.
    pub(super) async fn hear(&mut self, stream: &mut BackendStream) -> Result<Upgraded, Unopened> {
        let lost = |error: std::io::Error| Unopened::Failed(error.to_string());
        loop {
            let mut bytes = [0; READ];
            match stream.read(&mut bytes).await.map_err(lost)? {
                0 => return Err(Unopened::Failed("closed before TLS".to_owned())),
                count => self.input.push(&bytes[..count]),
            }
            if self.stage() == Stage::Greeting {
                self.greeting = self.input.peek().to_vec();
            }
            match self.upgrade.step(&mut self.input, &mut self.output) {
                Ok(Upgraded::More) if self.output.is_empty() => {}
                Ok(upgraded) => {
                    stream.write_all(&self.output).await.map_err(lost)?;
                    self.output.clear();
                    return Ok(upgraded);
                }
                Err(Violation::InjectedBeforeTls) => return Err(Unopened::Unusable(Complaint::SpokeBeforeTls)),
                Err(_) => return Err(Unopened::Failed(format!("what it says before TLS is not {}", self.protocol))),
            }
        }
    }
}
