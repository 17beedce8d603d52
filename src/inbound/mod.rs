//! From an accepted connection to the last byte: the life of a client, and the backend behind it.

pub mod backend;
pub mod occupancy;
mod record;
pub mod session;
