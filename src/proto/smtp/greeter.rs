//! SMTP, submission and LMTP before TLS.

use std::sync::Arc;

use crate::proto::{Farewell, Greeter, Input, Settings, Step, Violation};

/// The server that a client meets before TLS.
pub struct SmtpGreeter {
    settings: Arc<Settings>,
}

impl SmtpGreeter {
    /// A greeter that has said nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }
}

impl Greeter for SmtpGreeter {
    fn greet(&mut self, output: &mut Vec<u8>) {
        let _ = (&self.settings, output);
        unimplemented!()
    }

    fn step(&mut self, _input: &mut Input, _output: &mut Vec<u8>) -> Result<Step, Violation> {
        unimplemented!()
    }

    fn farewell(&self, _farewell: Farewell, _output: &mut Vec<u8>) {
        unimplemented!()
    }
}
