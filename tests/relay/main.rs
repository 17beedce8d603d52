//! Mail goes through a relay listener to the mail hosts of a signed world. Names begin with the rows of the requirements.

#[path = "../support/mod.rs"]
mod support;

mod bed;
mod dane;
mod golden;
mod rules;
mod senders;
mod strategies;
mod sts;
