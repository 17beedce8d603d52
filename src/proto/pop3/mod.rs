//! POP3 (RFC 1939), with CAPA (RFC 2449), STLS (RFC 2595), AUTH (RFC 5034), SYS/TEMP (RFC 3206), and UTF8 and
//! LANG (RFC 6856).

mod capabilities;
mod filter;
mod greeter;
mod reply;
#[cfg(test)]
mod tests;
mod upgrade;
mod words;

pub use filter::Pop3Filter;
pub use greeter::Pop3Greeter;
pub use reply::greeting_end;
pub(super) use upgrade::answer as upgrade_answer;
