//! From a file, or its text, to a [`Config`].

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use super::{
    Config, Problems, file,
    findings::{Findings, Key},
    resolve::{Plan, resolve},
    rules, syntax,
};

/// The largest configuration, in bytes.
const MAX_CONFIG: u64 = 16 << 20;

/// Reads the file at `path`. What comes with the configuration are warnings.
///
/// # Errors
/// All that is wrong, warnings included, in the order of the file.
pub fn load(path: &Path) -> Result<(Config, Problems), Problems> {
    parse(&read_text(path)?, path)
}

/// The control socket of whoever runs with the file at `path`, whatever else is wrong with that now.
///
/// # Errors
/// That it cannot be read.
pub fn control(path: &Path) -> Result<PathBuf, Problems> {
    let (config, _) = evaluate(&read_text(path)?, path);
    Ok(config.server.control)
}

fn read_text(path: &Path) -> Result<String, Problems> {
    let bytes = read(path).map_err(|error| alone(path, "", 0, &format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let (good, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let good = String::from_utf8_lossy(good);
        alone(path, &good, good.len(), "is not UTF-8 text from here on")
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_CONFIG + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
    }
    Ok(bytes)
}

/// A fault of the file itself.
fn alone(path: &Path, text: &str, offset: usize, what: &str) -> Problems {
    let mut found = Findings::new(text, path);
    found.error(&Key { path: String::new(), offset }, what, "");
    found.into_problems()
}

/// Reads `text` as the content of the file at `path`. What comes with the configuration are warnings.
///
/// # Errors
/// All that is wrong, warnings included, in the order of the file.
pub fn parse(text: &str, path: &Path) -> Result<(Config, Problems), Problems> {
    let (config, problems) = evaluate(text, path);
    if problems.fatal() { Err(problems) } else { Ok((config, problems)) }
}

/// What can be made of `text`, and all that is wrong with it.
pub(super) fn evaluate(text: &str, path: &Path) -> (Config, Problems) {
    // Some editors put a byte order mark in front, which no column counts.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Findings::new(text, path);
    let (text, faults) = syntax::repair(text);
    for fault in faults {
        found.broken(fault.offset, &fault.what);
    }
    let (document, _) = DeTable::parse_recoverable(&text);
    let file = file::read(document.get_ref(), &mut found);
    let plans: Vec<_> = file.listeners.iter().map(|table| Plan::new(table, &file)).collect();
    rules::check(&file, &plans, &mut found);
    let config = resolve(&file, &plans, path, &found);
    (config, found.into_problems())
}
