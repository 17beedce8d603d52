//! How much a client may try before TLS, and again before its login (spec §3.5).

use super::{Limits, Violation};

/// The commands and the errors of a client so far.
#[derive(Debug, Default)]
pub struct Tally {
    commands: usize,
    errors: usize,
}

impl Tally {
    /// Counts a command.
    ///
    /// # Errors
    /// [`Violation::TooManyCommands`] for the first one beyond `limit.commands`.
    pub fn command(&mut self, limits: &Limits) -> Result<(), Violation> {
        self.commands = self.commands.saturating_add(1);
        if self.commands > limits.commands { Err(Violation::TooManyCommands) } else { Ok(()) }
    }

    /// Counts a command that was refused or not known.
    ///
    /// # Errors
    /// [`Violation::TooManyErrors`] for the first one beyond `limit.errors`.
    pub fn error(&mut self, limits: &Limits) -> Result<(), Violation> {
        self.errors = self.errors.saturating_add(1);
        if self.errors > limits.errors { Err(Violation::TooManyErrors) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_beyond_a_limit_is_too_many() {
        let limits = Limits { line: 0, auth: 0, literal: 0, commands: 2, errors: 1, discard: 0 };
        let mut tally = Tally::default();
        assert_eq!(tally.command(&limits), Ok(()));
        assert_eq!(tally.command(&limits), Ok(()));
        assert_eq!(tally.error(&limits), Ok(()));
        assert_eq!(tally.command(&limits), Err(Violation::TooManyCommands));
        assert_eq!(tally.error(&limits), Err(Violation::TooManyErrors));
    }
}
