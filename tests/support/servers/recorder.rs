//! A server that takes anything and remembers it: what a sender really puts on the wire.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::support::HOST;

const PATIENCE: Duration = Duration::from_secs(60);

/// A small SMTP server that offers PIPELINING, 8BITMIME and CHUNKING and accepts every message.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    sessions: Receiver<Recorded>,
}

/// What one client said.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Its commands, without their line ends.
    pub commands: Vec<String>,
    /// What it sent by DATA (still stuffed, without the final dot) and BDAT.
    pub content: Vec<u8>,
}

impl Recorder {
    /// Starts listening. Its thread ends with the test.
    pub fn start() -> Self {
        let listener = TcpListener::bind((HOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let (sender, sessions) = channel();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                thread::spawn(move || sender.send(record(&client)));
            }
        });
        Self { address, sessions }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a session has ended and returns it.
    #[track_caller]
    pub fn session(&self) -> Recorded {
        self.sessions.recv_timeout(PATIENCE).expect("a session that has ended")
    }
}

fn record(client: &TcpStream) -> Recorded {
    let mut recorded = Recorded::default();
    // A client that goes away ends its session; what it said up to then is what there is to tell.
    let _ = client.set_read_timeout(Some(PATIENCE)).and_then(|()| converse(client, &mut recorded));
    recorded
}

fn converse(client: &TcpStream, recorded: &mut Recorded) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    reply(client, "220 recorder.example.org ESMTP")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_owned();
        recorded.commands.push(command.clone());
        let mut words = command.split(' ');
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" | "LHLO" => {
                reply(client, "250-recorder\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE\r\n250 CHUNKING")?;
            }
            "BDAT" => {
                let size = words.next().and_then(|size| size.parse().ok()).unwrap_or(0);
                (&mut reader).take(size).read_to_end(&mut recorded.content)?;
                reply(client, "250 2.0.0 octets received")?;
            }
            "DATA" => {
                reply(client, "354 go on")?;
                read_data(&mut reader, &mut recorded.content)?;
                reply(client, "250 2.0.0 message received")?;
            }
            "QUIT" => return reply(client, "221 2.0.0 bye"),
            _ => reply(client, "250 2.0.0 ok")?,
        }
    }
}

fn read_data(reader: &mut BufReader<&TcpStream>, content: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let start = content.len();
        if reader.read_until(b'\n', content)? == 0 {
            return Ok(());
        }
        if &content[start..] == b".\r\n" {
            content.truncate(start);
            return Ok(());
        }
    }
}

fn reply(mut client: &TcpStream, text: &str) -> std::io::Result<()> {
    client.write_all(format!("{text}\r\n").as_bytes())
}
