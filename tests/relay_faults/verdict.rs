//! Whether what a sender was told, and what the servers have, is as it should be.

use crate::cell::Cell;
use crate::sender::{Mail, Sender, Told};
use crate::support::{Arrival, Mx, Verdict, trace_is_wrong};

/// What it is judged by.
pub(crate) struct Judge<'a> {
    /// Who sent.
    pub(crate) sender: &'a dyn Sender,
    /// The matrix.
    pub(crate) cells: &'a [Cell],
    /// What was sent.
    pub(crate) mails: &'a [Mail],
    /// The server of each cell.
    pub(crate) servers: &'a [Mx],
    /// How many servers leave their trace in a message.
    pub(crate) received: usize,
    /// Whether what is said is mailward's to say, and so to be judged too.
    pub(crate) by_mailward: bool,
}

/// A recipient, where it is, and what was to come there.
struct Case<'a> {
    to: &'a str,
    cell: &'a Cell,
    server: &'a Mx,
    mail: &'a Mail,
}

impl<'a> Judge<'a> {
    /// The recipients of which the sender was told nothing yet.
    pub(crate) fn unanswered(&self) -> Vec<String> {
        let told = self.sender.told();
        let cases = self.cases().filter(|case| !told.contains_key(case.to));
        cases.map(|case| format!("{}: {}", case.cell, case.to)).collect()
    }

    /// What is wrong once everything was tried.
    pub(crate) fn first_look(&self) -> Vec<String> {
        let told = self.sender.told();
        let told = self.cases().filter_map(|case| {
            let wrong = match told.get(case.to).and_then(|told| told.first()) {
                Some(told) => {
                    let objection = self.by_mailward.then(|| case.cell.objection(case.to, told)).flatten();
                    objection.or_else(|| case.promise(told))
                }
                None => Some("nothing was said of it".to_owned()),
            };
            wrong.map(|wrong| case.says(&wrong))
        });
        told.chain(self.cuts()).chain(self.broken()).collect()
    }

    /// What is wrong once nothing failed any more, and all was tried again.
    pub(crate) fn second_look(&self) -> Vec<String> {
        let told = self.sender.told();
        let counts = self.cases().filter_map(|case| {
            let last = told.get(case.to).and_then(|told| told.last());
            let wrong = last.map_or_else(|| Some("nothing was said of it".to_owned()), |told| case.count(told));
            wrong.map(|wrong| case.says(&wrong))
        });
        counts.chain(self.cuts()).chain(self.broken()).collect()
    }

    /// Sessions that the sender did not end itself.
    fn broken(&self) -> Vec<String> {
        if self.by_mailward { self.sender.broken() } else { vec![] }
    }

    fn cases(&self) -> impl Iterator<Item = Case<'a>> {
        let (cells, servers) = (self.cells, self.servers);
        self.mails.iter().flat_map(move |mail| {
            mail.to.iter().map(move |to| {
                let mut all = cells.iter().zip(servers);
                let of = |cell: &Cell| to.ends_with(&format!("@{}", cell.domain()));
                let (cell, server) = all.find(|(cell, _)| of(cell)).expect("a recipient of the matrix");
                Case { to, cell, server, mail }
            })
        })
    }

    /// Messages that came with an end, and are not what was sent.
    fn cuts(&self) -> impl Iterator<Item = String> {
        self.cases().flat_map(|case| {
            let arrivals = case.arrivals().into_iter();
            let wrong = arrivals.filter_map(|arrival| trace_is_wrong(&arrival.message, &case.mail.text, self.received));
            wrong.map(|wrong| case.says(&wrong)).collect::<Vec<_>>()
        })
    }
}

impl Case<'_> {
    fn says(&self, wrong: &str) -> String {
        format!("{}: {}: {wrong}", self.cell, self.to)
    }

    fn arrivals(&self) -> Vec<Arrival> {
        let mut all = self.server.arrivals();
        all.retain(|arrival| arrival.recipients.iter().any(|it| it == self.to));
        all
    }

    fn so_many(&self, verdict: Verdict) -> usize {
        self.arrivals().iter().filter(|arrival| arrival.verdict == verdict).count()
    }

    /// An answer that is not the server's.
    fn promise(&self, told: &Told) -> Option<String> {
        let taken = self.so_many(Verdict::Taken);
        let fits = if told.is_yes() { taken == 1 } else { taken == 0 || self.cell.is_ambiguous() };
        (!fits).then(|| format!("{taken} arrived, and the sender was told {told:?}"))
    }

    /// More or fewer messages than there should be in the end.
    fn count(&self, told: &Told) -> Option<String> {
        let (taken, silent) = (self.so_many(Verdict::Taken), self.so_many(Verdict::Silent));
        let most = if self.cell.is_ambiguous() { 2 } else { 1 };
        let fits = match told {
            Told::Yes(_) => taken >= 1 && taken + silent <= most,
            Told::Never(_) => taken == 0 && silent == 0,
            Told::Later(_) => false,
        };
        (!fits).then(|| format!("{taken} were taken and {silent} got no answer, and the sender was told {told:?}"))
    }
}
