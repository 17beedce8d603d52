//! Sockets without meaning: listen, drive a machine over a stream, connect, relay, resolve.

pub mod close;
pub mod connect;
pub mod dns;
pub mod drive;
pub mod listen;
pub mod relay;

/// What the process is doing, as its sessions see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Serving.
    Running,
    /// No new sessions; running ones end where their protocol lets them.
    Draining,
    /// Every session ends now.
    Stopping,
}
