//! The matrix: servers of which each fails at one point and in one way, and what may be said to a sender of each.

use std::fmt;

use crate::sender::Told;
use crate::support::World;
use crate::support::mx::{Fault, MARK, Phase, Script};

/// A server, and the domain that is its own.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// The number of its domain.
    pub(crate) number: u8,
    /// How it fails, if it does.
    pub(crate) script: Option<Script>,
}

/// All servers: one that does not fail, and each fault at each point. By LMTP, where recipients have replies of their
/// own, a refusal of RCPT for now spares one of them, and by SMTP one for good; the other befalls both.
pub(crate) fn cells(lmtp: bool) -> Vec<Cell> {
    let faults = Phase::ALL.iter().flat_map(|at| Fault::ALL.map(|fault| (*at, fault)));
    let scripts = faults.filter(|(at, fault)| is_possible(*at, *fault));
    let scripts = scripts.map(|(at, fault)| {
        let spares = match fault {
            Fault::Temporary => lmtp,
            Fault::Permanent => !lmtp,
            _ => false,
        };
        Some(Script { at, fault, spares })
    });
    [None].into_iter().chain(scripts).zip(0..).map(|(script, number)| Cell { number, script }).collect()
}

/// Nothing can be said before there is a connection.
fn is_possible(at: Phase, fault: Fault) -> bool {
    at != Phase::Connect || matches!(fault, Fault::Gone | Fault::Stall)
}

/// What mailward may say of its own when a server cannot be used: all of it is for now.
const OURS: [&str; 7] =
    ["451 4.4.1 ", "451 4.4.2 ", "451 4.4.3 ", "451 4.4.4 ", "451 4.7.4 ", "451 4.7.5 ", "451 4.3.2 "];

impl Cell {
    /// Its domain.
    pub(crate) fn domain(&self) -> String {
        World::domain(self.number)
    }

    /// Who has mail there. The first one may be spared.
    pub(crate) fn recipients(&self) -> [String; 2] {
        ["a", "b"].map(|name| format!("{name}@{}", self.domain()))
    }

    /// Another one that fails like this.
    pub(crate) fn elsewhere(&self, number: usize) -> Self {
        Self { number: u8::try_from(number).expect("one of the domains"), ..self.clone() }
    }

    /// Whether it stops where a message is with several servers at once.
    pub(crate) fn stalls_with_others(&self) -> bool {
        [Phase::Data, Phase::Body, Phase::End].iter().any(|phase| self.stalls_at(*phase))
    }

    /// Whether it stops there.
    pub(crate) fn stalls_at(&self, phase: Phase) -> bool {
        self.script.is_some_and(|script| script.at == phase && script.fault == Fault::Stall)
    }

    /// Whether a message that it takes may get no answer, or none that is understood: what is said in the middle of a message
    /// may be read behind its end.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.script.is_some_and(|Script { at, fault, .. }| match fault {
            Fault::Gone | Fault::Stall => at == Phase::End,
            Fault::Garbage => matches!(at, Phase::Body | Phase::End),
            _ => false,
        })
    }

    /// What is wrong with what a sender was told of this recipient, when the server was first tried.
    pub(crate) fn objection(&self, recipient: &str, told: &Told) -> Option<String> {
        use Phase::{Body, Data, End, Handshake, Mail, Recipient, StartTls};
        let Some(Script { at, fault, spares }) = self.script else {
            return told.objection(told.is_yes(), "yes");
        };
        let by_server = matches!(at, Mail | Recipient | Data | Body | End);
        let (for_now, for_good) = (told.is_later() && told.says(MARK), told.is_never() && told.says(MARK));
        match fault {
            _ if at == Recipient && spares && recipient.starts_with('a') => told.objection(told.is_yes(), "yes"),
            Fault::Temporary if by_server => told.objection(for_now, "the server's refusal for now"),
            // A server that refuses before the end may be taken at its word, or for one that is lost.
            Fault::Permanent if at == Body => told.objection(for_good || told.says_one_of(&OURS), "a refusal"),
            Fault::Permanent if by_server => told.objection(for_good, "the server's refusal for good"),
            // TLS that nobody asks for may be done without.
            _ if matches!(at, StartTls | Handshake) && told.is_yes() => None,
            _ => told.objection(told.is_later() && told.says_one_of(&OURS), "mailward's own refusal for now"),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.script {
            Some(Script { at, fault, .. }) => write!(f, "{at:?} {fault:?}"),
            None => f.write_str("no fault"),
        }
    }
}
