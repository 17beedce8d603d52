//! Facts in, verdict out: the decisions that need no socket, no file and no clock of their own.

pub mod answer;
pub mod balance;
pub mod bans;
pub mod certificate;
pub mod client;
pub mod clients;
pub mod dane;
pub mod dnsbl;
pub mod evidence;
pub mod health;
pub mod history;
pub mod mta_sts;
pub mod names;
pub mod outcome;
pub mod rate;
pub mod renewal;
pub mod strategy;
pub mod verdict;
