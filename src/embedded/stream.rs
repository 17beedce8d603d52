//! The client's connection: lines and bytes in, replies out, both bounded.
//!
//! Replies are collected and sent when more input is needed or they are many, so that pipelined commands are answered in
//! few writes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::proto::{
    Input,
    line::{self, Line},
};

const READ: usize = 16 << 10;
const WRITE: usize = 64 << 10;

/// A client's connection.
pub(super) struct Stream<S> {
    io: S,
    input: Input,
    output: Vec<u8>,
    chunk: Box<[u8]>,
}

/// What [`Stream::line`] heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A line, without its end.
    Line(Vec<u8>),
    /// A line with NUL or a CR in it, which is no command of any protocol.
    Bad,
    /// More than the limit. Nothing can be told of what follows.
    TooLong,
    /// The client has ended its side.
    Ended,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub(super) fn new(io: S) -> Self {
        Self { io, input: Input::new(), output: Vec::new(), chunk: vec![0; READ].into_boxed_slice() }
    }

    /// Says a line; it is sent when the client has to be waited for.
    pub(super) fn say(&mut self, text: impl AsRef<[u8]>) {
        self.put(text.as_ref());
        self.put(b"\r\n");
    }

    /// Says bytes as they are.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Sends `bytes` behind what was said, without collecting large ones first.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.output.len() + bytes.len() <= WRITE {
            self.put(bytes);
            return Ok(());
        }
        self.flush().await?;
        self.io.write_all(bytes).await
    }

    /// Sends all that was said.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.io.write_all(&self.output).await?;
            self.output.clear();
        }
        self.io.flush().await
    }

    /// Sends all that was said and ends our side.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.io.shutdown().await
    }

    /// The next line. May be dropped and called again: no byte is lost, provided that all was flushed.
    pub(super) async fn line(&mut self, limit: usize) -> io::Result<Heard> {
        // A client that pipelines many commands with long replies has to read them.
        if self.output.len() > WRITE {
            self.flush().await?;
        }
        loop {
            let (heard, length) = match line::first(self.input.peek(), limit) {
                Line::Whole { text, length } => (Heard::Line(text.to_vec()), length),
                Line::Bad { length } => (Heard::Bad, length),
                Line::Long { .. } | Line::Endless => return Ok(Heard::TooLong),
                Line::Partial => {
                    if self.fill().await? {
                        continue;
                    }
                    return Ok(Heard::Ended);
                }
            };
            self.input.consume(length);
            return Ok(heard);
        }
    }

    /// Bytes that are there or come next, without using them up; empty at the end.
    pub(super) async fn bytes(&mut self) -> io::Result<&[u8]> {
        if self.input.peek().is_empty() {
            self.fill().await?;
        }
        Ok(self.input.peek())
    }

    /// Uses up `count` of the [`Self::bytes`].
    pub(super) fn consume(&mut self, count: usize) {
        self.input.consume(count);
    }

    /// Reads once; `false` at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        self.flush().await?;
        let count = self.io.read(&mut self.chunk).await?;
        self.input.push(&self.chunk[..count]);
        Ok(count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn replies_to_pipelined_commands_are_not_collected_for_ever() {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let reading = tokio::spawn(async move {
            client.write_all(&b"LIST\r\n".repeat(100)).await.unwrap();
            tokio::io::copy(&mut client, &mut tokio::io::sink()).await.unwrap()
        });
        let (mut stream, mut most) = (Stream::new(server), 0);
        for _ in 0..100 {
            assert!(matches!(stream.line(10).await.unwrap(), Heard::Line(_)));
            stream.say([b'x'; WRITE / 2]);
            most = most.max(stream.output.len());
        }
        stream.close().await.unwrap();
        assert!(most < 2 * WRITE, "{most}");
        drop(stream);
        assert_eq!(reading.await.unwrap(), 100 * (WRITE as u64 / 2 + 2));
    }

    async fn heard(sent: &[u8], limit: usize) -> Vec<Heard> {
        let (client, server) = tokio::io::duplex(1 << 16);
        let mut client = client;
        client.write_all(sent).await.unwrap();
        drop(client);
        let mut stream = Stream::new(server);
        let mut all = Vec::new();
        loop {
            let heard = stream.line(limit).await.unwrap();
            let last = matches!(heard, Heard::Ended | Heard::TooLong);
            all.push(heard);
            if last {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn lines_end_at_crlf_or_lf_and_are_bounded() {
        let line = |text: &str| Heard::Line(text.into());
        assert_eq!(heard(b"one\r\ntwo\nthr", 10).await, [line("one"), line("two"), Heard::Ended]);
        assert_eq!(heard(b"o\0e\r\ntwo\r\n", 10).await, [Heard::Bad, line("two"), Heard::Ended]);
        assert_eq!(heard(b"0123456789\r\n", 9).await, [Heard::TooLong]);
        assert_eq!(heard(&[b'x'; 5000], 9).await, [Heard::TooLong]);
    }
}
