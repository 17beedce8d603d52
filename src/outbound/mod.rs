//! Mail on its way out: what DNS says of a recipient's domain, which hosts take its mail, and what its policy demands of them.

pub mod dns;
pub mod lookup;
pub mod policies;
pub mod policy_host;
pub mod prospect;
pub mod route;
pub mod store;
