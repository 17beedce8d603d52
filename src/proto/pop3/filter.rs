//! POP3 inside TLS.

use std::sync::Arc;

use crate::proto::{Complaint, Farewell, Filter, Flow, Phase, Settings, Start, Violation, Wire};

/// How long the backend's greeting is: see [`crate::proto::greeting_end`].
///
/// # Errors
/// See there.
pub fn greeting_end(_input: &[u8]) -> Result<Option<usize>, Violation> {
    unimplemented!()
}

/// What stands between client and backend.
pub struct Pop3Filter {
    settings: Arc<Settings>,
}

impl Pop3Filter {
    /// A filter that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>, _start: Start, _encrypted: bool) -> Self {
        Self { settings }
    }
}

impl Filter for Pop3Filter {
    fn greeting(&mut self, _greeting: &[u8], _wire: &mut Wire) -> Flow {
        let _ = &self.settings;
        unimplemented!()
    }
    fn client(&mut self, _input: &[u8], _wire: &mut Wire) -> Flow {
        unimplemented!()
    }
    fn backend(&mut self, _input: &[u8], _wire: &mut Wire) -> Flow {
        unimplemented!()
    }
    fn client_ended(&mut self) -> bool {
        unimplemented!()
    }
    fn backend_lost(&mut self, _wire: &mut Wire) -> Flow {
        unimplemented!()
    }
    fn farewell(&mut self, _farewell: Farewell, _wire: &mut Wire) -> bool {
        unimplemented!()
    }
    fn phase(&self) -> Phase {
        unimplemented!()
    }
    fn awaits_login(&self) -> bool {
        unimplemented!()
    }
    fn steps_aside(&self) -> bool {
        unimplemented!()
    }
    fn user(&self) -> Option<&str> {
        unimplemented!()
    }
    fn complaint(&mut self) -> Option<Complaint> {
        unimplemented!()
    }
}
