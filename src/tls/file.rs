//! Reading a PEM file that was found, not named by a macro.
//!
//! Promises to come back: what is no regular file (a pipe would wait for a writer) and what is larger than
//! [`MAX_FILE`] is refused.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use crate::config::{MAX_FILE, open_regular};

/// The text of a regular file.
///
/// # Errors
/// What the system says, or which rule above is broken; the path is not named.
pub fn read(path: &Path) -> io::Result<String> {
    text_of(open_regular(path)?.0)
}

/// The text of a regular file that its owner alone can read and write.
///
/// # Errors
/// As [`read`].
pub fn read_private(path: &Path) -> io::Result<String> {
    let (file, metadata) = open_regular(path)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!("others may read or change it (mode {mode:o}, and not 600)")));
    }
    text_of(file)
}

fn text_of(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_pipe_a_directory_and_a_file_above_the_limit_are_refused() {
        let folder = std::env::temp_dir().join(format!("mailward-file-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (pipe, large, fits) = (folder.join("pipe"), folder.join("large"), folder.join("fits"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        fs::write(&large, vec![b' '; 1 << 20 | 1]).unwrap();
        fs::write(&fits, vec![b' '; 1 << 20]).unwrap();
        let said = [&pipe, &folder, &large].map(|path| read(path).unwrap_err().to_string());
        let length = read(&fits).map(|text| text.len());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(said, ["it is no regular file", "it is no regular file", "it is larger than 1 MiB"]);
        assert_eq!(length.unwrap(), 1 << 20);
    }
}
