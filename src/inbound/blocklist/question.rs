//! What a resolver is asked about one client and one list, and what it says.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use domain::{
    base::{MessageBuilder, Name, ParsedName, Rtype, Ttl, iana::Rcode},
    rdata::{A, Soa},
};

use crate::net::exchange::{Whole, exchange, random_id};

/// What was said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// None where the client is not on the list.
    pub(super) addresses: Vec<Ipv4Addr>,
    /// How long that may be remembered; no time where it was not said.
    pub(super) time: Duration,
}

/// Asks for the addresses of `name`. The caller sets the deadline.
///
/// # Errors
/// As [`exchange`], or that the resolver has no answer.
pub(super) async fn ask(resolver: SocketAddr, name: &str) -> io::Result<Said> {
    read(&exchange(resolver, false, &compose(name)?).await?)
}

fn compose(name: &str) -> io::Result<Whole> {
    let name = Name::<Vec<u8>>::from_chars(name.chars()).map_err(io::Error::other)?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(random_id());
    message.header_mut().set_rd(true);
    let mut question = message.question();
    question.push((&name, Rtype::A)).map_err(io::Error::other)?;
    Ok(question.into_message())
}

fn read(reply: &Whole) -> io::Result<Said> {
    match reply.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        other => return Err(io::Error::other(format!("the server answers {other}"))),
    }
    // Only a refusal may leave the question out.
    if reply.header_counts().qdcount() == 0 {
        return Err(io::Error::other("the server answers without the question"));
    }
    let (mut addresses, mut times) = (Vec::new(), Vec::new());
    // Behind an alias the owner is another.
    for record in reply.answer().map_err(io::Error::other)?.limit_to_in::<A>() {
        let record = record.map_err(io::Error::other)?;
        addresses.push(record.data().addr());
        times.push(record.ttl());
    }
    if addresses.is_empty() {
        times.extend(time_of_no(reply));
    }
    Ok(Said { addresses, time: times.into_iter().min().unwrap_or(Ttl::ZERO).into_duration() })
}

/// RFC 2308 §5: how long it holds that there is no such name, by the SOA record that comes with a no.
fn time_of_no(reply: &Whole) -> Option<Ttl> {
    let mut zones = reply.authority().ok()?.limit_to_in::<Soa<ParsedName<_>>>().flatten();
    zones.next().map(|soa| soa.ttl().min(soa.data().minimum()))
}

#[cfg(test)]
mod tests {
    use domain::base::{Message, message_builder::AnswerBuilder};

    use super::*;

    const NAME: &str = "9.2.0.192.bl.example";

    fn reply(code: Rcode) -> AnswerBuilder<Vec<u8>> {
        MessageBuilder::new_vec().start_answer(&compose(NAME).unwrap(), code).unwrap()
    }

    fn name(text: &str) -> Name<Vec<u8>> {
        Name::vec_from_str(text).unwrap()
    }

    fn seconds(count: u32) -> Ttl {
        Ttl::from_secs(count)
    }

    fn said(addresses: &[[u8; 4]], time: u64) -> Said {
        let addresses = addresses.iter().copied().map(Ipv4Addr::from).collect();
        Said { addresses, time: Duration::from_secs(time) }
    }

    #[test]
    fn a_yes_holds_as_long_as_its_shortest_record() {
        let mut answer = reply(Rcode::NOERROR);
        answer.push((name(NAME), seconds(900), A::from_octets(127, 0, 0, 2))).unwrap();
        answer.push((name("behind.an.alias.example"), seconds(300), A::from_octets(127, 0, 0, 4))).unwrap();
        assert_eq!(read(&answer.into_message()).unwrap(), said(&[[127, 0, 0, 2], [127, 0, 0, 4]], 300));
    }

    #[test]
    fn a_no_holds_as_long_as_its_zone_says() {
        for code in [Rcode::NXDOMAIN, Rcode::NOERROR] {
            for (ttl, minimum, time) in [(900, 150, 150), (100, 150, 100)] {
                let mut authority = reply(code).authority();
                let (zone, ttl, minimum) = (name("bl.example"), seconds(ttl), seconds(minimum));
                let soa = Soa::new(&zone, &zone, 1.into(), seconds(7), seconds(7), seconds(7), minimum);
                authority.push((&zone, ttl, soa)).unwrap();
                assert_eq!(read(&authority.into_message()).unwrap(), said(&[], time), "{code}");
            }
            assert_eq!(read(&reply(code).into_message()).unwrap(), said(&[], 0), "{code}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for code in [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::FORMERR] {
            assert!(read(&reply(code).into_message()).unwrap_err().to_string().contains(&code.to_string()));
        }
        let mut bare = MessageBuilder::new_vec();
        bare.header_mut().set_qr(true);
        assert!(read(&bare.into_message()).is_err());
        let mut answer = reply(Rcode::NOERROR);
        answer.push((name(NAME), seconds(900), A::from_octets(127, 0, 0, 2))).unwrap();
        let whole = answer.finish();
        for end in 12..whole.len() {
            assert!(read(&Message::from_octets(whole[..end].to_vec()).unwrap()).is_err(), "{end}");
        }
    }
}
