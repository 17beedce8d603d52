//! What an SMTP or LMTP backend offers, asked once for all clients that go on in plaintext (spec §4.1).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::OnceCell,
    time::timeout,
};

use super::{Backend, Hold, READ, Whom, opening::Unopened};
use crate::{
    net::{connect::BackendStream, dns::Resolver},
    proto::{
        Input,
        smtp::{Extensions, Probe, Probed},
    },
};

/// How long an answer counts; a backend may be changed at any time.
const FRESH_FOR: Duration = Duration::from_secs(600);

/// What was asked for: `None` inside where nobody answered.
type Asked = OnceCell<Option<Extensions>>;

/// An answer that the first who needs it fetches, and the others wait for. That there was none is an answer to all who
/// waited: were each to ask in turn, the last of many would wait for as many time limits.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Option<(Instant, Arc<Asked>)>>);

impl Known {
    fn cell(&self) -> Arc<Asked> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((asked, cell)) if asked.elapsed() < FRESH_FOR && cell.get() != Some(&None) => cell.clone(),
            _ => {
                let cell = Arc::default();
                *known = Some((Instant::now(), Arc::clone(&cell)));
                cell
            }
        }
    }
}

impl Backend {
    /// What every address that answers offers; `None` where none does.
    pub async fn extensions(&self, resolver: &Resolver) -> Option<Extensions> {
        let cell = self.extensions.cell();
        *cell.get_or_init(|| self.ask_all(resolver)).await
    }

    async fn ask_all(&self, resolver: &Resolver) -> Option<Extensions> {
        let mut common = None;
        let candidates = self.candidates(&self.config.members, resolver).await.unwrap_or_default();
        for (target, _) in candidates {
            // What is left out is not waited for: it may well be left out when its turn comes.
            let Some(hold) = self.pool.take(&target, false) else { continue };
            let Some(offered) = self.ask(hold).await else { continue };
            common = Some(common.map_or(offered, |common: Extensions| common.common(offered)));
        }
        common
    }

    async fn ask(&self, mut hold: Hold) -> Option<Extensions> {
        let stream = match self.connect(hold.target(), Whom::Mailward { tls: None }).await {
            Ok(stream) => stream,
            Err(error) => {
                // Of a shortage who comes to dial is told.
                let _ = self.blame(&mut hold, &error);
                return None;
            }
        };
        let (mut stream, greeting) = match self.open(stream, hold.target()).await {
            Ok(opened) => opened,
            Err(Unopened::Failed(reason) | Unopened::Unsecured(reason)) => {
                hold.failed(&reason);
                return None;
            }
            Err(Unopened::Unusable(complaint)) => {
                self.complain(complaint);
                return None;
            }
        };
        let answered = timeout(self.config.greeting_timeout, self.probe(&mut stream, &greeting)).await;
        match answered {
            Ok(Some(answer)) => {
                hold.answered();
                answer
            }
            Ok(None) => {
                hold.failed("it does not answer EHLO");
                None
            }
            Err(_) => {
                hold.failed(&self.too_late_to_greet());
                None
            }
        }
    }

    /// What it offers, if it takes sessions; `None` where it does not speak the protocol, or goes away.
    async fn probe(&self, stream: &mut BackendStream, greeting: &[u8]) -> Option<Option<Extensions>> {
        let mut probe = Probe::new(self.protocol, &self.settings.hostname);
        let (mut input, mut output) = (Input::new(), Vec::new());
        input.push(greeting);
        loop {
            let probed = probe.step(&mut input, &mut output).ok()?;
            stream.write_all(&output).await.ok()?;
            output.clear();
            match probed {
                Probed::More => {}
                Probed::Known(offered) => return Some(Some(offered)),
                Probed::Refused => return Some(None),
            }
            let mut bytes = [0; READ];
            let count = stream.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
            input.push(&bytes[..count]);
        }
    }
}
