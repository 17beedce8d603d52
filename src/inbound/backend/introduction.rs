//! The dialogue in which a backend is told who the client is, over its connection.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Backend, READ};
use crate::{
    config::Identity,
    net::connect::BackendStream,
    proto::{Complaint, Connection, Input, Introduced, Introduction},
};

/// Why a backend that has greeted is not to be had for a client.
pub(super) enum Unintroduced {
    /// It fell silent, or was lost: the reason.
    Lost(String),
    /// It answers, and must not be used.
    Unusable(Complaint),
}

impl Backend {
    /// Says who the client is to a backend that has greeted, and returns the greeting that is in force then. Where the
    /// backend is told in another way, or nothing, that is the same one.
    pub(super) async fn introduce(
        &self,
        stream: &mut BackendStream,
        greeting: Vec<u8>,
        client: &Connection<'_>,
    ) -> Result<Vec<u8>, Unintroduced> {
        let Some(introduction) = self.introduction(client) else { return Ok(greeting) };
        let late = |_| {
            Err(Unintroduced::Lost(format!("no greeting for the client within {:?}", self.config.greeting_timeout)))
        };
        timeout(self.config.greeting_timeout, talk(stream, introduction, greeting)).await.unwrap_or_else(late)
    }

    fn introduction(&self, client: &Connection<'_>) -> Option<Introduction> {
        if self.config.is_told(Identity::Xclient, self.protocol) {
            Some(Introduction::by_xclient(self.protocol, &self.settings.hostname, client))
        } else if self.config.is_told(Identity::ImapId, self.protocol) {
            Some(Introduction::by_id(client))
        } else {
            None
        }
    }
}

async fn talk(
    stream: &mut BackendStream,
    mut introduction: Introduction,
    greeting: Vec<u8>,
) -> Result<Vec<u8>, Unintroduced> {
    let (mut input, mut output) = (Input::new(), Vec::new());
    let mut introduced = introduction.begin(greeting, &mut output);
    loop {
        match introduced {
            Ok(Introduced::More) => {}
            Ok(Introduced::Done(greeting)) => return Ok(greeting),
            Ok(Introduced::Refused(complaint)) => return Err(Unintroduced::Unusable(complaint)),
            Err(_) => return Err(Unintroduced::Unusable(Complaint::SpokeUnasked)),
        }
        let lost = |error| Unintroduced::Lost(format!("lost while it was told who the client is: {error}"));
        exchange(stream, &mut output, &mut input).await.map_err(lost)?;
        introduced = introduction.step(&mut input, &mut output);
    }
}

/// Sends what there is to say, and waits for something to hear.
async fn exchange(stream: &mut BackendStream, output: &mut Vec<u8>, input: &mut Input) -> io::Result<()> {
    stream.write_all(output).await?;
    output.clear();
    let mut bytes = [0; READ];
    let count = stream.read(&mut bytes).await?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    input.push(&bytes[..count]);
    Ok(())
}
