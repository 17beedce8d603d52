//! Server configurations: the files of `tests/fixtures/servers` with their `@NAME@` filled in.

use std::fs;
use std::path::Path;

/// The numeric user and group of everything that stores mail: Debian's `nobody`. Dovecot refuses to store mail as root.
pub const MAIL_USER: u32 = 65_534;

/// Reads a template and fills in each `@NAME@`. Panics when a name is left, or was given and is not there.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/servers").join(template);
    let text = fs::read_to_string(&path).expect("the template is in the repository");
    // What explains the file may name a @NAME@ too.
    let mut text = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n") + "\n";
    for (name, value) in values {
        let mark = format!("@{name}@");
        assert!(text.contains(&mark), "{template} has no {mark}");
        text = text.replace(&mark, value);
    }
    let left = text.split_whitespace().find(|word| word.contains('@') && word.matches('@').count() > 1);
    assert_eq!(left, None, "a value is missing for {template}");
    text
}

/// The number of a user or group in `/etc/passwd` or `/etc/group`.
pub fn number_of(file: &str, name: &str) -> u32 {
    let text = fs::read_to_string(file).expect("every system has it");
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    line.and_then(|line| line.split(':').nth(2))
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{file} does not know {name}; tests/run installs what creates it"))
}
