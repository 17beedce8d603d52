//! What an smtp listener does before it greets, where the file says so: who speaks first (`pregreet`) is sent away. No mail
//! server does (RFC 5321 §3.1: the client waits for the greeting); programs that send spam in a hurry do.

use std::time::Duration;

use tokio::{net::TcpStream, time::timeout};

use super::record::{Ended, Outcome};

/// Why whoever spoke too soon is sent away, in the log.
pub(super) const SPOKE_FIRST: &str = "spoke-before-greeting";

/// Waits for `patience` whether the client speaks. Nothing that it says is taken.
pub(super) async fn stays_silent(stream: &TcpStream, patience: Duration) -> Result<(), Ended> {
    match timeout(patience, stream.peek(&mut [0])).await {
        Err(_) => Ok(()),
        Ok(Ok(1..)) => Err(Ended(Outcome::Violation, SPOKE_FIRST)),
        Ok(_) => Err(Ended(Outcome::ClientLost, "before-tls")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn silence_is_waited_for_and_nothing_else() {
        const LONG: Duration = Duration::from_secs(3600);
        let (_client, server) = pair().await;
        assert!(stays_silent(&server, Duration::from_millis(10)).await.is_ok());
        let (mut client, server) = pair().await;
        client.write_all(b"EHLO spam.example\r\n").await.unwrap();
        assert_eq!(stays_silent(&server, LONG).await.unwrap_err().1, SPOKE_FIRST);
        let (client, server) = pair().await;
        drop(client);
        assert_eq!(stays_silent(&server, LONG).await.unwrap_err().0, Outcome::ClientLost);
    }
}
