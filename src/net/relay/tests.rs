//! The relay on a clock that a test moves, between two pipes, through a filter whose decisions are spelled out in what
//! crosses it.

mod bench;
mod ends;
mod flow;
mod times;
