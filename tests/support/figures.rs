//! What a test measured, and which sizes it used, for the reader of a test run.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Records a line that `tests/run` prints at its end.
pub fn figure(line: &str) {
    println!("{line}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("figures");
    let mut file = OpenOptions::new().append(true).create(true).open(file).expect("target/tmp is writable");
    // One write: tests of several processes append to the file.
    file.write_all(format!("{line}\n").as_bytes()).expect("target/tmp is writable");
}

/// Whether this is `tests/run --full`.
pub fn is_full() -> bool {
    std::env::var_os("MAILWARD_FULL").is_some()
}

/// The size of a test: `reduced`, or `full` when `tests/run --full` asked for it. What was used is recorded as a figure.
pub fn size(what: &str, reduced: usize, full: usize) -> usize {
    let size = if is_full() { full } else { reduced };
    let note = if is_full() || reduced == full { String::new() } else { format!(" (tests/run --full: {full})") };
    figure(&format!("{what}: {size}{note}"));
    size
}
