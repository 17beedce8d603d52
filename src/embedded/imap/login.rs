//! Before login, and what needs none: the greeting, CAPABILITY, ID, LOGIN and AUTHENTICATE PLAIN.

use std::{borrow::Cow, io};

use imap_codec::{
    AuthenticateDataCodec, GreetingCodec,
    decode::Decoder,
    encode::Encoder,
    imap_types::{
        auth::{AuthMechanism, AuthenticateData},
        core::{IString, NString, Vec1},
        response::{Capability, Code, CommandContinuationRequest, Data, Greeting, Response},
        secret::Secret,
    },
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Session, State, User, answer::Answer};
use crate::embedded::{login, stream::Heard};

const AUTH_LIMIT: usize = 12_288;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn greet(&mut self) {
        let greeting = Greeting::ok(Some(Code::Capability(capabilities())), "mailward, embedded mail store");
        if let Ok(greeting) = greeting {
            self.stream.put(&GreetingCodec::default().encode(&greeting).dump());
        }
    }

    pub(super) async fn capability(&mut self) -> io::Result<Answer> {
        self.tell(Data::Capability(capabilities())).await?;
        Ok(Answer::ok("that is all"))
    }

    pub(super) async fn identify(&mut self) -> io::Result<Answer> {
        let pair = IString::try_from("name").ok().zip(IString::try_from("mailward").ok());
        let parameters = pair.map(|(name, value)| vec![(name, NString(Some(value)))]);
        self.tell(Data::Id { parameters }).await?;
        Ok(Answer::ok("nice to meet you"))
    }

    /// LOGIN, with any password.
    pub(super) fn login(&mut self, user: &[u8]) -> Answer {
        let name = std::str::from_utf8(user).ok().and_then(login::account_name);
        self.open(name)
    }

    pub(super) async fn authenticate(
        &mut self,
        mechanism: &AuthMechanism<'_>,
        initial: Option<Secret<Cow<'static, [u8]>>>,
    ) -> io::Result<Answer> {
        if *mechanism != AuthMechanism::Plain {
            return Ok(Answer::no("PLAIN is what is offered"));
        }
        if !matches!(self.state, State::Anonymous) {
            return Ok(Answer::bad("logged in already"));
        }
        match initial {
            Some(message) => Ok(self.open(login::plain(message.declassify()))),
            None => self.ask().await,
        }
    }

    /// Asks for the message that did not come with the command.
    async fn ask(&mut self) -> io::Result<Answer> {
        let request = CommandContinuationRequest::base64(b"".as_slice());
        self.respond(Response::CommandContinuationRequest(request)).await?;
        let mut line = match self.stream.line(AUTH_LIMIT).await? {
            Heard::Line(line) => line,
            Heard::Bad | Heard::TooLong => return Ok(Answer::bad("not base64")),
            Heard::Ended => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        line.extend_from_slice(b"\r\n");
        match AuthenticateDataCodec::default().decode(&line) {
            Ok((_, AuthenticateData::Continue(message))) => Ok(self.open(login::plain(message.declassify()))),
            Ok((_, AuthenticateData::Cancel)) => Ok(Answer::bad("cancelled")),
            Err(_) => Ok(Answer::bad("not base64")),
        }
    }

    fn open(&mut self, name: Option<String>) -> Answer {
        if !matches!(self.state, State::Anonymous) {
            return Answer::bad("logged in already");
        }
        let Some(name) = name else {
            return Answer::no("a user name is needed; any password will do").with_name("AUTHENTICATIONFAILED");
        };
        match self.store.account(&name) {
            Ok(account) => {
                self.state = State::Authenticated(User { changes: account.watch(), account });
                Answer::ok("welcome").with(Code::Capability(capabilities()))
            }
            Err(refusal) => refusal.into(),
        }
    }
}

fn capabilities() -> Vec1<Capability<'static>> {
    Vec1::unvalidated(vec![
        Capability::Imap4Rev1,
        Capability::LiteralPlus,
        Capability::SaslIr,
        Capability::Auth(AuthMechanism::Plain),
        Capability::Id,
        Capability::Idle,
        Capability::Namespace,
        Capability::UidPlus,
        Capability::Unselect,
        Capability::Move,
    ])
}
