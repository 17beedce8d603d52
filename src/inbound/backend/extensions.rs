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

use super::{Backend, READ, Target};
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
        for address in &self.config.addresses {
            for target in self.targets(address, resolver).await.unwrap_or_default() {
                let Some(offered) = self.ask(target).await else { continue };
                common = Some(common.map_or(offered, |common: Extensions| common.common(offered)));
            }
        }
        common
    }

    async fn ask(&self, target: Target) -> Option<Extensions> {
        let mut stream = self.connect(target, None).await.ok()?;
        timeout(self.config.greeting_timeout, self.probe(&mut stream)).await.ok()?
    }

    async fn probe(&self, stream: &mut BackendStream) -> Option<Extensions> {
        let mut probe = Probe::new(self.protocol, &self.hostname);
        let (mut input, mut output) = (Input::new(), Vec::new());
        loop {
            let mut bytes = [0; READ];
            let count = stream.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
            input.push(&bytes[..count]);
            let probed = probe.step(&mut input, &mut output).ok()?;
            stream.write_all(&output).await.ok()?;
            output.clear();
            match probed {
                Probed::More => {}
                Probed::Known(offered) => return Some(offered),
                Probed::Refused => return None,
            }
        }
    }
}
