//! The `http` listener: answers the authorities that validate names over HTTP (http-01, RFC 8555 §8.3), and sends
//! everybody else away, or on to the same place over https.
//!
//! Promises that nothing it is asked for is looked up anywhere but among the answers that are pending, that what a request
//! says comes back in no header but a checked Location, and that head, time and number of requests of a connection are
//! bounded. Refuses to read what follows a head: such a connection is closed behind the answer.

mod answer;
mod connection;
mod host;

pub use connection::{refuse, serve};
