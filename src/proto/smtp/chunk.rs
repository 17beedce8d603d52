//! The argument of BDAT (RFC 3030 §2): how many octets follow, and whether they are the last.

use super::trace::LONGEST_TRACE;
use crate::proto::Input;

/// The largest chunk that goes on, in octets: with a trace in front it is a number that no server reads otherwise. Exim 4.96
/// reads 4294967301 as 5, and what follows as commands.
const LARGEST: u64 = i32::MAX as u64 - LONGEST_TRACE;

/// One BDAT command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The octets behind the command line.
    pub(super) size: u64,
    /// Whether the message ends with them.
    pub(super) last: bool,
}

/// What is wrong with an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The octets can be counted, but something else cannot be understood.
    Known(u64),
    /// Nobody knows where the octets end.
    Unknown,
}

impl Chunk {
    /// Reads the argument, of plain decimal digits and maybe LAST.
    pub(super) fn parse(argument: &[u8]) -> Result<Self, Fault> {
        let mut words = argument.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let size = words.next().and_then(size).ok_or(Fault::Unknown)?;
        match (words.next(), words.next()) {
            _ if size > LARGEST => Err(Fault::Known(size)),
            (None, _) => Ok(Self { size, last: false }),
            (Some(word), None) if word.eq_ignore_ascii_case(b"LAST") => Ok(Self { size, last: true }),
            _ => Err(Fault::Known(size)),
        }
    }

    /// The command as it goes on: in the one form that every server reads alike.
    pub(super) fn write(self, output: &mut Vec<u8>) {
        let last = if self.last { " LAST" } else { "" };
        output.extend_from_slice(format!("BDAT {}{last}\r\n", self.size).as_bytes());
    }
}

/// The octets of a refused BDAT: nothing behind one may be taken for a command before they are over (RFC 3030 §2).
#[derive(Debug)]
pub(super) struct Unwanted {
    /// How many are still to come.
    pub(super) left: u64,
    /// The reply that comes behind them.
    pub(super) reply: &'static str,
}

impl Unwanted {
    /// Throws away what is there of them; whether they are over.
    pub(super) fn discard(&mut self, input: &mut Input) -> bool {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.peek().len());
        input.consume(length);
        self.left -= length as u64;
        self.left == 0
    }
}

fn size(word: &[u8]) -> Option<u64> {
    // `parse` alone would take a sign too.
    let digits = word.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(word).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_plain_decimals() {
        assert_eq!(Chunk::parse(b"10"), Ok(Chunk { size: 10, last: false }));
        assert_eq!(Chunk::parse(b"0  last"), Ok(Chunk { size: 0, last: true }));
        assert_eq!(Chunk::parse(b"2147482623"), Ok(Chunk { size: LARGEST, last: false }));
        for size in [LARGEST + 1, 1 << 31, (1 << 32) + 5, u64::MAX] {
            assert_eq!(Chunk::parse(format!("{size} LAST").as_bytes()), Err(Fault::Known(size)));
        }
        for argument in ["", "18446744073709551616", "+1", "-1", "0x10", "1.5", "LAST", "LAST 1", "1,2"] {
            assert_eq!(Chunk::parse(argument.as_bytes()), Err(Fault::Unknown), "{argument}");
        }
        for argument in ["7 FIRST", "7 LAST LAST", "7 8"] {
            assert_eq!(Chunk::parse(argument.as_bytes()), Err(Fault::Known(7)), "{argument}");
        }
    }

    #[test]
    fn a_chunk_goes_on_in_one_form() {
        let mut output = Vec::new();
        Chunk::parse(b"0010  last").unwrap().write(&mut output);
        assert_eq!(output, b"BDAT 10 LAST\r\n");
    }
}
