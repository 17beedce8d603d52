//! Facts in, verdict out: the decisions that need no socket, no file and no clock of their own.

pub mod renewal;
