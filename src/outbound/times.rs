//! How long a server may take for each of its answers.

use std::time::Duration;

use crate::{config::QueueTimeouts, proto::smtp::remote::Asked};

/// How long anybody waits for the answer to QUIT.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// How long a server may take for the answer to `asked`; `tls` is for that to STARTTLS.
pub(super) const fn limit(times: &QueueTimeouts, asked: Asked, tls: Duration) -> Duration {
    match asked {
        Asked::Greeting | Asked::Hello | Asked::OldHello => times.greeting,
        Asked::StartTls => tls,
        Asked::Mail | Asked::Recipient | Asked::Reset => times.rcpt,
        Asked::Data => times.data,
        Asked::Message => times.data_end,
        Asked::Quit => FAREWELL,
    }
}
