//! What clients do, and how much of it they got done.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Client, Door, Identity, lines};

/// Sessions at a time, while sessions are what is measured.
pub const LANES: usize = 16;

/// Sessions that carry bulk.
const STREAMS: usize = 4;

/// Sessions that send messages.
const SENDERS: usize = 8;

/// The length of a message, about.
const MESSAGE: usize = 10 * 1024;

/// What a client reads of a download, or writes of an upload, at once.
const BUFFER: usize = 256 * 1024;

/// How much is to be done, and for how long at most.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Units of work.
    pub units: u64,
    /// No unit begins later than this.
    pub longest: Duration,
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Units of work.
    pub units: u64,
    /// How long they took together.
    pub elapsed: Duration,
}

/// A budget that several clients draw on.
#[derive(Debug)]
struct Turns {
    left: AtomicU64,
    start: Instant,
    longest: Duration,
}

impl Turns {
    fn new(budget: Budget) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(budget.units), start: Instant::now(), longest: budget.longest })
    }

    fn take(&self) -> bool {
        let is_left = |left: u64| left.checked_sub(1);
        self.start.elapsed() < self.longest && self.left.fetch_update(Relaxed, Relaxed, is_left).is_ok()
    }
}

/// Whole sessions up to the backend's first answer, in as many lanes as there are lists of identities, which take turns
/// in it. `resumed`: whether every handshake has to be a resumed one, or must not be, where that matters.
///
/// # Errors
/// Those of the first session that fails.
pub async fn sessions(door: &Door, lanes: &[Vec<Identity>], resumed: Option<bool>, budget: Budget) -> io::Result<Done> {
    let turns = Turns::new(budget);
    let mut tasks = JoinSet::new();
    for lane in lanes {
        let (turns, door, lane) = (Arc::clone(&turns), door.clone(), lane.clone());
        tasks.spawn(async move {
            let mut units = 0;
            for identity in lane.iter().cycle() {
                if !turns.take() {
                    break;
                }
                let client = session(&door, identity).await?;
                if resumed.is_some_and(|resumed| resumed != client.resumed) {
                    return Err(io::Error::other(if client.resumed {
                        "a resumed handshake"
                    } else {
                        "a full handshake"
                    }));
                }
                client.leave().await;
                units += 1;
            }
            Ok(units)
        });
    }
    let mut units = 0;
    while let Some(ended) = tasks.join_next().await {
        units += ended.map_err(io::Error::other)??;
    }
    Ok(Done { units, elapsed: turns.start.elapsed() })
}

/// A session that the backend has answered.
async fn session(door: &Door, identity: &Identity) -> io::Result<Client> {
    let mut client = Client::enter(door, identity).await?;
    client.log_in(door).await?;
    Ok(client)
}

/// Sessions one after the other, and how long each took up to the backend's first answer.
///
/// # Errors
/// As of [`sessions`].
pub async fn one_by_one(door: &Door, identity: &Identity, budget: Budget) -> io::Result<Vec<Duration>> {
    let turns = Turns::new(budget);
    let mut each = Vec::new();
    while turns.take() {
        let start = Instant::now();
        let client = session(door, identity).await?;
        each.push(start.elapsed());
        client.leave().await;
    }
    Ok(each)
}

/// Opens so many sessions, [`LANES`] at a time, logged in or greeted alone.
///
/// # Errors
/// As of [`sessions`].
pub async fn open(door: &Door, identity: &Identity, count: usize, logged_in: bool) -> io::Result<Vec<Client>> {
    let turns = Turns::new(Budget { units: count as u64, longest: Duration::MAX });
    let mut tasks = JoinSet::new();
    for _ in 0..LANES {
        let (turns, door, identity) = (Arc::clone(&turns), door.clone(), identity.clone());
        tasks.spawn(async move {
            let mut clients = Vec::new();
            while turns.take() {
                let mut client = Client::enter(&door, &identity).await?;
                if logged_in {
                    client.log_in(&door).await?;
                }
                clients.push(client);
            }
            io::Result::Ok(clients)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended.map_err(io::Error::other)??);
    }
    Ok(all)
}

/// Logs in those who were greeted alone.
///
/// # Errors
/// As of [`sessions`].
pub async fn log_in(door: &Door, clients: &mut [Client]) -> io::Result<()> {
    for client in clients {
        client.log_in(door).await?;
    }
    Ok(())
}

/// Has each client, one after the other, download so much.
///
/// # Errors
/// As of [`sessions`].
pub async fn fetch_each(clients: &mut [Client], length: usize) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    for client in clients {
        client.download(length, &mut buffer).await?;
    }
    Ok(())
}

