//! What the outbound half remembers: MTA-STS policies, what attempts have come to, and answers that a sender may not have got.
//!
//! Everything is in memory, where it is looked up, and, once it is told where, in one file, so that the next process has it. Promises: no call waits for a
//! file, except for [`Store::remember`], which says when an answer is on the disk and waits no longer than [`PATIENCE`]; a disk
//! that is full, a file that is broken, or one that another process has, costs what it would have kept, and a warning, and never a
//! message; all of it stays within a size; nobody who reads the file alone learns who has written to whom, nor what.
//!
//! What may be lost: without its file a process knows the policies it has fetched itself, counts attempts from its start, and may
//! send a message for the second time whose sender did not get the answer to the first. What was changed within the last
//! [`GATHERED`] before a crash is lost, but for answers that are on the disk.

mod contents;
mod file;
mod keeper;
mod rows;
mod secret;
mod table;

#[cfg(test)]
mod tests;

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::timeout};

use self::{
    keeper::{Keeper, Pauses},
    rows::Answers,
    secret::Secret,
    table::Table,
};
use crate::policy::{
    history::{Failures, Past, Standing},
    mta_sts::Known,
    strategy::LastError,
    verdict::Assurance,
};

pub use self::rows::ANSWERS_KEPT;

/// How long changes that nobody waits for are gathered before they are written.
pub const GATHERED: Duration = Duration::from_secs(1);

/// How long anybody waits for the disk.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The longest text of a reply that is remembered, in octets: four lines (RFC 5321 §4.5.3.1.5).
const LONGEST_TEXT: usize = 2048;

/// What is remembered.
#[derive(Clone, Debug)]
pub struct Store {
    memory: Arc<Memory>,
    progress: watch::Receiver<Progress>,
}

/// Who sends to whom. A retry has the very same, octet for octet.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The address that the message comes from.
    pub client: IpAddr,
    /// The address of MAIL; empty for that of a notice.
    pub sender: &'a str,
    /// The address of RCPT.
    pub recipient: &'a str,
}

/// The SHA-256 of the body as it was received, before anything was added.
pub type BodyDigest = [u8; 32];

/// An answer that a recipient's server has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// Its text, the enhanced code in front; lines end with LF.
    pub text: String,
}

/// Where an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It survives whatever happens to the process.
    OnDisk,
    /// It is lost with the process: there is no file, or the disk has not answered in time.
    InMemory,
}

/// What is shared with the thread that has the file.
#[derive(Debug)]
struct Memory {
    secret: RwLock<Secret>,
    /// By domain, in clear: it is fetched anew without anybody asking.
    policies: Table<Known>,
    /// By sender and recipient.
    pairs: Table<Failures>,
    /// By domain.
    domains: Table<Standing>,
    /// By host.
    hosts: Table<Standing>,
    /// By client, sender and recipient.
    answers: Table<Answers>,
    bell: Bell,
    /// What the thread tells by; `None` once it was made.
    teller: Mutex<Option<watch::Sender<Progress>>>,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<Rung>,
    woken: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rung {
    /// Something has changed.
    changed: bool,
    /// So many have asked for the disk.
    asked: u64,
    /// Let go of the file, for good.
    closing: bool,
}

/// What the thread tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// The file is there, or it is known that it is not.
    settled: bool,
    /// What the first so many have asked for was tried to be written,
    tried: u64,
    /// and is on the disk.
    durable: u64,
    /// The file is closed, or nobody has said yet where it is.
    closed: bool,
}

/// Remembers in memory alone.
impl Default for Store {
    fn default() -> Self {
        let (teller, progress) = watch::channel(Progress { closed: true, ..Progress::default() });
        let memory = Memory {
            secret: RwLock::new(Secret::new()),
            policies: Table::default(),
            pairs: Table::default(),
            domains: Table::default(),
            hosts: Table::default(),
            answers: Table::default(),
            bell: Bell::default(),
            teller: Mutex::new(Some(teller)),
        };
        Self { memory: Arc::new(memory), progress }
    }
}

impl Store {
    /// Has what is remembered kept in a file of the `state` directory too, on a thread of its own, and takes what is there. Once:
    /// nothing comes of it where it was done before.
    ///
    /// # Errors
    /// No thread could be made.
    pub fn keep(&self, state: &Path) -> io::Result<()> {
        self.keep_with(state, Pauses::default())
    }

    fn keep_with(&self, state: &Path, pauses: Pauses) -> io::Result<()> {
        let Some(teller) = self.memory.teller.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        teller.send_replace(Progress::default());
        let keeper = Keeper::new(file(state), pauses, self.memory.clone(), teller);
        std::thread::Builder::new().name("outbound-store".to_owned()).spawn(move || keeper.run())?;
        Ok(())
    }

