//! The servers of the tests.

pub mod dovecot;
pub mod exim;
pub mod exim_server;
pub mod front;
pub mod mail_hosts;
pub mod mx;
pub mod named;
pub mod pebble;
pub mod postfix;
pub mod recorder;
mod template;
pub mod world;