/// Ends sessions.
pub async fn leave(clients: Vec<Client>) {
    for client in clients {
        client.leave().await;
    }
}

/// What several sessions do at the same time.
#[derive(Clone, Debug)]
pub struct Task {
    /// How many sessions.
    pub sessions: usize,
    kind: TaskKind,
}

#[derive(Clone, Debug)]
enum TaskKind {
    Download { length: usize },
    Upload { text: Arc<[u8]>, times: u64 },
    Messages { text: Arc<[u8]>, budget: Budget },
}

impl Task {
    /// Downloads of so many bytes in all, each in one literal.
    pub fn download(bytes: u64) -> Self {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX) / STREAMS;
        Self { sessions: STREAMS, kind: TaskKind::Download { length } }
    }

    /// One message in each session, of about so many bytes in all.
    pub fn upload(bytes: u64) -> Self {
        let text: Arc<[u8]> = lines(BUFFER).into();
        let times = bytes / STREAMS as u64 / text.len() as u64;
        Self { sessions: STREAMS, kind: TaskKind::Upload { text, times } }
    }

    /// Messages of 10 KB, command by command, one after the other in each session.
    pub fn messages(budget: Budget) -> Self {
        let text = [lines(MESSAGE), b".\r\n".to_vec()].concat().into();
        Self { sessions: SENDERS, kind: TaskKind::Messages { text, budget } }
    }

    /// Has these clients do it. Units are bytes or messages.
    ///
    /// # Errors
    /// As of [`sessions`].
    pub async fn run(&self, clients: &mut Vec<Client>) -> io::Result<Done> {
        let start = Instant::now();
        let turns = match &self.kind {
            TaskKind::Messages { budget, .. } => Turns::new(*budget),
            _ => Turns::new(Budget { units: 0, longest: Duration::ZERO }),
        };
        let mut tasks = JoinSet::new();
        for client in clients.drain(..) {
            tasks.spawn(perform(client, self.kind.clone(), Arc::clone(&turns)));
        }
        let mut units = 0;
        while let Some(ended) = tasks.join_next().await {
            let (client, done) = ended.map_err(io::Error::other)??;
            clients.push(client);
            units += done;
        }
        Ok(Done { units, elapsed: start.elapsed() })
    }
}

async fn perform(mut client: Client, task: TaskKind, turns: Arc<Turns>) -> io::Result<(Client, u64)> {
    let mut units = 0;
    match task {
        TaskKind::Download { length } => {
            client.download(length, &mut vec![0; BUFFER]).await?;
            units = length as u64;
        }
        TaskKind::Upload { text, times } => {
            client.deliver(&text, times).await?;
            units = text.len() as u64 * times;
        }
        TaskKind::Messages { text, .. } => {
            while turns.take() {
                client.deliver_at_once(&text).await?;
                units += 1;
            }
        }
    }
    Ok((client, units))
}

/// Round trips of one session, and how long each took.
///
/// # Errors
/// As of [`sessions`].
pub async fn round_trips(client: &mut Client, budget: Budget) -> io::Result<Vec<Duration>> {
    let turns = Turns::new(budget);
    let mut each = Vec::new();
    while turns.take() {
        let start = Instant::now();
        client.nothing().await?;
        each.push(start.elapsed());
    }
    Ok(each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_with_its_units_and_with_its_time() {
        let turns = Turns::new(Budget { units: 2, longest: Duration::MAX });
        assert_eq!([turns.take(), turns.take(), turns.take()], [true, true, false]);
        assert!(!Turns::new(Budget { units: 2, longest: Duration::ZERO }).take());
    }
}
