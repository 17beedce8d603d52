//! mailward: a TLS gateway for mail servers that cannot, or should not, do TLS themselves.
//!
//! `ARCHITECTURE.md` shows how the parts fit together. The modules are declared in the order data flows.
#![deny(unsafe_code)]

pub mod config;
pub mod net;
pub mod proto;
pub mod telemetry;
pub mod tls;
