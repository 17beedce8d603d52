//! Names to addresses, on the control runtime: a worker never waits in `getaddrinfo`.

use std::{io, net::SocketAddr};

use tokio::runtime::Handle;

/// Resolves host names by the system's resolver.
#[derive(Clone, Debug)]
pub struct Resolver {
    control: Handle,
}

impl Resolver {
    /// A resolver that does its blocking work on `control`'s threads.
    #[must_use]
    pub fn new(control: Handle) -> Self {
        Self { control }
    }

    /// The addresses of `name`, in the system's order of preference. The caller sets the deadline.
    ///
    /// # Errors
    /// What the system's resolver says, or that it found nothing.
    pub async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = name.to_owned();
        let lookup = self.control.spawn(async move {
            tokio::net::lookup_host((name.as_str(), port)).await.map(Iterator::collect::<Vec<_>>)
        });
        let found = lookup.await.map_err(io::Error::other)??;
        if found.is_empty() {
            Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
        } else {
            Ok(found)
        }
    }
}
