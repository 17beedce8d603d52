//! What is measured, how much of it, and which goal mailward has there.

use std::time::Duration;

/// A protocol of mail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Protocol {
    /// IMAP.
    Imap,
    /// SMTP.
    Smtp,
}

impl Protocol {
    /// How a greeting starts.
    pub fn greeting(self) -> &'static str {
        match self {
            Self::Imap => "* OK",
            Self::Smtp => "220 ",
        }
    }

    /// Its name in the configuration of most proxies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Smtp => "smtp",
        }
    }
}

/// A protocol, and when its TLS begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Service {
    /// IMAP in TLS from the first byte.
    Imaps,
    /// IMAP with STARTTLS.
    Imap,
    /// SMTP in TLS from the first byte.
    Smtps,
    /// SMTP with STARTTLS.
    Smtp,
}

impl Service {
    /// What is spoken.
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Imaps | Self::Imap => Protocol::Imap,
            Self::Smtps | Self::Smtp => Protocol::Smtp,
        }
    }

    /// Whether there is something before TLS.
    pub fn starts_in_clear(self) -> bool {
        matches!(self, Self::Imap | Self::Smtp)
    }
}

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    /// ECDSA with P-256.
    Ecdsa,
    /// RSA with 2048 bits.
    Rsa,
}

/// Who runs on which processor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pinning {
    /// The proxy has one for itself; load and backend share another.
    Apart,
    /// All three on one, so that work is counted and no wake-ups between virtual processors.
    Together,
    /// The kernel decides.
    Free,
}

/// What the load does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Sessions up to the backend's first answer, 16 at a time.
    Sessions {
        /// Whether their handshakes are resumed ones.
        resumed: bool,
    },
    /// The same one at a time, by the clock.
    OneByOne,
    /// Four sessions download.
    Download,
    /// Four sessions send one long message each.
    Upload,
    /// Eight sessions send messages of 10 KB.
    Messages,
    /// One session asks for nothing again and again.
    RoundTrips,
    /// Sessions idle, and are gone.
    Idle,
    /// Many sessions idle.
    IdleMany,
    /// New sessions beside idle ones.
    Held,
    /// New sessions where there are many certificates.
    Certificates,
}

/// Which way a row is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Better {
    /// Less is.
    Lower,
    /// More is.
    Higher,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it says, with its unit.
    pub title: String,
    /// Which way it is better.
    pub better: Better,
    /// What mailward is to reach.
    pub goal: Option<f64>,
}

impl Row {
    fn lower(title: impl Into<String>) -> Self {
        Self { title: title.into(), better: Better::Lower, goal: None }
    }

    fn higher(title: impl Into<String>) -> Self {
        Self { title: title.into(), better: Better::Higher, goal: None }
    }

    fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }
}

/// One thing that is measured in one go for one proxy; it may give several rows.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name for `--only`.
    pub name: &'static str,
    /// What the proxy serves.
    pub service: Service,
    /// How many workers the proxy has.
    pub workers: usize,
    /// The kind of its certificate's key.
    pub key: Key,
    /// What the load does.
    pub work: Work,
    /// What comes of it, value by value.
    pub rows: Vec<Row>,
}

impl Scenario {
    /// With one worker, IMAP in TLS from the first byte, and ECDSA.
    fn new<const ROWS: usize>(name: &'static str, work: Work, rows: [Row; ROWS]) -> Self {
        Self { name, service: Service::Imaps, workers: 1, key: Key::Ecdsa, work, rows: rows.into() }
    }

    fn on(self, service: Service) -> Self {
        Self { service, ..self }
    }

    fn rsa(self) -> Self {
        Self { key: Key::Rsa, ..self }
    }

    fn two_workers(self) -> Self {
        Self { workers: 2, ..self }
    }

    /// Who runs where.
    pub fn pinning(&self) -> Pinning {
        match (self.workers, self.work) {
            (1, Work::RoundTrips) => Pinning::Together,
            (1, _) => Pinning::Apart,
            _ => Pinning::Free,
        }
    }

    /// Whether it says nothing of a relay without TLS.
    pub fn is_about_tls(&self) -> bool {
        self.service.starts_in_clear()
            || self.key == Key::Rsa
            || matches!(self.work, Work::Sessions { resumed: true } | Work::Certificates)
    }
}

/// Everything that is measured, in the order of the table. The goals are for the sizes of the whole run.
pub fn scenarios(sizes: &Sizes) -> Vec<Scenario> {
    let mut all = handshakes();
    all.extend(traffic());
    all.extend(memory(sizes));
    all.extend(growth(sizes));
    all
}

fn handshakes() -> Vec<Scenario> {
    let full = Work::Sessions { resumed: false };
    let a_second = || Row::higher("– a second, 16 at a time");
    let wait = Row::lower("SMTP STARTTLS, one at a time, p50 ms").goal(1.0);
    vec![
        Scenario::new("full", full, [Row::lower("full handshake, CPU µs").goal(145.0), a_second()]),
        Scenario::new(
            "resumed",
            Work::Sessions { resumed: true },
            [Row::lower("resumed handshake, CPU µs").goal(125.0), a_second()],
        ),
        Scenario::new("starttls-smtp", full, [Row::lower("full, SMTP STARTTLS, CPU µs").goal(180.0)]).on(Service::Smtp),
        Scenario::new("starttls-imap", full, [Row::lower("full, IMAP STARTTLS, CPU µs").goal(180.0)]).on(Service::Imap),
        Scenario::new("starttls-wait", Work::OneByOne, [wait]).on(Service::Smtp),
        Scenario::new("rsa", full, [Row::lower("full, RSA 2048, CPU µs").goal(465.0)]).rsa(),
        Scenario::new("two-workers", full, [Row::lower("full, two workers, CPU µs").goal(155.0), a_second()])
            .two_workers(),
        Scenario::new("two-workers-rsa", full, [Row::lower("full, two workers, RSA 2048, CPU µs")]).two_workers().rsa(),
    ]
}

