//! Runs the pure machines of the outbound half the way a session does, without any socket.
//!
//! The transcripts and the fuzz targets share this file. What the machines come to is noted in words, in order; a breach
//! of their contracts is a panic here.

use std::sync::Arc;

use mailward::proto::{
    Input, Leg, Limits, Protocol,
    smtp::{
        Answer, BareNewline, Egress, Mail, Mailbox, Place, Remote, Trace,
        egress::{self, Course, Demand},
        remote::{self, Event},
    },
};

/// A listener for the sender's side that sets nothing.
pub(crate) fn egress_settings(protocol: Protocol, limits: Limits) -> egress::Settings {
    egress::Settings {
        protocol,
        hostname: "mail.example.org".to_owned(),
        limits,
        largest: None,
        bare_newline: BareNewline::Normalize,
        smtp_utf8: false,
        recipients: 100,
        tls: egress::Tls::Off,
        one_domain: true,
        require_tls: false,
        loops: egress::Loops { received: 50, own: 2, token: "t0k3n".to_owned() },
    }
}

/// A client of the recipients' servers that sets nothing.
pub(crate) fn remote_settings() -> remote::Settings {
    remote::Settings { hostname: "mail.example.org".to_owned(), helo: true, eight_bit: true }
}

/// A session with a sender.
pub(crate) struct EgressSession {
    machine: Egress,
    input: Input,
    /// What was sent to the client and not yet taken.
    pub(crate) to_client: Vec<u8>,
    /// The octets of messages that go on, not yet taken.
    pub(crate) octets: Vec<u8>,
    /// What it came to, not yet taken.
    pub(crate) events: Vec<String>,
    /// Whether nothing follows.
    pub(crate) is_over: bool,
    most_held: usize,
}

impl EgressSession {
    /// A session whose greeting is written.
    pub(crate) fn new(settings: &Arc<egress::Settings>, leg: Leg, trace: Option<Trace>) -> Self {
        let mut machine = Egress::new(settings.clone(), leg);
        if let Some(trace) = trace {
            machine.trace(trace);
        }
        Self::with(machine, settings)
    }

    /// A session with a client that may not send mail.
    pub(crate) fn turning_away(settings: &Arc<egress::Settings>) -> Self {
        Self::with(Egress::turning_away(settings.clone()), settings)
    }

    fn with(machine: Egress, settings: &egress::Settings) -> Self {
        let mut to_client = Vec::new();
        machine.greet(&mut to_client);
        let (input, octets, events, most_held) = (Input::new(), Vec::new(), Vec::new(), settings.limits.line + 2);
        Self { machine, input, to_client, octets, events, is_over: false, most_held }
    }

    /// One read from the client.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
        self.run();
    }

    /// The decision that was demanded.
    pub(crate) fn answer(&mut self, answer: &Answer) {
        self.machine.answer(answer, &mut self.to_client);
        self.run();
    }

    /// The message may come.
    pub(crate) fn go_ahead(&mut self) {
        self.machine.go_ahead(&mut self.to_client);
        self.run();
    }

    /// How many replies a message is owed.
    pub(crate) fn owed(&self) -> usize {
        self.machine.owed()
    }

    fn run(&mut self) {
        while !self.is_over {
            let event = match self.machine.step(&mut self.input, &mut self.to_client) {
                Ok(Demand::More) => {
                    let held = self.input.peek().len();
                    assert!(held <= self.most_held, "{held} bytes of a command are held");
                    return;
                }
                Ok(Demand::Pending) => return,
                Ok(Demand::Message) => match self.message() {
                    Some(event) => event,
                    None => return,
                },
                Ok(Demand::Recipient(mailbox)) => {
                    assert!(self.machine.mail().is_some(), "a recipient without a sender");
                    format!("recipient {} {}", mailbox.address(), place(&mailbox))
                }
                Ok(Demand::Data) => "data".to_owned(),
                Ok(Demand::Abandoned) => "abandoned".to_owned(),
                Ok(Demand::StartTls(_)) => self.over("starttls".to_owned()),
                Ok(Demand::Closed) => self.over("closed".to_owned()),
                Err(violation) => self.over(format!("violation {}", violation.reason())),
            };
            self.events.push(event);
        }
    }

    /// What a message comes to, if it comes to something.
    fn message(&mut self) -> Option<String> {
        loop {
            let shown = self.input.peek().len();
            let piece = match self.machine.message(self.input.peek(), &mut self.to_client) {
                Ok(Some(piece)) => piece,
                Ok(None) => {
                    assert!(shown <= 2, "{shown} bytes of a message are held");
                    return None;
                }
                Err(violation) => return Some(self.over(format!("violation {}", violation.reason()))),
            };
            assert!(piece.length <= shown && (piece.length > 0 || piece.course != Course::On), "{piece:?}");
            self.octets.extend_from_slice(&piece.octets);
            let (length, course) = (piece.length, piece.course);
            self.input.consume(length);
            match course {
                Course::On => {}
                Course::Ended => return Some(format!("ended {}", self.machine.owed())),
                Course::Refused(fault) => return Some(format!("refused {}", fault.reason())),
                Course::Over => return Some("over".to_owned()),
            }
        }
    }

    fn over(&mut self, event: String) -> String {
        self.is_over = true;
        event
    }
}

