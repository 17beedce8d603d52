//! IMAP4rev1 out of the store (RFC 3501), with LITERAL+ (RFC 7888), SASL-IR (RFC 4959), ID (RFC 2971), IDLE
//! (RFC 2177), NAMESPACE (RFC 2342), UIDPLUS (RFC 4315), UNSELECT (RFC 3691) and MOVE (RFC 6851).
//!
//! imap-codec parses commands and writes responses. How commands are cut out of the stream is [`framing`], what one
//! session knows of a mailbox is [`view`].

mod answer;
mod change;
mod envelope;
mod fetch;
mod folders;
mod framing;
mod idle;
mod login;
mod mime;
mod numbers;
mod pattern;
mod search;
mod section;
mod select;
mod structure;
mod view;
mod words;

use std::{io, sync::Arc};

use answer::Answer;
use framing::{Received, Stage};
use imap_codec::{
    ResponseCodec,
    encode::{Encoder, Fragment},
    imap_types::{
        command::{Command, CommandBody},
        core::Tag,
        response::{Data, Response, Status},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use view::{Numbering, View};

use super::{account::Account, store::Store, stream::Stream};

/// Serves one session.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(store: Store, stream: Stream<S>) -> io::Result<()> {
    let mut session = Session { stream, store, state: State::Anonymous };
    session.greet();
    while session.turn().await? == Next::Command {}
    session.stream.close().await
}

struct Session<S> {
    stream: Stream<S>,
    store: Store,
    state: State,
}

/// RFC 3501 §3; LOGOUT ends the session at once.
enum State {
    Anonymous,
    Authenticated(User),
    Selected(User, View),
}

/// Who logged in.
struct User {
    account: Arc<Account>,
    changes: watch::Receiver<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Command,
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn turn(&mut self) -> io::Result<Next> {
        let stage = if matches!(self.state, State::Anonymous) { Stage::BeforeLogin } else { Stage::LoggedIn };
        match framing::next(&mut self.stream, &self.store, stage).await? {
            Received::Command(Command { tag, body: CommandBody::Logout }) => {
                self.bye("until next time").await?;
                self.finish(Some(tag), Answer::ok("logged out")).await?;
                return Ok(Next::End);
            }
            Received::Command(Command { tag, body }) => self.obey(tag, body).await?,
            Received::Append(append) => self.append(append).await?,
            Received::Refused(tag, answer) => self.finish(tag, answer).await?,
            Received::Broken(words) => {
                self.bye(words).await?;
                return Ok(Next::End);
            }
            Received::Ended => return Ok(Next::End),
        }
        Ok(Next::Command)
    }

    async fn obey(&mut self, tag: Tag<'static>, body: CommandBody<'static>) -> io::Result<()> {
        let numbering = numbering(&body);
        self.catch_up(Numbering::Held).await?;
        let answer = match body {
            CommandBody::Capability => self.capability().await?,
            CommandBody::Id { .. } => self.identify().await?,
            CommandBody::Noop => Answer::ok("done"),
            CommandBody::Login { username, .. } => self.login(username.as_ref()),
            CommandBody::Authenticate { mechanism, initial_response } => {
                self.authenticate(&mechanism, initial_response).await?
            }
            body => match &self.state {
                State::Anonymous => Answer::bad("log in first; any password will do"),
                State::Authenticated(user) | State::Selected(user, _) => {
                    let account = user.account.clone();
                    self.obey_user(&account, body).await?
                }
            },
        };
        self.catch_up(numbering).await?;
        self.finish(Some(tag), answer).await
    }

    async fn obey_user(&mut self, account: &Account, body: CommandBody<'static>) -> io::Result<Answer> {
        match body {
            CommandBody::Namespace => self.namespace().await,
            CommandBody::List { reference, mailbox_wildcard } => {
                self.list(account, &reference, &mailbox_wildcard).await
            }
            CommandBody::Lsub { reference, mailbox_wildcard } => {
                self.lsub(account, &reference, &mailbox_wildcard).await
            }
            CommandBody::Status { mailbox, item_names } => self.status(account, mailbox, &item_names).await,
            CommandBody::Create { mailbox } => Ok(folders::create(account, &mailbox)),
            CommandBody::Delete { mailbox } => Ok(folders::delete(account, &mailbox)),
            CommandBody::Rename { from, to } => Ok(folders::rename(account, &from, &to)),
            CommandBody::Subscribe { mailbox } => Ok(folders::subscribe(account, &mailbox)),
            CommandBody::Unsubscribe { mailbox } => Ok(folders::unsubscribe(account, &mailbox)),
            CommandBody::Select { mailbox } => self.select(account, &mailbox, view::Access::ReadWrite).await,
            CommandBody::Examine { mailbox } => self.select(account, &mailbox, view::Access::ReadOnly).await,
            CommandBody::Idle => self.idle().await,
            body => self.obey_selected(account, body).await,
        }
    }

    async fn obey_selected(&mut self, account: &Account, body: CommandBody<'static>) -> io::Result<Answer> {
        let State::Selected(_, view) = &mut self.state else {
            return Ok(Answer::bad("not understood, or SELECT a mailbox first"));
        };
        match body {
            CommandBody::Check => Ok(Answer::ok("nothing to do")),
            CommandBody::Unselect => Ok(self.unselect()),
            CommandBody::Close => {
                change::close(account, view);
                Ok(self.unselect())
            }
            CommandBody::Expunge => Ok(change::expunge(account, view, None)),
            CommandBody::ExpungeUid { sequence_set } => Ok(change::expunge(account, view, Some(&sequence_set))),
            CommandBody::Copy { sequence_set, mailbox, uid } => {
                Ok(change::copy(account, view, &sequence_set, &mailbox, uid))
            }
            CommandBody::Move { sequence_set, mailbox, uid } => {
                self.move_messages(account, &sequence_set, &mailbox, uid).await
            }
            CommandBody::Store { sequence_set, kind, response, flags, uid } => {
                self.store(account, &sequence_set, change::Marking { kind, response, flags, uid }).await
            }
            CommandBody::Fetch { sequence_set, macro_or_item_names, uid } => {
                self.fetch(account, &sequence_set, macro_or_item_names, uid).await
            }
            CommandBody::Search { charset, criteria, uid } => {
                self.search(account, charset, criteria.as_ref(), uid).await
            }
            _ => Ok(Answer::bad("not understood")),
        }
    }

    /// Tells the client what has changed in the selected mailbox.
    async fn catch_up(&mut self, numbering: Numbering) -> io::Result<()> {
        let State::Selected(user, view) = &mut self.state else { return Ok(()) };
        user.changes.mark_unchanged();
        let news = user.account.update(|folders| view.refresh(folders, numbering));
        for data in news {
            self.tell(data).await?;
        }
        Ok(())
    }

    /// Says untagged data.
    async fn tell(&mut self, data: Data<'_>) -> io::Result<()> {
        self.respond(Response::Data(data)).await
    }

    /// Says how a command ended; without its tag, that it was none.
    async fn finish(&mut self, tag: Option<Tag<'static>>, answer: Answer) -> io::Result<()> {
        match answer.status(tag) {
            Some(status) => self.respond(Response::Status(status)).await,
            None => Ok(()),
        }
    }

    async fn bye(&mut self, words: &'static str) -> io::Result<()> {
        match Status::bye(None, words) {
            Ok(status) => self.respond(Response::Status(status)).await,
            Err(_) => Ok(()),
        }
    }

    async fn respond(&mut self, response: Response<'_>) -> io::Result<()> {
        for fragment in ResponseCodec::default().encode(&response) {
            let (Fragment::Line { data } | Fragment::Literal { data, .. }) = fragment;
            self.stream.send(&data).await?;
        }
        Ok(())
    }
}

/// Whether message numbers may change when a command is answered (RFC 3501 §7.4.1).
fn numbering(body: &CommandBody<'_>) -> Numbering {
    match body {
        CommandBody::Fetch { uid: false, .. }
        | CommandBody::Store { uid: false, .. }
        | CommandBody::Search { uid: false, .. } => Numbering::Held,
        _ => Numbering::MayChange,
    }
}
