//! Speaking to a running mailward: one request and one reply over a unix socket, each a line of JSON.
//!
//! Promises that the account which mailward runs under, and root, are the only ones that get in, and that a peer which is
//! silent, slow, or sends junk holds nobody up. Refuses a request above 4 KiB, and any that it does not know.

use serde::{Deserialize, Serialize};

use crate::{acme, inbound::bans::Banned};

mod certificate;
mod client;
mod policy;
mod socket;
mod text;

pub use certificate::{Certificate, State, certificates, certificates_at_rest};
pub use client::{AskError, ask};
pub use policy::{FailedFetches, HeldPolicy, Policy, policies};
pub use socket::{Socket, SocketError};
pub use text::{describe, list_bans, list_policies};

/// What is asked of the running process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Read the configuration anew.
    Reload,
    /// Stop, and let running sessions end.
    Drain,
    /// Tell of every certificate.
    Certificates,
    /// Do something about those that are kept.
    Acme(acme::Command),
    /// Tell who is banned.
    Bans,
    /// Lift the ban of this address, or those of a network; without one all.
    Unban(Option<String>),
    /// Tell what is known of the MTA-STS policies of recipients' domains.
    Policies,
    /// Forget what is known of this domain's.
    ForgetPolicy(String),
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done, or begun: what there is to say of it.
    Done(String),
    /// It is not: why.
    Refused(String),
    /// Every certificate.
    Certificates(Vec<Certificate>),
    /// Every ban, those that end first in front.
    Bans(Vec<Banned>),
    /// What is known of policies, by domain.
    Policies(Vec<Policy>),
}