fn place(mailbox: &Mailbox) -> String {
    match mailbox.place() {
        Place::Domain(name) => name.clone(),
        Place::Host(address) => address.to_string(),
        Place::Here => "here".to_owned(),
    }
}

/// A session with a recipient's server.
pub(crate) struct RemoteSession {
    machine: Remote,
    input: Input,
    /// What was sent to the server and not yet taken.
    pub(crate) to_remote: Vec<u8>,
    /// What it came to, not yet taken.
    pub(crate) events: Vec<String>,
    /// Whether nothing follows.
    pub(crate) is_over: bool,
}

impl RemoteSession {
    /// A session whose server has not greeted yet.
    pub(crate) fn new(settings: remote::Settings) -> Self {
        let (machine, input) = (Remote::new(settings), Input::new());
        Self { machine, input, to_remote: Vec::new(), events: Vec::new(), is_over: false }
    }

    /// One read from the server.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
        self.run();
    }

    /// The next command.
    pub(crate) fn act(&mut self, act: &Act) {
        assert!(*act != Act::StartTls || self.offers_tls(), "STARTTLS is not offered");
        let output = &mut self.to_remote;
        match act {
            Act::Mail(mail) => {
                if let Err(obstacle) = self.machine.begin(mail) {
                    self.events.push(format!("obstacle {}", obstacle.answer("")));
                }
            }
            Act::Recipient(mailbox) => self.machine.recipient(mailbox, output),
            Act::Data => self.machine.data(output),
            Act::Send(octets) => self.machine.message(octets, output),
            Act::End => self.machine.end(output),
            Act::Reset => self.machine.reset(output),
            Act::Quit => self.machine.quit(output),
            Act::StartTls => assert!(self.machine.start_tls(output)),
            Act::Secured => self.machine.secured(output),
        }
        self.run();
    }

    /// Whether TLS can be asked for.
    pub(crate) fn offers_tls(&self) -> bool {
        self.machine.offered().start_tls && self.machine.is_reusable()
    }

    /// Whether the message may have arrived.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.machine.is_ambiguous()
    }

    /// Whether another message can follow.
    pub(crate) fn is_reusable(&self) -> bool {
        self.machine.is_reusable()
    }

    fn run(&mut self) {
        while !self.is_over {
            let event = match self.machine.step(&mut self.input, &mut self.to_remote) {
                Ok(None) => return,
                Ok(Some(Event::Ready)) => "ready".to_owned(),
                Ok(Some(Event::StartTls(_))) => "starttls".to_owned(),
                Ok(Some(Event::Refused { at, answer })) => format!("refused {at:?} {answer}"),
                Ok(Some(Event::Recipient(answer))) => format!("recipient {answer}"),
                Ok(Some(Event::GoAhead)) => "go-ahead".to_owned(),
                Ok(Some(Event::Verdict(answer))) => format!("verdict {answer}"),
                Ok(Some(Event::Parting(answer))) => format!("parting {answer}"),
                Ok(Some(Event::Left)) => {
                    self.is_over = true;
                    "left".to_owned()
                }
                Err(breach) => {
                    self.is_over = true;
                    format!("breach {breach}")
                }
            };
            self.events.push(event);
        }
    }
}

/// What a session has a recipient's server told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Mail(Mail),
    Recipient(Mailbox),
    Data,
    Send(Vec<u8>),
    End,
    Reset,
    Quit,
    StartTls,
    Secured,
}
