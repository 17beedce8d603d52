//! Looking after the addresses of a backend without waiting for a client (`check.*`).
//!
//! A check connects as a session does, reads the greeting and takes leave: whatever the old server logs of it is a
//! session in good order. An address that greets, but refuses, is left out too. To a client that would not be done: the
//! refusal may be for that client alone.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use super::{
    Backend, Hold, READ, Target, Whom,
    opening::Unopened,
    pool::{Pool, chance},
};
use crate::{
    config::{Check, Member},
    net::{
        close::LAST_WORDS,
        connect::{self, BackendStream},
        dns::Resolver,
    },
    policy::health::WHOLE,
    proto::{self, Flow, Leg, Start, Wire},
    telemetry::Told,
};

/// Where a check fails, and whether that tells anything of the address.
enum Failed {
    Address(String),
    Shortage,
}

impl Backend {
    /// What is known of its addresses.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Checks for ever, each address by itself; one task for each is what comes back, and there is none where
    /// addresses are not checked.
    pub fn checks(self: &Arc<Self>, resolver: &Resolver) -> Vec<impl Future<Output = ()> + Send + use<>> {
        let Some(check) = self.config.check else { return Vec::new() };
        // The store in this process has nothing to fail, and sessions to it live on the workers' threads alone.
        let open = |member: &&Member| member.weight > 0 && self.named(&member.address) != Target::Embedded;
        let task = |member: &Member| {
            let (backend, target, resolver) = (self.clone(), self.named(&member.address), resolver.clone());
            async move { backend.keep_checking(target, check, resolver).await }
        };
        self.config.members.iter().filter(open).map(task).collect()
    }

    async fn keep_checking(&self, target: Target, check: Check, resolver: Resolver) {
        // Spread, so that a server with many listeners before it is not asked for all of them in one moment.
        sleep(check.interval.mul_f64(f64::from(chance()) / f64::from(WHOLE))).await;
        loop {
            for target in self.targets(target.clone(), &resolver).await.unwrap_or_default() {
                if let Some(hold) = self.pool.take(&target, true) {
                    self.check(hold, check.timeout).await;
                }
            }
            sleep(check.interval).await;
        }
    }

    async fn check(&self, mut hold: Hold, limit: Duration) {
        let visited = timeout(limit, self.visit(hold.target())).await;
        match visited.unwrap_or_else(|_| Err(Failed::Address(format!("the check was not over within {limit:?}")))) {
            Ok(stream) => {
                hold.answered();
                hear_out(stream).await;
            }
            Err(Failed::Address(reason)) => hold.failed(&reason),
            Err(Failed::Shortage) => {}
        }
    }

    /// A whole session of a check, to the answer to its last command.
    async fn visit(&self, target: &Target) -> Result<BackendStream, Failed> {
        let stream = self.connect(target, Whom::Mailward { tls: None }).await.map_err(|error| {
            match connect::is_shortage(&error) {
                true => Failed::Shortage,
                false => Failed::Address(error.to_string()),
            }
        })?;
        let (mut stream, greeting) = self.open(stream, target).await.map_err(|unopened| match unopened {
            Unopened::Failed(reason) | Unopened::Unsecured(reason) => Failed::Address(reason),
            Unopened::Unusable(_) => Failed::Address("it sends more than it is asked for".to_owned()),
        })?;
        let said = stream.write_all(proto::leave(self.protocol)).await;
        if !self.is_welcome(&greeting) {
            let line = String::from_utf8_lossy(greeting.split(|byte| *byte == b'\n').next().unwrap_or_default());
            return Err(Failed::Address(format!("it refuses: {}", Told(line.trim_end()))));
        }
        said.map_err(|error| Failed::Address(error.to_string()))?;
        match stream.read(&mut [0; READ]).await {
            Ok(0) => Err(Failed::Address("closed before it answered".to_owned())),
            Ok(_) => Ok(stream),
            Err(error) => Err(Failed::Address(error.to_string())),
        }
    }

    /// Whether a client would get on behind this greeting.
    #[must_use]
    pub fn is_welcome(&self, greeting: &[u8]) -> bool {
        let mut filter = proto::filter(&self.settings, Start::Greeting, Leg::Tls);
        matches!(filter.greeting(greeting, &mut Wire::default()), Flow::Consume(_))
    }
}

/// Lets the backend close first: to close before it has said all would look like a lost connection there.
pub(super) async fn hear_out(mut stream: BackendStream) {
    let rest = async { while matches!(stream.read(&mut [0; READ]).await, Ok(count) if count > 0) {} };
    let _ = timeout(LAST_WORDS, rest).await;
}
