//! ManageSieve (RFC 5804).

mod capabilities;
mod filter;
mod greeter;
mod reader;
mod reply;
mod syntax;
#[cfg(test)]
mod tests;
mod upgrade;
mod words;

pub use filter::SieveFilter;
pub use greeter::SieveGreeter;
pub use reply::greeting_end;
pub(super) use upgrade::answer as upgrade_answer;
