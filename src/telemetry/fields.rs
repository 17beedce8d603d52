//! The fields of a line for people: the message, then `name=value`.
//!
//! Promises the very text that `tracing_subscriber` writes, and leaves to it what is rare. Without colours, each of its fields goes
//! through two styles that do nothing; a session's line has nineteen fields, and there is one for each session.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::{RecordFields, VisitOutput as _},
    fmt::{
        FormatFields,
        format::{DefaultFields, DefaultVisitor, Writer},
    },
};

/// Writes fields.
#[derive(Debug)]
pub(super) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        if writer.has_ansi_escapes() {
            return DefaultFields::new().format_fields(writer, fields);
        }
        let mut line = Line { writer, is_empty: true, written: Ok(()) };
        fields.record(&mut line);
        line.written
    }
}

/// The line so far.
struct Line<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    written: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.written.is_err() {
            return;
        }
        let gap = if std::mem::take(&mut self.is_empty) { "" } else { " " };
        self.written = [gap, field.name(), "="].into_iter().try_for_each(|text| self.writer.write_str(text));
        self.written = self.written.and_then(|()| value(&mut self.writer));
    }

    /// Has it written as it would be without us.
    fn leave(&mut self, record: impl FnOnce(&mut DefaultVisitor<'_>)) {
        let mut visitor = DefaultVisitor::new(self.writer.by_ref(), std::mem::take(&mut self.is_empty));
        record(&mut visitor);
        self.written = self.written.and(visitor.finish());
    }
}

/// Whether a field has a place of its own, or a name that is not written as it is.
fn is_special(field: &Field) -> bool {
    field.name() == "message" || field.name().starts_with("r#")
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if is_special(field) {
            return self.leave(|visitor| visitor.record_str(field, value));
        }
        self.write(field, |writer| {
            if !value.bytes().all(is_plain) {
                return write!(writer, "{value:?}");
            }
            ["\"", value, "\""].into_iter().try_for_each(|text| writer.write_str(text))
        });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, |writer| writer.write_str(if value { "true" } else { "false" }));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.leave(|visitor| visitor.record_error(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if is_special(field) {
            return self.leave(|visitor| visitor.record_debug(field, value));
        }
        self.write(field, |writer| write!(writer, "{value:?}"));
    }
}

/// Whether a byte stands for itself in a string that is written with its quotes.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use std::{
        error::Error,
        io,
        sync::{Arc, Mutex},
    };

    use tracing::{field, subscriber};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("it fails, \"twice\"")]
    struct Fails(#[source] io::Error);

    /// A line of each kind that there is, and of some that there may be.
    fn write_all() {
        let fails = Fails(io::Error::other("\u{7}below"));
        let (error, none): (&(dyn Error + 'static), Option<u8>) = (&fails, None);
        tracing::info!(session = 7_u64, tls = "TLSv1.3", sni = %"a\\b", resumed = false, ms = 0_u64, "session");
        tracing::warn!(empty = "", quoted = "a \"b\" \\ c", text = "gr\u{fc}\u{df}e\n\u{1b}[31m", debug = ?"x\"y", "line");
        tracing::info!(negative = -1_i64, many = u128::MAX, ratio = 0.5, list = ?[1, 2], none, some = Some(3), "numbers");
        tracing::error!(error, "an error");
        tracing::info!(error);
        tracing::info!(r#type = "raw", r#match = 1, "names \u{1b}[0m {}", "of the language");
        tracing::info!("nothing else");
        tracing::info!(only = true);
        tracing::info!(later = field::Empty, "not there");
    }

    #[test]
    fn every_line_is_as_tracing_subscriber_writes_it() {
        for colours in [false, true] {
            let (ours, theirs) = (Log::default(), Log::default());
            let (to_ours, to_theirs) = (ours.clone(), theirs.clone());
            let format = || tracing_subscriber::fmt().without_time().with_target(false).with_ansi(colours);
            let mine = format().fmt_fields(Fields).with_writer(move || to_ours.clone()).finish();
            subscriber::with_default(mine, write_all);
            subscriber::with_default(format().with_writer(move || to_theirs.clone()).finish(), write_all);
            let text = |log: Log| String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            let (ours, theirs) = (text(ours), text(theirs));
            assert_eq!(ours.lines().count(), 9, "{ours}");
            assert_eq!(ours, theirs);
        }
    }
}
