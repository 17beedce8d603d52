//! What an smtp listener does before it greets, where the file says so. Who speaks first (`pregreet`) is sent away: no mail
//! server does (RFC 5321 §3.1: the client waits for the greeting), and programs that send spam in a hurry do. Who is on a
//! block list (`dnsbl`) is sent away too, or noted. Both are waited for at the same time.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::watch, time::sleep};

use super::{
    blocklist::Blocklist,
    record::{Ended, Outcome, Record},
};
use crate::{
    net::Stage,
    policy::dnsbl::Zone,
    proto::{self, Farewell, Settings},
};

/// Why whoever spoke too soon is sent away, in the log.
pub(super) const SPOKE_FIRST: &str = "spoke-before-greeting";

/// What a listener looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screening<'a> {
    /// How long the client has to be silent.
    pub(super) pregreet: Option<Duration>,
    /// The lists that it must not be on.
    pub(super) blocklist: Option<&'a Arc<Blocklist>>,
}

/// Why a client is not greeted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unwelcome<'a> {
    /// It went away itself.
    Lost,
    /// It spoke before the greeting.
    SpokeFirst,
    /// It is on this list.
    Listed(&'a Zone),
    /// mailward is stopping.
    Draining,
}

impl<'a> Screening<'a> {
    /// Looks at the client that `record` names, as long as it takes. Nothing that the client says is taken.
    pub(super) async fn look(
        self,
        stream: &TcpStream,
        record: &Record,
        stage: &mut watch::Receiver<Stage>,
    ) -> Result<(), Unwelcome<'a>> {
        if self.pregreet.is_none() && self.blocklist.is_none() {
            return Ok(());
        }
        tokio::select! {
            biased;
            unwelcome = self.speaks(stream) => Err(unwelcome),
            looked = self.wait(record) => looked,
            _ = stage.wait_for(|stage| *stage != Stage::Running) => Err(Unwelcome::Draining),
        }
    }

    /// Ready when the client goes away or, where it must not, speaks.
    async fn speaks(self, stream: &TcpStream) -> Unwelcome<'a> {
        match stream.peek(&mut [0]).await {
            Ok(1..) if self.pregreet.is_some() => Unwelcome::SpokeFirst,
            Ok(1..) => std::future::pending().await,
            Ok(_) | Err(_) => Unwelcome::Lost,
        }
    }

    /// The time for which the client has to be silent, and the lists; not longer than what takes longest.
    async fn wait(self, record: &Record) -> Result<(), Unwelcome<'a>> {
        let silence = async {
            if let Some(patience) = self.pregreet {
                sleep(patience).await;
            }
            Ok(())
        };
        tokio::try_join!(silence, self.ask(record)).map(drop)
    }

    async fn ask(self, record: &Record) -> Result<(), Unwelcome<'a>> {
        let Some(blocklist) = self.blocklist else { return Ok(()) };
        let Some(zone) = blocklist.find(record.peer.ip()).await else { return Ok(()) };
        tracing::info!(
            address = %record.peer.ip(),
            session = record.session,
            listener = %record.listener,
            zone = zone.name,
            "client listed"
        );
        if blocklist.rejects() { Err(Unwelcome::Listed(zone)) } else { Ok(()) }
    }
}

impl Unwelcome<'_> {
    /// The last words for a client at this address.
    pub(super) fn words(&self, client: IpAddr, settings: &Settings) -> Vec<u8> {
        let mut words = Vec::new();
        match self {
            Self::Lost => {}
            Self::SpokeFirst => words.extend_from_slice(proto::smtp::SPOKE_FIRST.as_bytes()),
            Self::Listed(zone) => words.extend_from_slice(proto::smtp::listed(client, &zone.name).as_bytes()),
            Self::Draining => proto::refuse(settings, Farewell::Draining, &mut words),
        }
        words
    }

    /// How its session has ended.
    pub(super) fn ended(&self) -> Ended {
        match self {
            Self::Lost => Ended(Outcome::ClientLost, "before-tls"),
            Self::SpokeFirst => Ended(Outcome::Violation, SPOKE_FIRST),
            Self::Listed(_) => Ended(Outcome::Limited, "listed"),
            Self::Draining => Ended(Outcome::Drained, "before-tls"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    async fn look(stream: &TcpStream, patience: Duration, stage: Stage) -> Result<(), Unwelcome<'static>> {
        let (_teller, mut stage) = watch::channel(stage);
        let record = Record::new(1, "smtp", "smtp", stream.peer_addr().unwrap());
        Screening { pregreet: Some(patience), blocklist: None }.look(stream, &record, &mut stage).await
    }

    #[tokio::test]
    async fn silence_is_waited_for_and_nothing_else() {
        let (_client, server) = pair().await;
        assert_eq!(look(&server, Duration::from_millis(10), Stage::Running).await, Ok(()));
        assert_eq!(look(&server, LONG, Stage::Draining).await, Err(Unwelcome::Draining));
        let (mut client, server) = pair().await;
        client.write_all(b"EHLO spam.example\r\n").await.unwrap();
        assert_eq!(look(&server, LONG, Stage::Running).await, Err(Unwelcome::SpokeFirst));
        let (client, server) = pair().await;
        drop(client);
        assert_eq!(look(&server, LONG, Stage::Running).await, Err(Unwelcome::Lost));
    }
}
