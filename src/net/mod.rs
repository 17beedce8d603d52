//! Sockets without meaning: listen, drive a machine over a stream, connect, relay, resolve.

pub mod close;
pub mod connect;
pub mod dns;
pub mod drive;
pub(crate) mod exchange;
pub mod https;
pub mod listen;
pub mod relay;
pub mod stage;

pub use stage::Stage;
