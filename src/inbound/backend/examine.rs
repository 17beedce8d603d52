//! A backend as `mailward doctor` looks at it: by the way that a session goes, and held against no address.

use std::{
    borrow::Cow,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, time::timeout};

use super::{Backend, Target, Whom, check::hear_out, introduction::Unintroduced, opening::Unopened};
use crate::{
    config::{self, Member},
    net::{close::LAST_WORDS, connect::BackendStream, dns::Resolver},
    proto::{self, Complaint, Connection, Encryption},
};

/// How a client comes that mailward plays itself.
const TLS: Encryption<'static> = Encryption {
    version: "TLSv1.3",
    cipher: Cow::Borrowed("TLS_AES_128_GCM_SHA256"),
    group: "X25519",
    server_name: "",
    application: "",
    client: None,
};

/// A backend that has greeted, and was told of mailward itself where it is told of clients.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub stream: BackendStream,
    /// Its whole greeting, and nothing behind it.
    pub greeting: Vec<u8>,
    /// How long it took to greet.
    pub waited: Duration,
}

/// Why an address cannot be had.
#[derive(Debug)]
pub enum Unreached {
    /// It cannot be connected to.
    NotConnected(String),
    /// It does not greet as it should.
    NotGreeted(String),
    /// No TLS comes about with it.
    NotSecured(String),
    /// It answers as it must not.
    Unusable(Complaint),
}

impl Backend {
    /// What the file says of it.
    #[must_use]
    pub fn config(&self) -> &config::Backend {
        &self.config
    }

    /// The places that a member means.
    ///
    /// # Errors
    /// Why its name cannot be looked up.
    pub async fn places(&self, member: &Member, resolver: &Resolver) -> Result<Vec<Target>, String> {
        match self.named(&member.address) {
            Target::Name(name, port) => {
                self.look_up(&name, port, resolver).await.map_err(|error| format!("{name}: {error}"))
            }
            target => Ok(vec![target]),
        }
    }

    /// Connects, as for a session of mailward's own, which comes to it in TLS or in clear.
    ///
    /// # Errors
    /// [`Unreached`].
    pub async fn reach(&self, target: &Target, in_tls: bool) -> Result<Reached, Unreached> {
        let tls = in_tls.then_some(TLS);
        let connected = self.connect(target, Whom::Mailward { tls: tls.as_ref() }).await;
        let stream = connected.map_err(|error| Unreached::NotConnected(error.to_string()))?;
        let connected = Instant::now();
        let (mut stream, greeting) = self.open(stream, target).await.map_err(|unopened| match unopened {
            Unopened::Failed(reason) => Unreached::NotGreeted(reason),
            Unopened::Unsecured(reason) => Unreached::NotSecured(reason),
            Unopened::Unusable(complaint) => Unreached::Unusable(complaint),
        })?;
        let waited = connected.elapsed();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (source, destination) = stream.ends().unwrap_or((nowhere, nowhere));
        let own = Connection { source, destination, tls };
        match self.introduce(&mut stream, greeting, &own).await {
            Ok(greeting) => Ok(Reached { stream, greeting, waited }),
            Err(Unintroduced::Lost(reason)) => Err(Unreached::NotGreeted(reason)),
            Err(Unintroduced::Unusable(complaint)) => {
                self.part(stream).await;
                Err(Unreached::Unusable(complaint))
            }
        }
    }

    /// Ends a session that came to nothing in good order.
    async fn part(&self, mut stream: BackendStream) {
        let said = timeout(LAST_WORDS, stream.write_all(proto::leave(self.protocol))).await;
        if matches!(said, Ok(Ok(()))) {
            hear_out(stream).await;
        }
    }
}
