//! `%{file:PATH}%` and `%{env:NAME}%` in a value: what they stand for, read when it is wanted and as often.
//!
//! Promises that no error shows what a macro stands for. Refuses a file above [`MAX_FILE`], text that is not UTF-8,
//! a macro that is not closed or not one of the two.

use std::{
    fmt,
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::error::Position;

/// The largest file that a macro reads, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// A text that may hold `%{file:PATH}%` and `%{env:NAME}%`, so that it can be read anew.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// What the file says.
    pub template: String,
    /// What a relative PATH is relative to.
    pub base: PathBuf,
    /// Where it stands in the file.
    pub at: Position,
}

/// Why a macro stands for nothing.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file cannot be read.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The file is larger than [`MAX_FILE`].
    #[error("{} is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// The file is not text.
    #[error("{} is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// The environment variable is not set, or not UTF-8.
    #[error("the environment variable {} is not set", super::word::quoted(.0))]
    NoVariable(String),
    /// `%{` without `}%`.
    #[error("%{{ is not closed by }}%")]
    Unclosed,
    /// Neither `file:` nor `env:`.
    #[error("%{{ begins a macro, and there is none of this name")]
    UnknownMacro,
}

impl TextError {
    /// What would be right.
    #[must_use]
    pub fn right(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "a path is relative to the configuration file, and mailward has to be let in",
            Self::TooLarge(_) | Self::NotText(_) => "name the file that was meant",
            Self::NoVariable(_) => "set it where mailward is started",
            Self::Unclosed | Self::UnknownMacro => "write %{file:PATH}% or %{env:NAME}%",
        }
    }
}

impl Text {
    /// The text with its macros replaced, read now.
    ///
    /// # Errors
    /// The first macro that stands for nothing.
    pub fn read(&self) -> Result<String, TextError> {
        expand(&self.template, &self.base, |content| content)
    }

    /// The files that the text is made of, whether they exist or not.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let parts = parts(&self.template).unwrap_or_default();
        parts
            .iter()
            .filter_map(|part| if let Part::File(path) = part { Some(self.base.join(path)) } else { None })
            .collect()
    }
}

/// An inline private key must not reach a log.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").field("at", &self.at).field("files", &self.files()).finish_non_exhaustive()
    }
}

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    Literal(&'t str),
    File(&'t Path),
    Variable(&'t str),
}

/// Whether a template holds a macro.
pub(super) fn has_macro(template: &str) -> bool {
    template.contains("%{")
}

/// Whether the macros of a template are well formed. Reads nothing.
pub(super) fn check(template: &str) -> Result<(), TextError> {
    parts(template).map(|_| ())
}

/// `template` with its macros replaced by what `tidy` makes of each; a relative PATH is taken from `base`.
pub(super) fn expand(template: &str, base: &Path, tidy: impl Fn(&str) -> &str) -> Result<String, TextError> {
    let mut text = String::with_capacity(template.len());
    for part in parts(template)? {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::File(path) => text.push_str(tidy(&read_file(base.join(path))?)),
            Part::Variable(name) => text.push_str(tidy(&read_variable(name)?)),
        }
    }
    Ok(text)
}

fn parts(template: &str) -> Result<Vec<Part<'_>>, TextError> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((literal, macro_on)) = rest.split_once("%{") {
        let (content, behind) = macro_on.split_once("}%").ok_or(TextError::Unclosed)?;
        parts.push(Part::Literal(literal));
        parts.push(part(content)?);
        rest = behind;
    }
    parts.push(Part::Literal(rest));
    Ok(parts)
}

fn part(content: &str) -> Result<Part<'_>, TextError> {
    match content.split_once(':') {
        Some(("file", path)) if !path.is_empty() => Ok(Part::File(Path::new(path))),
        Some(("env", name)) if !name.is_empty() => Ok(Part::Variable(name)),
        _ => Err(TextError::UnknownMacro),
    }
}

/// Opens a regular file, and promises to come back: a pipe would wait for a writer.
///
/// # Errors
/// What the system says, or that it is another kind of file.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    // Without the flag, opening a pipe would already wait. A regular file does not heed it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::Error::other("it is no regular file")) }
}

fn read_file(path: PathBuf) -> Result<String, TextError> {
    let mut bytes = Vec::new();
    let length = open_regular(&path).and_then(|(file, _)| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match length {
        Err(reason) => Err(TextError::Unreadable { path, reason }),
        Ok(_) if bytes.len() as u64 > MAX_FILE => Err(TextError::TooLarge(path)),
        Ok(_) => String::from_utf8(bytes).map_err(|_| TextError::NotText(path)),
    }
}

fn read_variable(name: &str) -> Result<String, TextError> {
    // A name with '=' or NUL is never set, and asking for it is an error rather than a panic.
    std::env::var(name).map_err(|_| TextError::NoVariable(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn text(template: &str, base: &Path) -> Text {
        let at = Position { file: Arc::new(PathBuf::from("proxy.toml")), line: 1, column: 1 };
        Text { template: template.to_owned(), base: base.to_owned(), at }
    }

    #[test]
    fn files_and_variables_are_put_in_where_they_are_named() {
        let base = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = text("<%{file:rustfmt.toml}%|%{env:PATH}%>", base).read().unwrap();
        let file = std::fs::read_to_string(base.join("rustfmt.toml")).unwrap();
        assert_eq!(read, format!("<{file}|{}>", std::env::var("PATH").unwrap()));
    }

    #[test]
    fn the_files_of_a_text_are_known_without_reading_them() {
        let base = Path::new("/etc/mailward");
        let files = text("%{file:leaf.pem}%%{file:/srv/chain.pem}%%{env:X}%", base).files();
        assert_eq!(files, [base.join("leaf.pem"), PathBuf::from("/srv/chain.pem")]);
        assert!(text("%{file:leaf.pem", base).files().is_empty());
    }

    #[test]
    fn a_macro_that_stands_for_nothing_is_an_error() {
        let base = Path::new("/");
        let failure = |template: &str| text(template, base).read().unwrap_err().to_string();
        assert_eq!(
            failure("%{file:no/such/file}%"),
            "/no/such/file cannot be read: No such file or directory (os error 2)"
        );
        assert_eq!(failure("%{env:MAILWARD_NOT_SET}%"), "the environment variable \"MAILWARD_NOT_SET\" is not set");
        assert_eq!(failure("%{env:A=B\0}%"), "the environment variable \"A=B\\0\" is not set");
        assert_eq!(failure("%{file:key.pem"), "%{ is not closed by }%");
        assert_eq!(failure("%{cfg:server.hostname}%"), failure("%{file:}%"));
        assert_eq!(failure("%{file:dev/zero}%"), "/dev/zero cannot be read: it is no regular file");
        assert_eq!(failure("%{file:dev}%"), "/dev cannot be read: it is no regular file");
        let large = std::env::current_exe().unwrap();
        let template = format!("%{{file:{}}}%", large.display());
        assert!(matches!(text(&template, base).read(), Err(TextError::TooLarge(path)) if path == large));
    }

    #[test]
    fn an_inline_key_is_not_shown_by_debug() {
        assert!(!format!("{:?}", text("-----BEGIN PRIVATE KEY-----", Path::new("/"))).contains("BEGIN"));
    }
}
