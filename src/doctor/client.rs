//! What a client is offered: before TLS by the greeter, inside it by the backend through the filter.

use std::time::Duration;

use tokio::{io::DuplexStream, sync::watch, time::Instant};

use super::dialogue::{Dialogue, Until, read};
use crate::{
    inbound::backend::Reached,
    net::{
        Stage,
        dns::Resolver,
        relay::{self, Limits, Pace, Said},
    },
    proto::{self, Complaint, Input, Leg, Outcome, Protocol, Start, Step},
    snapshot::Mail,
    telemetry::Told,
};

/// How long the whole session of this client may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The room of the pipe in place of the client's socket, each way, in bytes.
const PIPE: usize = 64 * 1024;

/// What a client has seen inside TLS.
#[derive(Debug)]
pub(super) struct Seen {
    /// What it was offered; empty where it got no answer.
    pub(super) capabilities: Vec<String>,
    /// What the filter has to say of the backend.
    pub(super) complaint: Option<Complaint>,
}

/// What a listener with STARTTLS offers. With a `resolver` the backend is asked where that depends on it.
pub(super) async fn before_tls(mail: &Mail, resolver: Option<&Resolver>) -> Option<Vec<String>> {
    mail.config.tls.as_ref().filter(|tls| !tls.implicit)?;
    let mut greeter = proto::greeter(&mail.settings);
    let (mut input, mut output) = (Input::new(), Vec::new());
    greeter.greet(&mut output);
    let question = question(mail);
    if let Some((question, _)) = &question {
        output.clear();
        input.push(format!("{question}\r\n").as_bytes());
        if greeter.step(&mut input, &mut output) == Ok(Step::Done(Outcome::AskExtensions)) {
            let offered = match resolver {
                Some(resolver) => mail.backend.extensions(resolver).await,
                None => None,
            };
            greeter.learn(offered, &mut output);
        }
    }
    let until = question.map_or(Until::Status, |(_, until)| until);
    let lines = read(&output, until).await.unwrap_or_default();
    Some(listed(mail.config.protocol, &lines))
}

/// Goes through a session to where its client knows what it is offered, and ends it.
pub(super) async fn inside_tls(mail: &Mail, reached: Reached) -> Seen {
    let (ours, mut theirs) = tokio::io::duplex(PIPE);
    let filter = proto::filter(&mail.settings, Start::Greeting, Leg::Tls);
    let (_running, mut stage) = watch::channel(Stage::Running);
    let said = Said { by_backend: reached.greeting, by_client: Vec::new() };
    let pace = Pace { limits: &LIMITS, login: Instant::now() + LIMIT };
    // Nobody logs in.
    let mut refused = |_| {};
    let relayed = relay::relay(&mut theirs, reached.stream, filter, said, pace, &mut stage, &mut refused);
    let (report, capabilities) = tokio::join!(relayed, ask(mail, ours));
    Seen { capabilities, complaint: report.complaint }
}

const LIMITS: Limits = Limits {
    command: LIMIT,
    idle: LIMIT,
    data_end: LIMIT,
    half_close: Duration::from_secs(1),
    drain_silence: None,
    held: 1 << 20,
};

async fn ask(mail: &Mail, stream: DuplexStream) -> Vec<String> {
    let protocol = mail.config.protocol;
    let mut dialogue = Dialogue::new(stream);
    let greeting = match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => Until::Code,
        Protocol::Imap | Protocol::Pop3 => Until::Line,
        Protocol::ManageSieve => Until::Status,
    };
    let Some(mut lines) = dialogue.hear(greeting).await else { return Vec::new() };
    if let Some((question, until)) = question(mail) {
        lines = dialogue.ask(&question, until).await.unwrap_or_default();
    }
    // Whether there is an answer changes nothing any more.
    let leave = String::from_utf8_lossy(proto::leave(protocol));
    let _ = dialogue.ask(leave.trim_end(), Until::Line).await;
    listed(protocol, &lines)
}

/// How a client asks for the list; ManageSieve greets with it.
fn question(mail: &Mail) -> Option<(String, Until)> {
    let name = &mail.settings.hostname;
    match mail.config.protocol {
        Protocol::Smtp | Protocol::Submission => Some((format!("EHLO {name}"), Until::Code)),
        Protocol::Lmtp => Some((format!("LHLO {name}"), Until::Code)),
        Protocol::Imap => Some(("d CAPABILITY".to_owned(), Until::Tag("d"))),
        Protocol::Pop3 => Some(("CAPA".to_owned(), Until::Dot)),
        Protocol::ManageSieve => None,
    }
}

/// The capabilities in the lines of an answer.
fn listed(protocol: Protocol, lines: &[String]) -> Vec<String> {
    let shown = |text: &str| Told(text).to_string();
    match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => {
            lines.iter().skip(1).filter_map(|line| line.get(4..)).map(shown).collect()
        }
        Protocol::Imap => {
            let list = lines.iter().find_map(|line| line.strip_prefix("* CAPABILITY "));
            list.unwrap_or_default().split_whitespace().map(shown).collect()
        }
        Protocol::Pop3 => lines.iter().skip(1).filter(|line| *line != ".").map(|line| shown(line)).collect(),
        Protocol::ManageSieve => lines.iter().take(lines.len().saturating_sub(1)).map(|line| shown(line)).collect(),
    }
}
