//! A question to a resolver, and whether its reply is an answer: values in, bytes out, and back.

use domain::{
    base::{MessageBuilder, Name, Rtype, iana::OptRcode, opt::ExtendedError},
    dep::octseq::Octets,
};

use crate::{
    net::exchange::Whole,
    policy::answer::{Ede, LookupError},
};

/// The longest reply by UDP that we ask for: what comes in one piece through every network that has IPv6.
pub(super) const DATAGRAM: u16 = 1232;

/// How much of a resolver's explanation is kept.
const LONGEST_TEXT: usize = 200;

/// A name in a message of its own.
pub(super) type Owner = Name<Vec<u8>>;

/// What a resolver is to say of DNSSEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing.
    Nothing,
    /// What it has validated.
    Word,
    /// Everything that it takes to validate here, whatever it makes of it itself.
    Signatures,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) name: Owner,
    rtype: Rtype,
}

/// What a resolver said, and whether it is one whose word on DNSSEC counts.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) reply: Whole,
    pub(super) is_believed: bool,
}

impl Question {
    /// A question for records of this type.
    ///
    /// # Errors
    /// [`LookupError::Name`].
    pub(super) fn new(name: &str, rtype: Rtype) -> Result<Self, LookupError> {
        let name = Owner::vec_from_str(&name.to_ascii_lowercase()).map_err(|_| LookupError::Name)?;
        Ok(Self { name, rtype })
    }

    /// The request.
    pub(super) fn compose(&self, id: u16, wanted: Wanted) -> Whole {
        const FITS: &str = "a name and an option are far from the limit of a message";
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(id);
        message.header_mut().set_rd(true);
        // RFC 6840 §5.7: we understand the bit in the reply.
        message.header_mut().set_ad(wanted == Wanted::Word);
        // RFC 6840 §5.9: what it finds bogus too.
        message.header_mut().set_cd(wanted == Wanted::Signatures);
        let mut question = message.question();
        question.push((&self.name, self.rtype)).expect(FITS);
        let mut additional = question.additional();
        let option = additional.opt(|opt| {
            opt.set_udp_payload_size(DATAGRAM);
            opt.set_dnssec_ok(wanted != Wanted::Nothing);
            Ok(())
        });
        option.expect(FITS);
        additional.into_message()
    }
}

/// Whether a reply is an answer, be it that there is nothing.
///
/// # Errors
/// What it is instead.
pub(super) fn is_answer(reply: &Whole) -> Result<(), LookupError> {
    match reply.opt_rcode() {
        OptRcode::NOERROR | OptRcode::NXDOMAIN => {}
        OptRcode::SERVFAIL => return Err(failure(ede(reply))),
        OptRcode::REFUSED => return Err(LookupError::Refused),
        code => return Err(LookupError::Code { code: code.to_int() }),
    }
    // Only a refusal may leave the question out.
    if reply.header_counts().qdcount() == 0 {
        return Err(malformed("the question is missing"));
    }
    // By TCP too.
    if reply.header().tc() { Err(malformed("it is cut short")) } else { Ok(()) }
}

fn failure(ede: Option<Ede>) -> LookupError {
    // RFC 8914 §4: what a validator says of signatures, and (25) of those from before their time.
    let is_of_dnssec = ede.as_ref().is_some_and(|ede| matches!(ede.code, 5..=12 | 25));
    if is_of_dnssec { LookupError::Bogus { ede } } else { LookupError::ServerFailure { ede } }
}

fn ede(reply: &Whole) -> Option<Ede> {
    reply.opt()?.opt().iter::<ExtendedError<_>>().flatten().next().as_ref().map(explained)
}

/// An extended error, whoever says it.
pub(super) fn explained<Octs: Octets>(error: &ExtendedError<Octs>) -> Ede {
    Ede { code: error.code().to_int(), text: printable(error.text_slice().unwrap_or_default()) }
}

/// It goes into logs, replies and reports, and may be of anybody's making.
fn printable(text: &[u8]) -> String {
    let fits = |byte: u8| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    text.iter().take(LONGEST_TEXT).copied().map(fits).collect()
}

