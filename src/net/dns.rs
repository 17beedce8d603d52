//! Names to addresses, on threads beside the workers: a worker never waits in `getaddrinfo`.
//!
//! Promises that a name is looked up once at a time, whoever asks: a resolver that hangs holds one thread for each name in
//! the configuration, not one for each session that has asked and given up since.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{runtime::Handle, sync::SetOnce};

/// Resolves host names by the system's resolver.
#[derive(Clone, Debug)]
pub struct Resolver {
    control: Handle,
    look_up: LookUp,
    under_way: Arc<Mutex<UnderWay>>,
}

/// Asks for the addresses of a name, and waits for them.
type LookUp = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// What a lookup has found, for all who asked.
type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// The answers that are still to come.
type UnderWay = HashMap<(String, u16), Arc<SetOnce<Found>>>;

impl Resolver {
    /// A resolver whose lookups wait on `control`'s threads for blocking work.
    #[must_use]
    pub fn new(control: Handle) -> Self {
        Self { control, look_up: ask_system, under_way: Arc::default() }
    }

    /// The addresses of `name`, in the system's order of preference. The caller sets the deadline.
    ///
    /// # Errors
    /// What the system's resolver says, or that it found nothing.
    pub async fn resolve(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, Arc<io::Error>> {
        let answer = self.ask(name, port);
        answer.wait().await.clone()
    }

    /// Begins a lookup, or joins the one that is under way.
    fn ask(&self, name: &str, port: u16) -> Arc<SetOnce<Found>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.entry((name.to_owned(), port)).or_insert_with_key(|asked| self.begin(asked.clone())).clone()
    }

    fn begin(&self, asked: (String, u16)) -> Arc<SetOnce<Found>> {
        let answer = Arc::new(SetOnce::new());
        let (told, look_up, under_way) = (answer.clone(), self.look_up, self.under_way.clone());
        self.control.spawn_blocking(move || {
            let found = look_up(&asked.0, asked.1).map_err(Arc::new);
            under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&asked);
            // Nobody else tells.
            let _ = told.set(found);
        });
        answer
    }
}

fn ask_system(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = (name, port).to_socket_addrs()?.collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };
    use tokio::time::timeout;

    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static ANSWERS: Barrier = Barrier::new(2);

    fn ask_slowly(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        ASKED.fetch_add(1, Ordering::Relaxed);
        ANSWERS.wait();
        Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))])
    }

    #[tokio::test]
    async fn a_slow_lookup_is_joined_by_all_who_ask_meanwhile_and_outlives_who_gave_up() {
        let resolver = Resolver { look_up: ask_slowly, ..Resolver::new(Handle::current()) };
        for _ in 0..10 {
            let gave_up = timeout(Duration::from_millis(1), resolver.resolve("mx.example", 25)).await;
            assert!(gave_up.is_err());
        }
        let answered = async { ANSWERS.wait().is_leader() };
        let (found, _) = tokio::join!(resolver.resolve("mx.example", 25), answered);
        assert_eq!(found.unwrap(), [SocketAddr::from(([192, 0, 2, 1], 25))]);
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);

        let answered = async { ANSWERS.wait().is_leader() };
        let (found, _) = tokio::join!(resolver.resolve("mx.example", 25), answered);
        assert!(found.is_ok());
        assert_eq!(ASKED.load(Ordering::Relaxed), 2, "what was found is not kept");
    }
}
