//! What the fuzz targets share: mailward's pure code, taken in by path, and the players that drive it.

// The players and the shared support say `mailward::`, as the tests do.
extern crate self as mailward;

#[path = "../../../src/config/mod.rs"]
pub mod config;
#[path = "../../../src/policy/mod.rs"]
pub mod policy;
#[path = "../../../src/proto/mod.rs"]
pub mod proto;

#[path = "../../support/machines.rs"]
#[allow(dead_code, reason = "the transcript tests need more of it")]
mod machines;
#[path = "../../support/outbound.rs"]
#[allow(dead_code, reason = "the transcript tests need more of it")]
mod outbound;
#[path = "../../support/transcript.rs"]
#[allow(dead_code, reason = "the transcript tests need more of it")]
mod transcript;

pub mod outbound_play;
pub mod play;
pub mod script;
pub mod seeds;
pub mod strict_smtp;
#[cfg(feature = "tls")]
pub mod tls;
