//! The real components the tests put around mailward: Dovecot and Postfix as mail servers, Exim as a sender and as a server,
//! BIND as a name server, NSD and Unbound as a DNS of their own, Pebble as the authority that certificates are from, and the programs people read and send mail with
//! as clients.
//!
//! A test file says `mod support;` and reads like this:
//!
//! ```no_run
//! let dovecot = Dovecot::builder().start();
//! let postfix = Postfix::builder().deliver_to(&dovecot).start();
//! // … mailward in front of postfix.smtp() and dovecot.imap() …
//! let smtp = Target::starttls(listener, "mail.example.org", &ca);
//! Swaks::at(&smtp).send("bob@example.net", ALICE, &message).succeeds();
//! assert_carries(&dovecot.delivery("alice"), &message);
//! ```
//!
//! What each part promises:
//! - A **server** has its own configuration (`tests/fixtures/servers`), directory, addresses on [`HOST`] and processes. `start`
//!   returns when it answers and panics with its log when it does not. Dropping the value ends every process of that server and
//!   nothing else, even when the test panics or is killed. Nothing they accept ever leaves the machine.
//! - A **client** is a builder that ends in a [`Ran`]: exit code and output of a program that was given a time limit.
//! - A missing program is a panic that says to run `tests/run`, never a skipped test.
#![allow(dead_code, unused_imports, reason = "each test file takes what it needs")]
#![allow(unreachable_pub, reason = "a module of a test is never reached from outside")]

mod clients;
mod figures;
pub mod gateway;
mod message;
mod namespace;
mod process;
mod scratch;
mod servers;

pub use clients::curl::Curl;
pub use clients::mbsync::Mbsync;
pub use clients::openssl::{Handshake, SClient};
pub use clients::python::Python;
pub use clients::swaks::Swaks;
pub use clients::target::{Security, Target};
pub use clients::testssl::{Finding, Testssl};
pub use figures::{figure, is_full, size};
pub use gateway::authority::{Authority, Issued, Kind};
pub use gateway::dialect::{DIALECTS, Dialect, dialect};
pub use gateway::fake::{Fake, nobody};
pub use gateway::hello::{client_hello, message as handshake_message, offering, old_client_hello, record};
pub use gateway::idle;
pub use gateway::plain;
pub use gateway::relaying::{self, relaying};
pub use gateway::secured::{Secured, Way};
pub use gateway::shown::Shown;
pub use gateway::talk::Talk;
pub use gateway::witness::Witness;
pub use gateway::{Gateway, GatewayBuilder, NAME, built, mailward, release_build};
pub use message::{assert_carries, message, stuffed, trace_is_wrong};
pub use namespace::Namespace;
pub use process::port::{Port, reserve_port};
pub use process::ran::{Ran, Running, run, run_within, start};
pub use process::supervised::Supervised;
pub use process::wait::{eventually, eventually_within};
pub use scratch::Scratch;
pub use servers::dovecot::{Dovecot, DovecotBuilder};
pub use servers::exim::{Exim, EximQueue};
pub use servers::exim_server::EximServer;
pub use servers::front::{Fault, Front, Resource};
pub use servers::mail_hosts::{MailHosts, MailHostsBuilder, Said, Visit};
pub use servers::mx::{self, Arrival, Mx, Verdict};
pub use servers::named::{Named, NamedBuilder};
pub use servers::pebble::{Pebble, PebbleBuilder};
pub use servers::postfix::{Delivery, Postfix, PostfixBuilder};
pub use servers::recorder::{Recorded, Recorder};
pub use servers::world::{PolicyHost, Sink, World};

/// Where the servers of the tests listen. It is not 127.0.0.1 because Dovecot takes a connection from its own address for a
/// secure one; whoever connects to it without choosing a source comes from 127.0.0.1.
pub const HOST: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 2);

/// The domain whose mail Postfix and Dovecot deliver. Its users are `alice`, `bob`, and `user1` to `user64`; they log in with or
/// without the domain.
pub const DOMAIN: &str = "example.org";

/// The address of the user most tests use.
pub const ALICE: &str = "alice@example.org";

/// The password of every user.
pub const PASSWORD: &str = "open sesame";
