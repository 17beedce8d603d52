//! The kinds of records that are asked for: as they stand in a message, and as they are used.

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::{
    base::{ParseRecordData, ParsedName, RecordData, Rtype, ToName, wire::ParseError},
    dep::octseq::Parser,
    rdata::{self, A, Aaaa, Cname, Txt},
};

use crate::{outbound::lookup::Mx, policy::dane::Tlsa};

/// A name in a message.
pub(super) type Parsed<'a> = ParsedName<&'a [u8]>;

/// A kind of records that can be read from an answer.
pub(super) trait Records: Sized {
    /// Their type.
    const RTYPE: Rtype;
    /// As they stand in a message.
    type Data<'a>: ParseRecordData<'a, Vec<u8>>;
    /// As they are used.
    fn convert(data: Self::Data<'_>) -> Self;
}

impl Records for Mx {
    const RTYPE: Rtype = Rtype::MX;
    type Data<'a> = rdata::Mx<Parsed<'a>>;
    fn convert(data: Self::Data<'_>) -> Self {
        Self { preference: data.preference(), exchange: text(data.exchange()) }
    }
}

impl Records for Ipv4Addr {
    const RTYPE: Rtype = Rtype::A;
    type Data<'a> = A;
    fn convert(data: A) -> Self {
        data.addr()
    }
}

impl Records for Ipv6Addr {
    const RTYPE: Rtype = Rtype::AAAA;
    type Data<'a> = Aaaa;
    fn convert(data: Aaaa) -> Self {
        data.addr()
    }
}

/// Where an alias leads.
impl Records for String {
    const RTYPE: Rtype = Rtype::CNAME;
    type Data<'a> = Cname<Parsed<'a>>;
    fn convert(data: Self::Data<'_>) -> Self {
        text(data.cname())
    }
}

impl Records for Tlsa {
    const RTYPE: Rtype = Rtype::TLSA;
    type Data<'a> = Self;
    fn convert(data: Self) -> Self {
        data
    }
}

impl RecordData for Tlsa {
    fn rtype(&self) -> Rtype {
        Rtype::TLSA
    }
}

/// `domain` 0.12 reads this type only where it reads all.
impl<'a> ParseRecordData<'a, Vec<u8>> for Tlsa {
    fn parse_rdata(rtype: Rtype, parser: &mut Parser<'a, Vec<u8>>) -> Result<Option<Self>, ParseError> {
        if rtype != Rtype::TLSA {
            return Ok(None);
        }
        let record = rdata::Tlsa::parse(parser)?;
        let (usage, selector) = (record.usage().to_int(), record.selector().to_int());
        Ok(Some(Self { usage, selector, matching: record.matching_type().to_int(), data: record.data().to_vec() }))
    }
}

/// A text.
impl Records for Vec<u8> {
    const RTYPE: Rtype = Rtype::TXT;
    type Data<'a> = Txt<&'a [u8]>;
    fn convert(data: Self::Data<'_>) -> Self {
        data.text()
    }
}

/// A name as it is used: lower-case, without the trailing dot; the root is empty.
pub(super) fn text(name: &impl ToName) -> String {
    let name = name.to_vec();
    if name.is_root() { String::new() } else { name.to_string().to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use domain::base::{Message, MessageBuilder, Ttl, UnknownRecordData, iana::Rcode};

    use super::*;
    use crate::outbound::dns::{
        question::{Question, Said, Wanted, is_answer},
        reading::read,
    };

    fn question() -> Question {
        Question::new("some.test", Rtype::ANY).unwrap()
    }

    /// A reply with records of each kind.
    fn rich() -> Vec<u8> {
        let question = question();
        let request = question.compose(1, Wanted::Word);
        let mut answer = MessageBuilder::new_vec().start_answer(&request, Rcode::NOERROR).unwrap();
        let mut push = |rtype: Rtype, data: &[u8]| {
            let data = UnknownRecordData::from_octets(rtype, data.to_vec()).unwrap();
            answer.push((&question.name, Ttl::from_secs(60), data)).unwrap();
        };
        push(Rtype::MX, b"\0\x0a\x02MX\x04test\0");
        push(Rtype::MX, b"\0\0\0");
        push(Rtype::TLSA, b"\x03\x01\xffdigest");
        push(Rtype::TXT, b"\x03v=S\x05TSv1;");
        push(Rtype::AAAA, &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        answer.finish()
    }

    fn records<T: Records>(reply: &[u8]) -> Option<Vec<T>> {
        let said = Said { reply: Message::from_octets(reply.to_vec()).ok()?, is_believed: true };
        is_answer(&said.reply).ok()?;
        read(&said, &question()).ok().map(|answer| answer.records)
    }

    #[test]
    fn records_of_each_kind_are_read() {
        let reply = rich();
        let exchanges = [(10, "mx.test"), (0, "")].map(|(preference, name)| Mx { preference, exchange: name.into() });
        assert_eq!(records::<Mx>(&reply).unwrap(), exchanges);
        let tlsa = Tlsa { usage: 3, selector: 1, matching: 255, data: b"digest".to_vec() };
        assert_eq!(records::<Tlsa>(&reply).unwrap(), [tlsa]);
        assert_eq!(records::<Vec<u8>>(&reply).unwrap(), [b"v=STSv1;"]);
        assert_eq!(records::<Ipv6Addr>(&reply).unwrap(), ["2001:db8::1".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!(records::<Ipv4Addr>(&reply).unwrap(), [] as [Ipv4Addr; 0]);
    }

    #[test]
    fn no_reply_is_too_broken_to_be_read() {
        let whole = rich();
        for at in 0..whole.len() {
            // Each pointer, length and count there is: nothing, a little, the limits of a label, pointers, and too
            // much.
            for value in [0, 1, 2, 5, 12, 15, 16, 28, 52, 63, 64, 128, 192, 193, 255] {
                let mut broken = whole.clone();
                broken[at] = value;
                let _ = (records::<Mx>(&broken), records::<Tlsa>(&broken), records::<String>(&broken));
                let _ = (records::<Vec<u8>>(&broken), records::<Ipv4Addr>(&broken), records::<Ipv6Addr>(&broken));
            }
        }
    }
}
