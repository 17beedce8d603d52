//! The mail servers of the tests.

pub mod dovecot;
pub mod exim;
pub mod postfix;
pub mod recorder;
mod template;
