//! What a POP3 backend answers before the login: passed, with its lists filtered.

use super::{Asked, Pop3Filter, State, break_off};
use crate::proto::pop3::capabilities::Capabilities;
use crate::proto::pop3::reply::{self, Reply, Status};
use crate::proto::{Complaint, Ending, RefusedLogin, Wire, line};

impl Pop3Filter {
    /// Takes the backend's reply to what it was asked.
    pub(super) fn take_reply(&mut self, asked: Asked, reply: &Reply<'_>, wire: &mut Wire) -> Result<(), Ending> {
        if reply.status == Status::Challenge && !matches!(asked, Asked::Exchange(_)) {
            return Err(break_off(wire));
        }
        line::write(reply.text, &mut wire.to_client);
        match (asked, reply.status) {
            (Asked::Quit, _) => return Err(Ending::Closed),
            (Asked::Exchange(exchange), Status::Challenge) => self.state = State::Challenged(exchange),
            (Asked::Exchange(exchange), Status::Positive) => self.state = State::LoggedIn(exchange.user()),
            (Asked::Login(user), Status::Positive) => self.state = State::LoggedIn(user),
            (Asked::User(user), Status::Positive) => self.named = user,
            (Asked::User(_) | Asked::Login(_) | Asked::Exchange(_), _) if reply::wants_tls(reply.text) => {
                self.complaints.raise(Complaint::LoginRefusedInPlaintext);
            }
            (Asked::Login(user), _) => self.note_refusal(user, reply.text),
            (Asked::Exchange(exchange), _) => self.note_refusal(exchange.user(), reply.text),
            (asked, _) => self.take_list(&asked, reply.list, wire),
        }
        Ok(())
    }

    fn note_refusal(&mut self, user: Option<String>, text: &[u8]) {
        if reply::blames_credentials(text) {
            self.refused = Some(RefusedLogin { user });
        }
    }

    /// Sends on what is left of a list, if the reply has one.
    fn take_list(&mut self, asked: &Asked, list: Option<&[u8]>, wire: &mut Wire) {
        let Some(list) = list else { return };
        match asked {
            Asked::Capabilities => self.show_capabilities(list, wire),
            Asked::Mechanisms => {
                let mechanisms = reply::mechanisms(list, self.leg);
                mechanisms.iter().for_each(|mechanism| line::write(mechanism, &mut wire.to_client));
                self.offered.by_auth = Some(mechanisms);
            }
            _ => reply::lines(list).for_each(|text| line::write(text, &mut wire.to_client)),
        }
        line::write(b".", &mut wire.to_client);
    }

    fn show_capabilities(&mut self, list: &[u8], wire: &mut Wire) {
        let capabilities = Capabilities::filter(list, self.leg);
        wire.to_client.extend_from_slice(&capabilities.lines);
        self.offered.by_capa = capabilities.mechanisms;
        if !capabilities.login {
            self.complaints.raise(Complaint::LoginRefusedInPlaintext);
        }
    }
}
