//! Files that are written whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Puts `bytes` into the file at `path`, in place of what it held: written beside, synced, renamed, so that nobody ever
/// reads half of it and a failure (a full disk) leaves the old one. Its directory must be there.
///
/// # Errors
/// What the system says; nothing is left behind then.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    // Not `with_extension`: X.pem and X.json may be written at once. One that is left from an interrupted run would keep
    // its own mode, and others might read a key in it.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write(&beside, bytes, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is wrong has been said; that the rest cannot be removed either adds nothing.
        let _ = fs::remove_file(&beside);
    }
    written?;
    // The new name itself is on the disk only when its directory is.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it() {
        let folder = std::env::temp_dir().join(format!("mailward-replace-{}", std::process::id()));
        fs::create_dir_all(folder.join("taken")).unwrap();
        replace(&folder.join("kept.pem"), b"old", 0o600).unwrap();
        replace(&folder.join("kept.pem"), b"new", 0o600).unwrap();
        assert_eq!(fs::read(folder.join("kept.pem")).unwrap(), b"new");
        // A directory of that name: the rename fails after everything was written.
        assert!(replace(&folder.join("taken"), b"new", 0o600).is_err());
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
