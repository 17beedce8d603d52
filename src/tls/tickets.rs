//! Session ticket keys: one ticketer for each listener, outside the snapshot, so that a reload keeps them and a
//! ticket of one listener means nothing to another (rustls itself binds a ticket to its server name).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{crypto::aws_lc_rs::Ticketer, server::ProducesTickets};

/// The ticketers of all listeners, by listener id. Each makes a new key every 6 hours and honours the one before
/// it for 6 more (rustls' rotation), so that no key lives longer than 12 hours.
#[derive(Debug, Default)]
pub struct TicketKeys {
    by_listener: Mutex<HashMap<String, Arc<dyn ProducesTickets>>>,
}

impl TicketKeys {
    /// The listener's ticketer, made at the first call.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn of(&self, listener: &str) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut keys = self.by_listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = keys.get(listener) {
            return Ok(known.clone());
        }
        let fresh = Ticketer::new()?;
        keys.insert(listener.to_owned(), fresh.clone());
        Ok(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_by_its_listener_alone_and_outlives_a_reload() {
        let keys = TicketKeys::default();
        let ticket = keys.of("imaps").unwrap().encrypt(b"session").unwrap();
        assert_eq!(keys.of("imaps").unwrap().decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(keys.of("pop3s").unwrap().decrypt(&ticket), None);
    }
}
