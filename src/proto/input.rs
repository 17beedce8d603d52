//! Received bytes, and the proof that there are none.

/// Received bytes that no machine has used up yet.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    used: usize,
}

impl Input {
    /// An input that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what a read returned.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What is there to look at.
    #[must_use]
    pub fn peek(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// Uses up the first `count` bytes of [`Self::peek`] (all, if there are fewer).
    pub fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.bytes.len());
    }

    /// Proof that nothing is left, which is what a handshake needs to begin.
    #[must_use]
    pub fn emptied(&self) -> Option<Emptied> {
        self.peek().is_empty().then_some(Emptied(()))
    }

    /// Takes all that is left.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.bytes);
        rest.drain(..self.used);
        self.used = 0;
        rest
    }
}

/// Proof, made by [`Input::emptied`] alone, that no byte from before TLS is waiting to be read inside it.
#[derive(Debug, PartialEq, Eq)]
pub struct Emptied(());
