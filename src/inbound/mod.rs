//! From an accepted connection to the last byte: the life of a client, and the backend behind it.

pub mod backend;
pub mod bans;
pub mod blocklist;
pub mod crowd;
mod fault;
pub mod gate;
pub(crate) mod handshake;
pub mod occupancy;
pub(crate) mod proxied;
pub(crate) mod record;
mod screening;
pub mod session;
mod world;

pub use world::World;