    /// Waits until what the process before has left is here, or it is known that it will not come soon, or at all. Whoever sends
    /// before that may not know a policy that is in force.
    pub async fn settled(&self) {
        // An error: the thread is gone, and nothing will come.
        let _ = self.progress.clone().wait_for(|progress| progress.settled || progress.closed).await;
    }

    /// Writes down what has changed and lets go of the file, for good: another process can take it. What is remembered from now on
    /// is in memory alone.
    pub async fn close(&self) {
        self.memory.bell.ring(|rung| rung.closing = true);
        let _ = self.progress.clone().wait_for(|progress| progress.closed).await;
    }

    /// What is known of a domain's MTA-STS policy.
    #[must_use]
    pub fn policy(&self, domain: &str) -> Known {
        self.memory.policies.find(&lower(domain)).unwrap_or_default()
    }

    /// Makes of what is known of a domain's policy what `change` says. It is called once, at once, and must not wait.
    pub fn revise_policy(&self, domain: &str, now: SystemTime, change: impl FnOnce(Known) -> Known) {
        let revise =
            |known: Option<Known>| Some(change(known.unwrap_or_default())).filter(|known| *known != Known::default());
        self.memory.policies.alter(lower(domain), now, revise);
        self.memory.bell.ring(|rung| rung.changed = true);
    }

    /// Of which domains what is known of a policy, in no order.
    #[must_use]
    pub fn policies(&self) -> Vec<(String, Known)> {
        let keys = self.memory.policies.keys(|_| true);
        let rows = self.memory.policies.copies(&keys);
        rows.filter_map(|(domain, known)| Some((String::from_utf8(domain.clone()).ok()?, known?))).collect()
    }

    /// The domains that have a policy which has not expired: they are to be fetched anew in time.
    #[must_use]
    pub fn domains_with_policies(&self, now: SystemTime) -> Vec<String> {
        let keys = self.memory.policies.keys(|known| known.live(now).is_some());
        keys.into_iter().filter_map(|domain| String::from_utf8(domain).ok()).collect()
    }

    /// What attempts from this sender to this recipient have come to: `retry_num` and `last_error`.
    #[must_use]
    pub fn pair(&self, sender: &str, recipient: &str, now: SystemTime) -> Past {
        self.memory.pairs.find(&self.memory.pair(sender, recipient)).map_or(Past::NONE, |failures| failures.past(now))
    }

    /// What attempts for this recipient domain have come to: `domain_failures` and `domain_last_error`.
    #[must_use]
    pub fn domain(&self, domain: &str, now: SystemTime) -> Past {
        self.memory.domains.find(&self.memory.name("domain", domain)).map_or(Past::NONE, |standing| standing.past(now))
    }

    /// What attempts at this host have come to: `mx_last_error`.
    #[must_use]
    pub fn host(&self, host: &str, now: SystemTime) -> Past {
        self.memory.hosts.find(&self.memory.name("host", host)).map_or(Past::NONE, |standing| standing.past(now))
    }

    /// A message from this sender did not get to this recipient.
    pub fn pair_failed(&self, sender: &str, recipient: &str, error: LastError, now: SystemTime) {
        let fail = |before| Some(Failures::after(before, error, now));
        self.memory.pairs.alter(self.memory.pair(sender, recipient), now, fail);
        self.memory.bell.ring(|rung| rung.changed = true);
    }

    /// It did.
    pub fn pair_succeeded(&self, sender: &str, recipient: &str, now: SystemTime) {
        self.memory.pairs.alter(self.memory.pair(sender, recipient), now, |_| None);
        self.memory.bell.ring(|rung| rung.changed = true);
    }

    /// No host of this recipient domain has taken a message.
    pub fn domain_failed(&self, domain: &str, error: LastError, now: SystemTime) {
        self.memory.stand(&self.memory.domains, ("domain", domain), now, |known| known.failed(error, now));
    }

    /// One has, and so much was known of it.
    pub fn domain_succeeded(&self, domain: &str, assurance: Assurance, now: SystemTime) {
        self.memory.stand(&self.memory.domains, ("domain", domain), now, |known| known.succeeded(assurance, now));
    }

    /// An attempt at this host failed.
    pub fn host_failed(&self, host: &str, error: LastError, now: SystemTime) {
        self.memory.stand(&self.memory.hosts, ("host", host), now, |known| known.failed(error, now));
    }

    /// An attempt at this host did not fail, and so much was known of it.
    pub fn host_succeeded(&self, host: &str, assurance: Assurance, now: SystemTime) {
        self.memory.stand(&self.memory.hosts, ("host", host), now, |known| known.succeeded(assurance, now));
    }

    /// The answer that the recipient's server has given to this very message.
    #[must_use]
    pub fn recall(&self, envelope: &Envelope<'_>, body: &BodyDigest, now: SystemTime) -> Option<Reply> {
        let secret = self.memory.secret();
        let answers = self.memory.answers.find(&envelope.name(&secret))?;
        envelope.open(&secret, &answers.to(body_name(&secret, body), now)?)
    }

