//! Whole dialogues through the greeter and the filter, most of them in every way that bytes can be split.

mod bodies;
mod chunks;
mod commands;
mod endings;
mod greeter;
mod logins;
mod openings;
mod talk;
mod traces;
