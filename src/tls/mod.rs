//! rustls lives here: certificates and keys, who is shown which, and what a listener negotiates.
//!
//! Promises: one crypto provider (aws-lc-rs) for the whole program; a listener that was asked for TLS and cannot
//! have it is an error, never a plaintext listener.

mod accept;
mod certificate;
mod challenges;
mod client;
mod client_certificates;
mod facts;
mod file;
mod hello;
mod key_schedule;
mod listing;
mod outbound;
mod overview;
mod pem;
#[cfg(test)]
mod play;
mod proof;
mod record;
mod roots;
mod self_signed;
mod server;
mod source;
mod store;
mod stream;
mod table;
mod tickets;

pub use accept::{Accepted, READ};
pub use certificate::{CertificateError, KeyKind, Loaded, load as load_certificate};
pub use challenges::{ACME_TLS, ChallengeError, Challenges};
pub use client::{ClientFault, ClientSide};
pub use client_certificates::{ClientCertificates, Unverified};
pub use facts::Facts;
pub use file::{read as read_file, read_private as read_private_file};
pub use hello::offered_version;
pub use outbound::{Examined, Peers, Permit, server_name, untrusted, why_broken};
pub use overview::Overview;
pub use pem::{PemError, certificates};
pub use roots::{check_roots, roots, roots_with_system};
pub use server::{HandshakeFault, ServerSide, applications, can_serve};
pub use source::{Looked, Renewed, Sources};
pub use store::{CertStore, Certificates};
pub use stream::ServerStream;
pub use tickets::TicketKeys;
