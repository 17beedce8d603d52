//! The servers of the tests.

pub mod dovecot;
pub mod exim;
pub mod named;
pub mod postfix;
pub mod recorder;
mod template;
