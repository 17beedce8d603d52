//! Who sends, and what it was told.

use std::collections::HashMap;
use std::thread;

use crate::patience;
use crate::support::{Delivery, EximQueue, Namespace, Postfix, Talk};

/// A message and its recipients.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// Who is to have it.
    pub(crate) to: Vec<String>,
    /// What.
    pub(crate) text: Vec<u8>,
}

/// What a sender was told of a recipient.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// The message is its own now.
    Yes(String),
    /// To come again.
    Later(String),
    /// That nothing will come of it.
    Never(String),
}

impl Told {
    /// Whether that is a yes.
    pub(crate) fn is_yes(&self) -> bool {
        matches!(self, Self::Yes(_))
    }

    /// Whether it may come again.
    pub(crate) fn is_later(&self) -> bool {
        matches!(self, Self::Later(_))
    }

    /// Whether it may not.
    pub(crate) fn is_never(&self) -> bool {
        matches!(self, Self::Never(_))
    }

    /// Whether this is in the words.
    pub(crate) fn says(&self, text: &str) -> bool {
        let (Self::Yes(words) | Self::Later(words) | Self::Never(words)) = self;
        words.contains(text)
    }

    /// Whether one of these is.
    pub(crate) fn says_one_of(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.says(text))
    }

    /// Says what was expected, unless it is so.
    pub(crate) fn objection(&self, is_so: bool, expected: &str) -> Option<String> {
        (!is_so).then(|| format!("expected {expected}, and there was {self:?}"))
    }
}

/// A server, or a client, that has mail to send and keeps what it cannot.
pub(crate) trait Sender: Sync {
    /// What it is.
    fn name(&self) -> &str;

    /// Has it send these, all at once.
    fn send(&self, mails: &[Mail]);

    /// All that it was told of each recipient, the first first.
    fn told(&self) -> HashMap<String, Vec<Told>>;

    /// Has it try again.
    fn flush(&self);

    /// How many messages it keeps.
    fn queued(&self) -> usize;

    /// What it says of sessions that did not end as they should.
    fn broken(&self) -> Vec<String>;
}

/// A Postfix that takes mail by SMTP, and sends it on.
pub(crate) struct Queueing<'a> {
    /// What it is called.
    pub(crate) name: &'static str,
    /// The server.
    pub(crate) postfix: Postfix,
    /// Where it runs.
    pub(crate) namespace: &'a Namespace,
}

impl Sender for Queueing<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn send(&self, mails: &[Mail]) {
        let mut talk = self.namespace.inside(|| Talk::to(self.postfix.smtp()));
        talk.reply("220");
        talk.send("EHLO a\r\n").reply("250");
        for mail in mails {
            // Where it tells of what was not delivered is a domain of its own.
            talk.send_mail("bob@example.org", &mail.to, &mail.text);
        }
        talk.ask("QUIT", "221");
    }

    fn told(&self) -> HashMap<String, Vec<Told>> {
        let told = self.postfix.deliveries().into_iter().map(|Delivery { to, status, words }| match status.as_str() {
            "sent" => (to, Told::Yes(words)),
            "bounced" => (to, Told::Never(words)),
            _ => (to, Told::Later(words)),
        });
        by_recipient(told)
    }

    fn flush(&self) {
        self.postfix.flush();
    }

    fn queued(&self) -> usize {
        self.postfix.queued()
    }

    fn broken(&self) -> Vec<String> {
        lines_with(
            &self.postfix.log(),
            &["lost connection with 127.0.0.1", "timed out while", "127.0.0.1:2", "refused to talk", "suspended"],
            // Of each delivery the log says through whom it went.
            &["relay=127.0.0.1"],
        )
    }
}

impl Sender for EximQueue {
    fn name(&self) -> &str {
        "Exim by SMTP"
    }

    fn send(&self, mails: &[Mail]) {
        thread::scope(|scope| {
            for mail in mails {
                let to: Vec<_> = mail.to.iter().map(String::as_str).collect();
                scope.spawn(move || Self::send(self, patience(), &to, &mail.text));
            }
        });
    }

    fn told(&self) -> HashMap<String, Vec<Told>> {
        let log = self.log();
        let told = log.lines().filter_map(|line| {
            // Date, time, the message's id, what became of it, for whom.
            let mut words = line.splitn(6, ' ').skip(3);
            let (sign, to, words) = (words.next()?, words.next()?, words.next().unwrap_or_default().to_owned());
            let told = match sign {
                "=>" | "->" => Told::Yes(words),
                "==" => Told::Later(words),
                "**" => Told::Never(words),
                _ => return None,
            };
            Some((to.to_owned(), told))
        });
        by_recipient(told)
    }

    fn flush(&self) {
        Self::flush(self);
    }

    fn queued(&self) -> usize {
        Self::queued(self)
    }

    fn broken(&self) -> Vec<String> {
        let signs =
            ["Connection refused", "closed connection", "timed out", "timeout", "lost", "retry time not reached"];
        // What mailward has said, and what Exim says whenever root has it send.
        lines_with(&self.log(), &signs, &["SMTP error from remote mail server", "lost privilege"])
    }
}

fn by_recipient(all: impl Iterator<Item = (String, Told)>) -> HashMap<String, Vec<Told>> {
    let mut told: HashMap<_, Vec<_>> = HashMap::new();
    all.for_each(|(to, it)| told.entry(to).or_default().push(it));
    told
}

/// The lines of a log that have one of these, and none of those.
fn lines_with(log: &str, signs: &[&str], exempt: &[&str]) -> Vec<String> {
    let has = |line: &&str, all: &[&str]| all.iter().any(|sign| line.contains(sign));
    log.lines().filter(|line| has(line, signs) && !has(line, exempt)).map(str::to_owned).collect()
}
