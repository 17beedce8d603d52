//! Looking at the certificate files, beside the control thread.
//!
//! Promises that files never hold the control thread up, however many there are and however slow, and that one look
//! is under way at a time. What a look found before a reload replaced the sources is dropped.

use std::{future::pending, sync::Arc, time::SystemTime};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    snapshot::Snapshot,
    tls::{Looked, Overview, Sources},
};

/// The sources in force, and the look at them that is under way.
#[derive(Debug)]
pub(super) struct Lookout {
    sources: Arc<Sources>,
    under_way: Option<JoinHandle<Option<(Sources, Looked)>>>,
    /// What to look for once more when that is over: something may have changed behind its back.
    again: Option<Arc<Snapshot>>,
}

impl Lookout {
    /// Looks at `sources`. A look that is still under way in one which this replaces comes to nothing.
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources: Arc::new(sources), under_way: None, again: None }
    }

    /// The certificates that were last found fit to be in force.
    pub(super) fn overview(&self) -> Vec<Overview> {
        self.sources.overview()
    }

    /// Begins to look, unless it is being done. Needs to be inside a runtime.
    pub(super) fn look(&mut self, snapshot: Arc<Snapshot>) {
        let sources = &self.sources;
        self.under_way.get_or_insert_with(|| {
            let sources = sources.clone();
            spawn_blocking(move || {
                sources.look(SystemTime::now(), |certificates, problems| snapshot.check(certificates, problems))
            })
        });
    }

    /// As [`Self::look`], for a file that is known to have changed: where it is being done, it is done once more.
    pub(super) fn look_again(&mut self, snapshot: Arc<Snapshot>) {
        match self.under_way {
            Some(_) => self.again = Some(snapshot),
            None => self.look(snapshot),
        }
    }

    /// What the look under way has found; waits until there is something. Nothing is lost if it is not waited for.
    pub(super) async fn looked(&mut self) -> Looked {
        while let Some(look) = &mut self.under_way {
            let found = look.await;
            self.under_way = None;
            // A panic was printed when it happened.
            let looked = found.ok().flatten().map(|(sources, looked)| {
                self.sources = Arc::new(sources);
                looked
            });
            self.again.take().into_iter().for_each(|snapshot| self.look(snapshot));
            if let Some(looked) = looked {
                return looked;
            }
        }
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        reload,
        snapshot::{Built, Lasting},
    };
    use std::{fs, path::Path, time::Duration};
    use tokio::time::timeout;

    fn issue(folder: &Path) {
        let issued = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
        for (name, text) in [("mail.crt", issued.cert.pem()), ("mail.key", issued.signing_key.serialize_pem())] {
            // Another file: of what is written twice into the same, a kernel may tell the same time.
            fs::write(folder.join("beside"), text).unwrap();
            fs::rename(folder.join("beside"), folder.join(name)).unwrap();
        }
    }

    fn load(folder: &Path) -> Built {
        let text = "[server.listener.imap]\nbind = \"127.0.0.1:0\"\nprotocol = \"imap\"\nbackend = \"mail\"\n\
                    [backend.mail]\naddress = \"127.0.0.1:143\"\n\
                    [certificate.main]\ncert = \"%{file:mail.crt}%\"\nprivate-key = \"%{file:mail.key}%\"\n";
        fs::write(folder.join("proxy.toml"), text).unwrap();
        reload::load(&folder.join("proxy.toml"), &Lasting::default(), false).unwrap().0
    }

    #[tokio::test]
    async fn a_look_finds_once_what_changed_and_nothing_once_its_sources_are_replaced() {
        let folder = std::env::temp_dir().join(format!("mailward-lookout-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        issue(&folder);
        let Built { snapshot, sources } = load(&folder);
        let (snapshot, mut lookout) = (Arc::new(snapshot), Lookout::new(sources));
        issue(&folder);
        lookout.look(snapshot.clone());
        lookout.look(snapshot.clone());
        assert_eq!(lookout.looked().await.renewed.unwrap().names, ["mx.example.org"]);
        let nothing = Duration::from_millis(200);
        assert!(timeout(nothing, lookout.looked()).await.is_err(), "the second look was none");

        issue(&folder);
        lookout.look(snapshot.clone());
        lookout = Lookout::new(load(&folder).sources);
        lookout.look(snapshot);
        assert!(timeout(nothing, lookout.looked()).await.is_err(), "the reload has read what the look would find");
        fs::remove_dir_all(&folder).unwrap();
    }
}