/// What the reply is then.
pub(super) fn malformed(what: &'static str) -> LookupError {
    LookupError::Malformed { what }
}

#[cfg(test)]
mod tests {
    use domain::base::{iana::Rcode, message_builder::AnswerBuilder};

    use super::*;

    fn ask(owner: &str, rtype: Rtype) -> Question {
        Question::new(owner, rtype).unwrap()
    }

    fn reply(question: &Question, code: Rcode) -> AnswerBuilder<Vec<u8>> {
        MessageBuilder::new_vec().start_answer(&question.compose(1, Wanted::Word), code).unwrap()
    }

    #[test]
    fn a_question_asks_for_the_word_or_for_the_signatures_or_for_neither() {
        for (wanted, bits) in [
            (Wanted::Nothing, [false, false, false]),
            (Wanted::Word, [true, false, true]),
            (Wanted::Signatures, [false, true, true]),
        ] {
            let request = ask("host.test", Rtype::A).compose(7, wanted);
            let header = request.header();
            let opt = request.opt().unwrap();
            assert_eq!([header.ad(), header.cd(), opt.dnssec_ok()], bits, "{wanted:?}");
            assert_eq!((header.rd(), header.id(), opt.udp_payload_size()), (true, 7, 1232));
        }
        for wrong in ["a..test", &"a".repeat(64), &"abc.".repeat(64)] {
            assert_eq!(Question::new(wrong, Rtype::A), Err(LookupError::Name), "{wrong}");
        }
    }

    #[test]
    fn what_is_cut_or_without_the_question_is_no_answer() {
        let question = ask("one.test", Rtype::A);
        let mut cut = reply(&question, Rcode::NOERROR);
        cut.header_mut().set_tc(true);
        assert_eq!(is_answer(&cut.into_message()), Err(malformed("it is cut short")));
        let mut bare = MessageBuilder::new_vec();
        bare.header_mut().set_qr(true);
        assert_eq!(is_answer(&bare.into_message()), Err(malformed("the question is missing")));
    }

    fn failed(code: Rcode, ede: Option<(u16, &[u8])>) -> LookupError {
        let mut reply = reply(&ask("some.test", Rtype::A), code).additional();
        let option = |(code, text): (u16, &[u8])| [&code.to_be_bytes(), text].concat();
        let filled = reply.opt(|opt| match ede.map(option) {
            Some(data) => opt.push_raw_option(15.into(), data.len().try_into().unwrap(), |target| {
                domain::dep::octseq::OctetsBuilder::append_slice(target, &data)
            }),
            None => Ok(()),
        });
        filled.unwrap();
        is_answer(&reply.into_message()).unwrap_err()
    }

    #[test]
    fn a_failure_says_what_it_is() {
        let ede = |code, text: &str| Some(Ede { code, text: text.to_owned() });
        assert_eq!(failed(Rcode::SERVFAIL, None), LookupError::ServerFailure { ede: None });
        assert_eq!(failed(Rcode::SERVFAIL, Some((22, b""))), LookupError::ServerFailure { ede: ede(22, "") });
        for code in [5, 6, 7, 8, 9, 10, 11, 12, 25] {
            assert_eq!(failed(Rcode::SERVFAIL, Some((code, b"why"))), LookupError::Bogus { ede: ede(code, "why") });
        }
        let evil = failed(Rcode::SERVFAIL, Some((6, b"a\r\n250 ok\xff")));
        assert_eq!(evil, LookupError::Bogus { ede: ede(6, "a??250 ok?") });
        let long = failed(Rcode::SERVFAIL, Some((6, &[b'x'; 1000])));
        assert_eq!(long.ede().unwrap().text.len(), LONGEST_TEXT);
        assert_eq!(failed(Rcode::REFUSED, None), LookupError::Refused);
        assert_eq!(failed(Rcode::NOTIMP, None), LookupError::Code { code: 4 });
    }
}
