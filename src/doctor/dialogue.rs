//! A client's side of a dialogue, line by line, in the four protocols' ways to end a reply.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    time::timeout,
};

/// How long one reply may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a reply may be, in bytes; more is not read.
const LONGEST: u64 = 64 * 1024;

/// A dialogue over `S`.
pub(super) struct Dialogue<S>(BufReader<S>);

/// What ends a reply.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// The first line.
    Line,
    /// A line with a code and no hyphen behind it (SMTP).
    Code,
    /// A line with this tag (IMAP).
    Tag(&'static str),
    /// A line of a single dot, or a refusal in the first line (POP3).
    Dot,
    /// A line of OK, NO or BYE (ManageSieve).
    Status,
}

impl Until {
    fn is_last(self, line: &str, is_first: bool) -> bool {
        match self {
            Self::Line => true,
            Self::Code => line.as_bytes().get(3) != Some(&b'-'),
            Self::Tag(tag) => line.split(' ').next() == Some(tag),
            Self::Dot => line == "." || (is_first && line.starts_with('-')),
            Self::Status => {
                let word = line.split([' ', '(']).next().unwrap_or_default();
                ["OK", "NO", "BYE"].iter().any(|status| word.eq_ignore_ascii_case(status))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// Sends a line and returns the lines of the reply.
    pub(super) async fn ask(&mut self, line: &str, until: Until) -> Option<Vec<String>> {
        let said = timeout(PATIENCE, self.0.write_all(format!("{line}\r\n").as_bytes())).await;
        said.ok()?.ok()?;
        self.hear(until).await
    }

    /// The lines of a whole reply; `None` where there is none in time.
    pub(super) async fn hear(&mut self, until: Until) -> Option<Vec<String>> {
        timeout(PATIENCE, lines(&mut self.0, until)).await.ok()?
    }
}

/// Reads a reply out of bytes that are there.
pub(super) async fn read(bytes: &[u8], until: Until) -> Option<Vec<String>> {
    lines(&mut { bytes }, until).await
}

async fn lines(stream: &mut (impl AsyncBufReadExt + Unpin), until: Until) -> Option<Vec<String>> {
    let mut stream = stream.take(LONGEST);
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        let is_last = until.is_last(&text, lines.is_empty());
        lines.push(text);
        if is_last {
            return Some(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn first(text: &str, until: Until) -> Option<usize> {
        read(text.as_bytes(), until).await.map(|lines| lines.len())
    }

    #[tokio::test]
    async fn each_protocol_ends_a_reply_in_its_way() {
        assert_eq!(first("220-a\r\n220 b\r\n250 c\r\n", Until::Code).await, Some(2));
        assert_eq!(first("* d2 x\r\nd1 OK\r\nd2 OK\r\n", Until::Tag("d1")).await, Some(2));
        assert_eq!(first("+OK\r\nUSER\r\n.\r\n+OK\r\n", Until::Dot).await, Some(3));
        assert_eq!(first("-ERR\r\n.\r\n", Until::Dot).await, Some(1));
        assert_eq!(first("\"OK\" \"x\"\r\nok (WARNINGS) \"x\"\r\nOK\r\n", Until::Status).await, Some(2));
        assert_eq!(first("220-a\r\n", Until::Code).await, None);
    }
}