fn traffic() -> Vec<Scenario> {
    let round_trip = [
        Row::lower("NOOP, p50 µs"),
        Row::lower("– added to direct, p50 µs").goal(10.5),
        Row::lower("NOOP, CPU µs").goal(9.0),
    ];
    vec![
        Scenario::new("download", Work::Download, [Row::lower("download, CPU ms/GB").goal(560.0)]),
        Scenario::new("upload", Work::Upload, [Row::lower("upload (SMTP DATA), CPU ms/GB").goal(570.0)])
            .on(Service::Smtps),
        Scenario::new("two-workers-download", Work::Download, [Row::lower("download, two workers, CPU ms/GB")])
            .two_workers(),
        Scenario::new("two-workers-upload", Work::Upload, [Row::lower("upload, two workers, CPU ms/GB")])
            .on(Service::Smtps)
            .two_workers(),
        Scenario::new("message", Work::Messages, [Row::lower("10 KB message, CPU µs").goal(49.0)]).on(Service::Smtps),
        Scenario::new("message-starttls", Work::Messages, [Row::lower("10 KB message after STARTTLS, CPU µs")])
            .on(Service::Smtp),
        Scenario::new("noop", Work::RoundTrips, round_trip),
    ]
}

fn memory(sizes: &Sizes) -> Vec<Scenario> {
    let [some, many] = sizes.sessions;
    vec![
        Scenario::new(
            "idle",
            Work::Idle,
            [
                Row::lower("process without sessions, MB").goal(4.0),
                Row::lower(format!("idle session after TLS ({some}), bytes")),
                Row::lower(format!("– after the login ({some})")).goal(4_500.0),
                Row::lower(format!("– after a FETCH of 256 KB ({some})")).goal(5_000.0),
                Row::lower("memory kept 2 s after all closed, %").goal(10.0),
            ],
        ),
        Scenario::new(
            "idle-many",
            Work::IdleMany,
            [
                Row::lower(format!("idle session after the login ({many}), bytes")),
                Row::lower(format!("idle CPU with {many} sessions, ms/s")).goal(0.0),
            ],
        ),
    ]
}

fn growth(sizes: &Sizes) -> Vec<Scenario> {
    let [some, many] = sizes.sessions;
    let [one, hundred, thousands] = sizes.certificates;
    vec![
        Scenario::new(
            "held",
            Work::Held,
            [
                Row::lower("full handshake beside no other session, CPU µs"),
                Row::lower(format!("– beside {some} idle sessions, times that")),
                Row::lower(format!("– beside {many}, times that")).goal(1.05),
            ],
        ),
        Scenario::new(
            "certificates",
            Work::Certificates,
            [
                Row::lower(format!("full handshake with {one} certificate, CPU µs")),
                Row::lower(format!("– with {hundred}, times that")),
                Row::lower(format!("– with {thousands}, times that")).goal(1.05),
            ],
        ),
    ]
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// How often each proxy has its turn.
    pub rounds: usize,
    /// Sessions, for their handshakes.
    pub handshakes: u64,
    /// Sessions one after the other.
    pub one_by_one: u64,
    /// Bytes of all downloads, or of all long messages.
    pub bytes: u64,
    /// Messages of 10 KB.
    pub messages: u64,
    /// Round trips of one session.
    pub round_trips: u64,
    /// How long any of these may take; what was done until then counts.
    pub longest: Duration,
    /// Idle sessions: some, and many.
    pub sessions: [usize; 2],
    /// How long idle sessions are watched.
    pub idling: Duration,
    /// One certificate, many, and very many.
    pub certificates: [usize; 3],
    /// How long all of one scenario may take for one proxy, its start included. What takes longer has failed.
    pub patience: Duration,
}

impl Sizes {
    /// Enough of everything: a proxy spends about a second of CPU on each, and the clocks tell 10 ms.
    pub const WHOLE: Self = Self {
        rounds: 3,
        handshakes: 8_000,
        one_by_one: 300,
        bytes: 2_000_000_000,
        messages: 20_000,
        round_trips: 100_000,
        longest: Duration::from_secs(15),
        sessions: [2_000, 8_000],
        idling: Duration::from_secs(3),
        certificates: [1, 100, 10_000],
        patience: Duration::from_secs(300),
    };

    /// Whether everything works. The figures are coarse.
    pub const QUICK: Self = Self {
        rounds: 1,
        handshakes: 500,
        one_by_one: 4,
        bytes: 100_000_000,
        messages: 1_000,
        round_trips: 5_000,
        longest: Duration::from_secs(2),
        sessions: [50, 200],
        idling: Duration::from_millis(300),
        certificates: [1, 10, 50],
        patience: Duration::from_secs(300),
    };
}
