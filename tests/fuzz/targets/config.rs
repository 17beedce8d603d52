//! The configuration: any text gives values or problems, each of which can be shown.
#![no_main]

use std::path::Path;

use mailward::config::{self, Problems};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let found = match config::parse(text, Path::new("proxy.toml")) {
        Ok((_, warnings)) => {
            assert!(!warnings.fatal(), "it was taken with an error in it");
            warnings
        }
        Err(problems) => {
            assert!(problems.fatal(), "it was refused without an error");
            problems
        }
    };
    let Problems(found) = found;
    for problem in found {
        assert!(problem.at.line > 0 && problem.at.column > 0 && !problem.to_string().is_empty());
    }
});
