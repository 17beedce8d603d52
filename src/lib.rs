//! mailward: a TLS gateway for mail servers that cannot, or should not, do TLS themselves.
//!
//! `ARCHITECTURE.md` shows how the parts fit together.
#![deny(unsafe_code)]

pub mod acme;
pub mod admin;
pub mod config;
pub mod doctor;
pub mod embedded;
pub mod http;
pub mod inbound;
pub mod net;
pub mod outbound;
pub mod policy;
pub mod probe;
pub mod proto;
pub mod reload;
mod replace;
pub mod server;
pub mod snapshot;
pub mod telemetry;
pub mod tls;
