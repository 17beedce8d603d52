//! The line reader: what it says of a line holds, and does not depend on what is behind the line.
#![no_main]

use mailward::proto::line::{self, Line};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&limit, input)) = data.split_first() else { return };
    match line::first(input, limit.into()) {
        Line::Whole { text, length } => {
            assert!(text.len() <= limit.into() && !text.iter().any(|byte| b"\0\r\n".contains(byte)));
            assert_eq!(line::first(&input[..length], limit.into()), Line::Whole { text, length });
            let _ = (line::word(text), line::trim_start(text), line::trim_end(text), line::is_http(text));
        }
        Line::Bad { length } | Line::Long { length } => assert_eq!(input[length - 1], b'\n'),
        Line::Partial => assert!(input.len() <= usize::from(limit) + 1),
        Line::Endless => assert!(input.len() > limit.into() && !input.contains(&b'\n')),
    }
});
