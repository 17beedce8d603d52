//! The answer in a reply.
//!
//! A reply is taken at its word only where it is whole: what is cut, contradicts itself or leads in circles is an
//! error, never "no record".

use std::time::Duration;

use domain::{
    base::{
        ParseRecordData, Rtype, ToName as _, Ttl,
        iana::Rcode,
        message::{RecordIter, RecordSection},
    },
    rdata::{Cname, Dname, Soa},
};

use super::{
    question::{Owner, Question, Said, malformed},
    records::{Parsed, Records, text},
};
use crate::{
    net::exchange::Whole,
    outbound::lookup::Found,
    policy::answer::{Answer, Existence, LookupError, Security},
};

/// How many aliases are followed.
const ALIASES: usize = 16;

/// The answer in a reply that [`is_answer`](super::question::is_answer).
///
/// # Errors
/// [`LookupError::Malformed`].
pub(super) fn read<T: Records>(said: &Said, question: &Question) -> Found<T> {
    let reply = &said.reply;
    let mut times = Vec::new();
    let aliases = if T::RTYPE == Rtype::CNAME { Vec::new() } else { follow(reply, &question.name, &mut times)? };
    let owner = aliases.last().unwrap_or(&question.name);
    let mut records = Vec::new();
    for record in section::<T::Data<'_>>(reply)? {
        let record = record.map_err(|_| malformed("a record in it is damaged"))?;
        if record.owner() == owner {
            times.push(record.ttl());
            records.push(T::convert(record.into_data()));
        }
    }
    let existence = match (records.is_empty(), reply.header().rcode()) {
        (true, Rcode::NXDOMAIN) => Existence::NoName,
        (true, _) => Existence::NoData,
        (false, Rcode::NXDOMAIN) => return Err(malformed("it has records of a name that does not exist")),
        (false, _) => Existence::Records,
    };
    if records.is_empty() {
        times.push(time_of_no(reply));
    }
    let security = if said.is_believed && reply.header().ad() { Security::Secure } else { Security::Insecure };
    let ttl = times.into_iter().min().map_or(Duration::ZERO, |ttl| ttl.into_duration());
    Ok(Answer { records, existence, security, aliases: aliases.iter().map(text).collect(), ttl })
}

/// The names behind each alias, from this one on.
fn follow(reply: &Whole, from: &Owner, times: &mut Vec<Ttl>) -> Result<Vec<Owner>, LookupError> {
    let mut links = Vec::new();
    for record in section::<Cname<Parsed<'_>>>(reply)? {
        let record = record.map_err(|_| malformed("an alias in it is damaged"))?;
        links.push((record.owner().to_vec(), record.data().cname().to_vec(), record.ttl()));
    }
    let mut names = Vec::new();
    loop {
        let name = names.last().unwrap_or(from);
        let mut here = links.iter().filter(|(owner, ..)| owner == name);
        let Some((_, target, ttl)) = here.next() else {
            return if leads_on(reply, name)? { Err(malformed("an alias in it is missing")) } else { Ok(names) };
        };
        if here.any(|(_, other, _)| other != target) {
            return Err(malformed("a name in it is an alias of two others"));
        }
        if names.len() == ALIASES {
            return Err(malformed("too many aliases"));
        }
        times.push(*ttl);
        names.push(target.clone());
    }
}

/// RFC 6672 §3.1: below a DNAME record there is nothing but aliases, which come with it. They are not signed, so that
/// whoever takes one out would make "nothing" of an answer that is secure.
fn leads_on(reply: &Whole, name: &Owner) -> Result<bool, LookupError> {
    for record in section::<Dname<Parsed<'_>>>(reply)? {
        let record = record.map_err(|_| malformed("an alias in it is damaged"))?;
        if name.ends_with(record.owner()) && name != record.owner() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The records of a kind in the answer.
fn section<'a, Data: ParseRecordData<'a, Vec<u8>>>(
    reply: &'a Whole,
) -> Result<RecordIter<'a, Vec<u8>, Data>, LookupError> {
    reply.answer().map(RecordSection::limit_to_in).map_err(|_| malformed("it ends within the question"))
}

