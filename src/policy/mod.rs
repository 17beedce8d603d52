//! Facts in, verdict out: the decisions that need no socket, no file and no clock of their own.

pub mod balance;
pub mod health;
pub mod renewal;
