//! Mail on its way out: what DNS says of a recipient's domain, which hosts take its mail, what its policy demands of them, and how
//! a sender's messages are carried there while it waits.

pub(crate) mod attempt;
mod carriage;
mod conversation;
pub mod dns;
mod ending;
mod fan_out;
mod lane;
pub mod lookup;
mod means;
pub mod places;
pub mod policies;
pub mod policy_host;
pub mod prospect;
mod reach;
mod receipt;
mod record;
pub mod route;
pub mod session;
pub mod store;
mod times;

pub use means::{Lasting, Means};