    /// The answers that it has given to messages with this envelope, the last one last: at RCPT nobody knows which message comes.
    #[must_use]
    pub fn recall_all(&self, envelope: &Envelope<'_>, now: SystemTime) -> Vec<Reply> {
        let secret = self.memory.secret();
        let answers = self.memory.answers.find(&envelope.name(&secret)).unwrap_or_default();
        answers.all(now).iter().filter_map(|sealed| envelope.open(&secret, sealed)).collect()
    }

    /// Remembers the answers to a message, all at once, and waits until they are on the disk, for [`PATIENCE`] at most. Whoever stops
    /// waiting does not stop it.
    pub async fn remember(&self, answers: &[(Envelope<'_>, Reply)], body: &BodyDigest, now: SystemTime) -> Kept {
        let secret = self.memory.secret();
        let body = body_name(&secret, body);
        for (envelope, reply) in answers {
            let Some(sealed) = envelope.seal(&secret, reply) else { continue };
            let add = |before: Option<Answers>| Some(before.unwrap_or_default().with(body, &sealed, now));
            self.memory.answers.alter(envelope.name(&secret), now, add);
        }
        let asked = self.memory.bell.ring(|rung| rung.asked += 1).asked;
        let mut progress = self.progress.clone();
        let tried = progress.wait_for(|progress| progress.tried >= asked || progress.closed);
        match timeout(PATIENCE, tried).await {
            // With another key that came meanwhile, nobody finds it.
            Ok(Ok(progress)) if progress.durable >= asked && self.memory.secret() == secret => Kept::OnDisk,
            _ => Kept::InMemory,
        }
    }

    /// Forgets the answer to a message: its sender has got it, and what he sends from now on is another message, be it the same.
    pub fn forget(&self, envelope: &Envelope<'_>, body: &BodyDigest, now: SystemTime) {
        let secret = self.memory.secret();
        let body = body_name(&secret, body);
        let drop = |before: Option<Answers>| before.and_then(|answers| answers.without(body).kept());
        self.memory.answers.alter(envelope.name(&secret), now, drop);
        self.memory.bell.ring(|rung| rung.changed = true);
    }

    /// Forgets all answers to messages with this envelope.
    pub fn forget_all(&self, envelope: &Envelope<'_>, now: SystemTime) {
        let secret = self.memory.secret();
        self.memory.answers.alter(envelope.name(&secret), now, |_| None);
        self.memory.bell.ring(|rung| rung.changed = true);
    }
}

impl Memory {
    fn secret(&self) -> Secret {
        self.secret.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pair(&self, sender: &str, recipient: &str) -> Vec<u8> {
        self.secret().digest("pair", &[sender.as_bytes(), recipient.as_bytes()]).to_vec()
    }

    fn name(&self, purpose: &str, name: &str) -> Vec<u8> {
        self.secret().digest(purpose, &[&lower(name)]).to_vec()
    }

    fn stand(
        &self,
        table: &Table<Standing>,
        (purpose, name): (&str, &str),
        now: SystemTime,
        change: impl FnOnce(Standing) -> Standing,
    ) {
        table.alter(self.name(purpose, name), now, |known| Some(change(known.unwrap_or_default())));
        self.bell.ring(|rung| rung.changed = true);
    }
}

impl Bell {
    fn ring(&self, change: impl FnOnce(&mut Rung)) -> Rung {
        let mut rung = self.lock();
        change(&mut rung);
        self.woken.notify_one();
        *rung
    }

    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Envelope<'_> {
    fn name(&self, secret: &Secret) -> Vec<u8> {
        secret.digest("answer", &self.parts(&self.client())).to_vec()
    }

    fn seal(&self, secret: &Secret, reply: &Reply) -> Option<Vec<u8>> {
        let text = &reply.text[..reply.text.floor_char_boundary(LONGEST_TEXT)];
        secret.seal(&self.parts(&self.client()), format!("{} {text}", reply.code).as_bytes())
    }

    fn open(&self, secret: &Secret, sealed: &[u8]) -> Option<Reply> {
        let clear = String::from_utf8(secret.open(&self.parts(&self.client()), sealed)?).ok()?;
        let (code, text) = clear.split_once(' ')?;
        Some(Reply { code: code.parse().ok()?, text: text.to_owned() })
    }

    fn client(&self) -> String {
        self.client.to_canonical().to_string()
    }

    fn parts<'p>(&'p self, client: &'p str) -> [&'p [u8]; 3] {
        [client.as_bytes(), self.sender.as_bytes(), self.recipient.as_bytes()]
    }
}

fn body_name(secret: &Secret, body: &BodyDigest) -> BodyDigest {
    secret.digest("body", &[body])
}

fn lower(name: &str) -> Vec<u8> {
    name.to_ascii_lowercase().into_bytes()
}

fn file(state: &Path) -> PathBuf {
    state.join("outbound.redb")
}
