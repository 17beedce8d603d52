//! What was found, as a value.

use std::time::Duration;

use serde::Serialize;

use crate::{inbound::backend::Reached, snapshot::Mail, telemetry::Told};

/// All that was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// One entry for each listener, in the order of their names.
    pub listeners: Vec<Examined>,
}

/// What was found behind one listener.
#[derive(Debug, Serialize)]
pub struct Examined {
    /// The listener's name.
    pub listener: String,
    /// What it speaks.
    pub protocol: &'static str,
    /// The backend's name.
    pub backend: String,
    /// What clients are offered before TLS; `None` where nothing is said before it, or there is no TLS.
    pub before_tls: Option<Vec<String>>,
    /// The addresses of the backend.
    pub places: Vec<Place>,
}

/// What was found at one address.
#[derive(Debug, Serialize)]
pub struct Place {
    /// Where it is.
    pub address: String,
    /// The first line of its greeting; `None` where there was none.
    pub greeting: Option<String>,
    /// How long it took to greet.
    #[serde(rename = "greeted_after_ms", serialize_with = "milliseconds")]
    pub greeted_after: Duration,
    /// What clients are offered inside TLS.
    pub inside_tls: Vec<String>,
    /// What there is to say of it.
    pub findings: Vec<Finding>,
}

/// One thing to know.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What will not work, or what to know.
    pub what: String,
    /// What to change; empty where there is nothing.
    pub change: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// It works, and could be better.
    Warning,
    /// It will not work.
    Fault,
}

impl Report {
    /// Whether nothing was found that will not work.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        let places = self.listeners.iter().flat_map(|listener| &listener.places);
        places.flat_map(|place| &place.findings).all(|finding| finding.severity != Severity::Fault)
    }
}

impl Examined {
    pub(super) fn of(mail: &Mail) -> Self {
        Self {
            listener: mail.config.id.clone(),
            protocol: mail.config.protocol.name(),
            backend: mail.backend.id().to_owned(),
            before_tls: None,
            places: Vec::new(),
        }
    }
}

impl Place {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            greeting: None,
            greeted_after: Duration::ZERO,
            inside_tls: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// A name that means no place.
    pub(super) fn unknown(name: &str, reason: &str) -> Self {
        let what = format!("the name cannot be looked up: {}", Told(reason));
        Self {
            findings: vec![Finding::fault(what, "write an address, or have the name in the DNS")],
            ..Self::new(name)
        }
    }

    pub(super) fn greeted(&mut self, reached: &Reached) {
        let line = reached.greeting.split(|byte| *byte == b'\n').next().unwrap_or_default();
        self.greeting = Some(Told(String::from_utf8_lossy(line).trim_end()).to_string());
        self.greeted_after = reached.waited;
    }
}

impl Finding {
    pub(super) fn note(what: impl Into<String>) -> Self {
        Self { severity: Severity::Note, what: what.into(), change: String::new() }
    }

    pub(super) fn warning(what: impl Into<String>, change: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), change: change.into() }
    }

    pub(super) fn fault(what: impl Into<String>, change: impl Into<String>) -> Self {
        Self { severity: Severity::Fault, what: what.into(), change: change.into() }
    }
}

fn milliseconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