/// RFC 2308 §5: how long it holds that there is nothing, by the SOA record that comes with a no.
fn time_of_no(reply: &Whole) -> Ttl {
    let zone = reply.authority().ok().and_then(|found| found.limit_to_in::<Soa<Parsed<'_>>>().flatten().next());
    zone.map_or(Ttl::ZERO, |soa| soa.ttl().min(soa.data().minimum()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use domain::{
        base::{Message, MessageBuilder, message_builder::AnswerBuilder},
        rdata::A,
    };

    use super::{super::question::Wanted, *};

    fn name(text: &str) -> Owner {
        Owner::vec_from_str(text).unwrap()
    }

    fn seconds(count: u32) -> Ttl {
        Ttl::from_secs(count)
    }

    fn ask(owner: &str, rtype: Rtype) -> Question {
        Question::new(owner, rtype).unwrap()
    }

    fn reply(question: &Question, code: Rcode) -> AnswerBuilder<Vec<u8>> {
        MessageBuilder::new_vec().start_answer(&question.compose(1, Wanted::Word), code).unwrap()
    }

    fn said(mut reply: AnswerBuilder<Vec<u8>>, ad: bool) -> Said {
        reply.header_mut().set_ad(ad);
        Said { reply: reply.into_message(), is_believed: true }
    }

    fn alias(reply: &mut AnswerBuilder<Vec<u8>>, from: &str, to: &str, ttl: u32) {
        reply.push((name(from), seconds(ttl), Cname::new(name(to)))).unwrap();
    }

    fn address(reply: &mut AnswerBuilder<Vec<u8>>, owner: &str, ttl: u32) {
        reply.push((name(owner), seconds(ttl), A::from_octets(192, 0, 2, 1))).unwrap();
    }

    #[test]
    fn an_answer_behind_aliases_has_the_names_and_the_shortest_time() {
        let question = ask("One.test", Rtype::A);
        let mut answer = reply(&question, Rcode::NOERROR);
        address(&mut answer, "three.test", 300);
        address(&mut answer, "other.test", 1);
        alias(&mut answer, "two.TEST", "Three.test", 50);
        alias(&mut answer, "one.test", "two.test", 70);
        let answer: Answer<Ipv4Addr> = read(&said(answer, true), &question).unwrap();
        let expected = Answer {
            records: vec![Ipv4Addr::new(192, 0, 2, 1)],
            existence: Existence::Records,
            security: Security::Secure,
            aliases: vec!["two.test".into(), "three.test".into()],
            ttl: Duration::from_secs(50),
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn the_question_for_an_alias_is_not_led_on() {
        let question = ask("one.test", Rtype::CNAME);
        let mut answer = reply(&question, Rcode::NOERROR);
        alias(&mut answer, "one.test", "two.test", 70);
        let answer: Answer<String> = read(&said(answer, false), &question).unwrap();
        assert_eq!((answer.records, answer.aliases), (vec!["two.test".to_owned()], vec![]));
        assert_eq!(answer.security, Security::Insecure);
    }

    #[test]
    fn nothing_holds_as_long_as_its_zone_says() {
        let question = ask("some.test", Rtype::A);
        for (code, existence) in [(Rcode::NOERROR, Existence::NoData), (Rcode::NXDOMAIN, Existence::NoName)] {
            let mut authority = reply(&question, code).authority();
            let zone = name("test");
            let soa = Soa::new(&zone, &zone, 1.into(), seconds(7), seconds(7), seconds(7), seconds(40));
            authority.push((&zone, seconds(90), soa)).unwrap();
            let said = Said { reply: authority.into_message(), is_believed: true };
            let answer: Answer<Ipv4Addr> = read(&said, &question).unwrap();
            assert_eq!((answer.existence, answer.ttl), (existence, Duration::from_secs(40)));
        }
        let answer: Answer<Ipv4Addr> = read(&said(reply(&question, Rcode::NOERROR), true), &question).unwrap();
        assert_eq!((answer.ttl, answer.security), (Duration::ZERO, Security::Secure));
    }

    #[test]
    fn what_is_not_believed_is_not_secure() {
        let question = ask("some.test", Rtype::A);
        let believed = said(reply(&question, Rcode::NOERROR), true);
        let not = Said { is_believed: false, ..believed.clone() };
        assert_eq!(read::<Ipv4Addr>(&believed, &question).unwrap().security, Security::Secure);
        assert_eq!(read::<Ipv4Addr>(&not, &question).unwrap().security, Security::Insecure);
    }

    fn why(reply: AnswerBuilder<Vec<u8>>, question: &Question) -> &'static str {
        match read::<Ipv4Addr>(&said(reply, true), question) {
            Err(LookupError::Malformed { what }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_contradicts_itself_is_no_answer() {
        let question = ask("a0.test", Rtype::A);
        let mut circle = reply(&question, Rcode::NOERROR);
        alias(&mut circle, "a0.test", "a1.test", 1);
        alias(&mut circle, "a1.test", "a0.test", 1);
        assert_eq!(why(circle, &question), "too many aliases");
        let chain = |length: usize| {
            let mut chain = reply(&question, Rcode::NOERROR);
            for number in 0..length {
                alias(&mut chain, &format!("a{number}.test"), &format!("a{}.test", number + 1), 1);
            }
            address(&mut chain, &format!("a{length}.test"), 1);
            chain
        };
        assert_eq!(why(chain(ALIASES + 1), &question), "too many aliases");
        assert_eq!(read::<Ipv4Addr>(&said(chain(ALIASES), true), &question).unwrap().records.len(), 1);
        let mut two = reply(&question, Rcode::NOERROR);
        alias(&mut two, "a0.test", "b.test", 1);
        alias(&mut two, "a0.test", "c.test", 1);
        assert_eq!(why(two, &question), "a name in it is an alias of two others");
        let mut below = reply(&question, Rcode::NOERROR);
        below.push((name("test"), seconds(1), Dname::new(name("example")))).unwrap();
        address(&mut below, "a0.example", 1);
        assert_eq!(why(below, &question), "an alias in it is missing");
        let mut beside = reply(&question, Rcode::NOERROR);
        beside.push((name("a0.test"), seconds(1), Dname::new(name("example")))).unwrap();
        assert!(read::<Ipv4Addr>(&said(beside, true), &question).is_ok());
        let mut gone = reply(&question, Rcode::NXDOMAIN);
        address(&mut gone, "a0.test", 1);
        assert_eq!(why(gone, &question), "it has records of a name that does not exist");
    }

    #[test]
    fn what_is_cut_anywhere_is_no_answer() {
        let question = ask("one.test", Rtype::A);
        let mut answer = reply(&question, Rcode::NOERROR);
        alias(&mut answer, "one.test", "two.test", 1);
        address(&mut answer, "two.test", 1);
        let whole = answer.finish();
        for end in 12..whole.len() {
            let reply = Message::from_octets(whole[..end].to_vec()).unwrap();
            let said = Said { reply, is_believed: true };
            assert!(matches!(read::<Ipv4Addr>(&said, &question), Err(LookupError::Malformed { .. })), "{end}");
        }
    }
}
