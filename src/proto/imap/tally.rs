//! How many commands and errors a client has had, against `limit.commands` and `limit.errors` (spec §3.5).

use crate::proto::{Limits, Violation};

/// Counts before TLS, and anew before login.
#[derive(Debug, Default)]
pub(super) struct Tally {
    commands: usize,
    errors: usize,
}

impl Tally {
    /// One more command, or one more line of an exchange.
    pub(super) fn command(&mut self, limits: &Limits) -> Result<(), Violation> {
        self.commands += 1;
        if self.commands > limits.commands { Err(Violation::TooManyCommands) } else { Ok(()) }
    }

    /// One more command that was refused.
    pub(super) fn error(&mut self, limits: &Limits) -> Result<(), Violation> {
        self.errors += 1;
        if self.errors > limits.errors { Err(Violation::TooManyErrors) } else { Ok(()) }
    }
}
