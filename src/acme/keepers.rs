//! All certificates that are kept: one [`Keeper`] for each table and kind of key, on a thread of their own.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{Answers, Command, Report, cache::Cache, keeper::Keeper, key};
use crate::config::{Acme, Config, KeyType};

/// How long the keepers have to take away what authorities were shown, when the process stops.
const LAST_DEEDS: Duration = Duration::from_secs(3);

/// The keepers of all tables in force.
#[derive(Debug, Default)]
pub struct Keepers {
    answers: Arc<Answers>,
    issued: Arc<Notify>,
    /// Their own, so that no disk and no large key holds the control thread up. Made with the first keeper.
    runtime: Option<Runtime>,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    settings: Arc<Acme>,
    key_type: KeyType,
    roots: Vec<PathBuf>,
    asks: mpsc::Sender<()>,
    report: Arc<Mutex<Report>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Keepers {
    /// None yet. What authorities are to be told goes to `answers`.
    #[must_use]
    pub fn new(answers: Arc<Answers>) -> Self {
        Self { answers, issued: Arc::default(), runtime: None, running: Vec::new() }
    }

    /// Keeps what `config` asks for. What was kept before and is wanted unchanged goes on undisturbed.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn adopt(&mut self, config: &Config) -> std::io::Result<()> {
        let mut before = std::mem::take(&mut self.running);
        for settings in config.acme.values() {
            let roots: Vec<_> = config.server.ca.iter().chain(&settings.ca).cloned().collect();
            for key_type in &settings.key_types {
                let known = before.iter().position(|running| running.keeps(settings, *key_type, &roots));
                let running = match known {
                    Some(at) => before.swap_remove(at),
                    None => self.start(Arc::new(settings.clone()), *key_type, roots.clone())?,
                };
                self.running.push(running);
            }
        }
        before.iter().for_each(Running::stop);
        Ok(())
    }

    /// Waits until a certificate has been issued.
    pub async fn issued(&self) {
        self.issued.notified().await;
    }

    /// What each is about.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.running.iter().map(|running| lock(&running.report).clone()).collect()
    }

    /// Does what the operator asks; the reply says what has been begun, or why nothing was.
    pub fn command(&self, command: Command, reply: oneshot::Sender<Result<String, String>>) {
        let name = match &command {
            Command::Renew { name, .. } | Command::NextKey { name } => name,
        };
        let meant: Vec<_> = self.running.iter().filter(|running| running.is_called(name)).collect();
        let Some(runtime) = self.runtime.as_ref().filter(|_| !meant.is_empty()) else {
            // Who asked may be gone.
            let _ = reply.send(Err(self.no_such(name)));
            return;
        };
        let meant: Vec<_> = meant.iter().map(|one| one.desk()).collect();
        runtime.spawn_blocking(move || {
            let done = meant.iter().map(|desk| desk.obey(&command));
            let _ = reply.send(done.collect::<Result<Vec<_>, _>>().map(|lines| lines.join("\n")));
        });
    }

    /// Ends all. What authorities were being shown is taken away first, if that is soon done.
    pub async fn stop(mut self) {
        self.running.iter().for_each(Running::stop);
        let tasks = self.running.drain(..).map(|running| running.task);
        let ended = async {
            for task in tasks {
                // A panic was printed when it happened.
                let _ = task.await;
            }
        };
        if timeout(LAST_DEEDS, ended).await.is_err() {
            tracing::info!("an order for a certificate is left as it is; the next start goes on with it");
        }
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }

    fn start(&mut self, settings: Arc<Acme>, key_type: KeyType, roots: Vec<PathBuf>) -> std::io::Result<Running> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Builder::new_multi_thread().worker_threads(1).thread_name("acme").enable_all().build()?,
        };
        let runtime = self.runtime.insert(runtime);
        let (asks, asked) = mpsc::channel(1);
        let (stop, stopping) = watch::channel(false);
        let report = Arc::new(Mutex::new(Report::default()));
        let keeper = Keeper {
            settings: settings.clone(),
            key_type,
            roots: roots.clone(),
            answers: self.answers.clone(),
            issued: self.issued.clone(),
            report: report.clone(),
            asked,
            stopping,
            last_error: None,
        };
        let task = runtime.spawn(keeper.run());
        Ok(Running { settings, key_type, roots, asks, report, stop, task })
    }

    fn no_such(&self, name: &str) -> String {
        let names: Vec<_> = self.running.iter().map(|running| running.settings.id.as_str()).collect();
        match names.as_slice() {
            [] => "no certificate is kept: there is no [acme.<id>] table".to_owned(),
            _ => format!("there is no [acme.{name}]; there are: {}", names.join(", ")),
        }
    }
}

impl Running {
    fn keeps(&self, settings: &Acme, key_type: KeyType, roots: &[PathBuf]) -> bool {
        // Where the table stands in the file is no difference.
        let moved = Acme { at: self.settings.at.clone(), ..settings.clone() };
        *self.settings == moved && self.key_type == key_type && self.roots == roots
    }

    /// Whether `name` is the table's, or the table's and the kind of key: `main`, `main/rsa-2048`.
    fn is_called(&self, name: &str) -> bool {
        match name.split_once('/') {
            None => self.settings.id == name,
            Some((id, key_type)) => self.settings.id == id && self.key_type.name() == key_type,
        }
    }

    fn desk(&self) -> Desk {
        let (settings, asks, report) = (self.settings.clone(), self.asks.clone(), self.report.clone());
        Desk { settings, key_type: self.key_type, asks, report }
    }

    fn stop(&self) {
        // One that has ended hears nothing.
        let _ = self.stop.send(true);
    }
}

/// Where the operator's commands for one keeper are obeyed.
struct Desk {
    settings: Arc<Acme>,
    key_type: KeyType,
    asks: mpsc::Sender<()>,
    report: Arc<Mutex<Report>>,
}

impl Desk {
    fn obey(&self, command: &Command) -> Result<String, String> {
        let (cache, name) = (Cache::new(&self.settings), format!("{}/{}", self.settings.id, self.key_type));
        match command {
            Command::Renew { next_key: true, .. } => {
                if !cache.change_to_next_key(self.key_type).map_err(|error| error.to_string())? {
                    let first = format!("first: mailward certs next-key {}", self.settings.id);
                    return Err(format!("{name}: there is no next key; {first}"));
                }
                lock(&self.report).next_key = None;
                Ok(self.ask(&name))
            }
            Command::Renew { .. } => Ok(self.ask(&name)),
            Command::NextKey { .. } => {
                let key = key::next(self.key_type, &cache).map_err(|fault| fault.to_string())?;
                let digest = key::digest_of(&key);
                lock(&self.report).next_key = Some(digest.clone());
                Ok(format!("{name}: TLSA 3 1 1 {digest}"))
            }
        }
    }

    fn ask(&self, name: &str) -> String {
        // Full: it has been asked for already.
        let _ = self.asks.try_send(());
        format!("{name}: a certificate is asked for")
    }
}

fn lock(report: &Mutex<Report>) -> std::sync::MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}
