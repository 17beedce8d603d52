//! What a ManageSieve backend answers before the login: passed, with its lists filtered.

use super::{Asked, SieveFilter, State, break_off};
use crate::proto::sieve::capabilities::Capabilities;
use crate::proto::sieve::reply::{self, Item, Kind, Reply, Status};
use crate::proto::{Complaint, Ending, Flow, RefusedLogin, Wire};

impl SieveFilter {
    /// Takes what the backend says to what it was asked.
    pub(super) fn take_reply(&mut self, asked: Asked, input: &[u8], wire: &mut Wire) -> Flow {
        if let Asked::Capabilities = asked {
            return match reply::first(input) {
                Ok(Some(reply)) => Flow::used(reply.length, self.show(&reply, wire)),
                Ok(None) => self.wait_for(asked),
                Err(_) => Flow::End(break_off(wire)),
            };
        }
        match reply::first_item(input) {
            Ok(Some(item)) => Flow::used(item.bytes.len(), self.take_item(asked, &item, wire)),
            Ok(None) => self.wait_for(asked),
            Err(_) => Flow::End(break_off(wire)),
        }
    }

    fn wait_for(&mut self, asked: Asked) -> Flow {
        self.state = State::Asked(asked);
        Flow::More
    }

    fn take_item(&mut self, asked: Asked, item: &Item<'_>, wire: &mut Wire) -> Result<(), Ending> {
        if item.kind == Kind::Text && !matches!(asked, Asked::Exchange(_)) {
            return Err(break_off(wire));
        }
        wire.to_client.extend_from_slice(item.bytes);
        match (asked, item.kind) {
            (_, Kind::Status(Status::Farewell)) | (Asked::Logout, _) => return Err(Ending::Closed),
            (Asked::Exchange(exchange), Kind::Text) => self.state = State::Challenged(exchange),
            (Asked::Exchange(exchange), Kind::Status(Status::Positive)) => {
                self.state = State::LoggedIn(exchange.user());
            }
            (Asked::Exchange(_), _) if reply::wants_tls(item.bytes) => {
                self.complaints.raise(Complaint::LoginRefusedInPlaintext);
            }
            (Asked::Exchange(exchange), Kind::Status(Status::Negative)) if !reply::is_temporary(item.bytes) => {
                self.refused = Some(RefusedLogin { user: exchange.user() });
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends on a list of capabilities and its last line.
    pub(super) fn show(&mut self, reply: &Reply<'_>, wire: &mut Wire) -> Result<(), Ending> {
        if reply.status == Status::Positive {
            let capabilities = self.learn(reply);
            wire.to_client.extend_from_slice(&capabilities.lines);
            self.offered = Some(capabilities.mechanisms);
        }
        wire.to_client.extend_from_slice(reply.last);
        if reply.status == Status::Farewell { Err(Ending::Closed) } else { Ok(()) }
    }

    pub(super) fn learn(&mut self, reply: &Reply<'_>) -> Capabilities {
        let capabilities = Capabilities::filter(&reply.list, self.leg);
        if capabilities.mechanisms.is_empty() {
            self.complaints.raise(Complaint::LoginRefusedInPlaintext);
        }
        capabilities
    }

    /// Takes what the backend says of its own accord. Only a farewell may be said so.
    pub(super) fn take_unasked(&mut self, input: &[u8], wire: &mut Wire) -> Flow {
        match reply::first_item(input) {
            Ok(Some(Item { bytes, kind: Kind::Status(Status::Farewell) })) => {
                wire.to_client.extend_from_slice(bytes);
                Flow::End(Ending::Closed)
            }
            Ok(None) if begins_farewell(input) => Flow::More,
            _ => {
                self.complaints.raise(Complaint::SpokeUnasked);
                Flow::End(break_off(wire))
            }
        }
    }
}

/// Tells the client of a backend that refuses the session in its greeting: BYE, whichever word it used.
pub(super) fn pass_refusal(reply: &Reply<'_>, wire: &mut Wire) -> Flow {
    let word = reply.last.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    wire.to_client.extend_from_slice(b"BYE");
    wire.to_client.extend_from_slice(&reply.last[word..]);
    Flow::End(Ending::Refused)
}

fn begins_farewell(input: &[u8]) -> bool {
    input.iter().zip(b"BYE").all(|(byte, wanted)| byte.eq_ignore_ascii_case(wanted))
}
