//! Programs and ports: what runs on after a call, what runs to its end, and where it listens.

pub mod port;
pub mod ran;
pub mod supervised;
pub mod wait;
