//! DNS messages: questions, updates of one TXT record (RFC 2136), signatures (TSIG, RFC 8945), and what a reply says.
//! Bytes in, bytes out: no socket, no clock.
//!
//! Nothing here asks for EDNS: a reply of more than 512 bytes comes by TCP, which every name server speaks (RFC 7766).

use std::{fmt, net::IpAddr, time::Duration};

use domain::{
    base::{
        MessageBuilder, Name, ParseRecordData, ParsedName, Rtype, ToName, Ttl,
        iana::{Class, Opcode, Rcode, TsigRcode},
        message::RecordSection,
        message_builder::AdditionalBuilder,
    },
    rdata::{A, Aaaa, Cname, Ns, Soa, Tsig, Txt, tsig::Time48},
    tsig::{ClientTransaction, Key, ValidationError},
};

use super::{Refusal, place::Place};
use crate::net::exchange::Whole;

/// A name in a message of its own.
pub(super) type Owner = Name<Vec<u8>>;

/// The value of a TXT record.
pub(super) type Text = Txt<Vec<u8>>;

/// What a name server is asked.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    /// For the records of a type that a name has.
    Records(&'a Owner, Rtype),
    /// To add this TXT record to what is there (RFC 2136 §2.5.1), for so long in caches.
    Add(&'a Place, &'a Text, Duration),
    /// To remove exactly this TXT record (RFC 2136 §2.5.4).
    Remove(&'a Place, &'a Text),
}

impl Ask<'_> {
    /// The request, not yet signed.
    pub(super) fn compose(&self, id: u16) -> AdditionalBuilder<Vec<u8>> {
        const FITS: &str = "two names and a TXT record are far from the limit of a message";
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(id);
        message.header_mut().set_opcode(self.opcode());
        let mut question = message.question();
        match self {
            Self::Records(name, rtype) => question.push((*name, *rtype)).expect(FITS),
            Self::Add(place, ..) | Self::Remove(place, _) => question.push((&place.zone, Rtype::SOA)).expect(FITS),
        }
        let mut update = question.authority();
        match self {
            Self::Records(..) => {}
            Self::Add(place, text, ttl) => {
                update.push((&place.name, Class::IN, Ttl::from_duration_lossy(*ttl), *text)).expect(FITS);
            }
            Self::Remove(place, text) => update.push((&place.name, Class::NONE, Ttl::ZERO, *text)).expect(FITS),
        }
        update.additional()
    }

    fn opcode(&self) -> Opcode {
        match self {
            Self::Records(..) => Opcode::QUERY,
            Self::Add(..) | Self::Remove(..) => Opcode::UPDATE,
        }
    }

    /// Whether the code of a reply is a yes. A name that does not exist is one: its zone's SOA record comes with it.
    fn judge(&self, code: Rcode) -> Result<(), Refusal> {
        match (self, code) {
            (_, Rcode::NOERROR) | (Self::Records(..), Rcode::NXDOMAIN) => Ok(()),
            (Self::Records(..), Rcode::REFUSED | Rcode::NOTAUTH) => Err(Refusal::Question),
            (_, Rcode::REFUSED) => Err(Refusal::Policy),
            (_, Rcode::NOTAUTH) => Err(Refusal::NotAuthoritative),
            (_, Rcode::NOTZONE) => Err(Refusal::NotZone),
            (_, Rcode::NOTIMP) => Err(Refusal::NotImplemented),
            (_, Rcode::SERVFAIL) => Err(Refusal::Failed),
            (_, other) => Err(Refusal::Other(other.to_string())),
        }
    }
}

/// The end of a sentence that begins with "asked".
impl fmt::Display for Ask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(name, rtype) => write!(f, "for the {rtype} record of {name}"),
            Self::Add(place, ..) => write!(f, "to add a TXT record at {} to the zone {}", place.name, place.zone),
            Self::Remove(place, _) => {
                write!(f, "to remove a TXT record at {} from the zone {}", place.name, place.zone)
            }
        }
    }
}

/// A request that was signed, against which its reply is held.
pub(super) struct Signed<'a> {
    /// The request as it goes on the wire.
    pub(super) request: Whole,
    ask: Ask<'a>,
    transaction: ClientTransaction<&'a Key>,
}

impl<'a> Signed<'a> {
    /// Signs a request.
    pub(super) fn new(ask: Ask<'a>, id: u16, key: &'a Key, now: Time48) -> Self {
        let mut request = ask.compose(id);
        let transaction = ClientTransaction::request(key, &mut request, now);
        let transaction = transaction.expect("a signature is far from the limit of a message");
        Self { request: request.into_message(), ask, transaction }
    }

    /// Whether the reply is a yes that can be believed.
    ///
    /// A no is believed without a signature too: a server that does not know the key cannot sign, and whoever forges a
    /// no can only delay us.
    pub(super) fn judge(&self, reply: &mut Whole, now: Time48) -> Result<(), Refusal> {
        let signature = self.transaction.answer(reply, now);
        match (signature, complaint(reply)) {
            (Ok(()), _) => self.ask.judge(reply.header().rcode()),
            (Err(_), Some(complaint)) => Err(complaint),
            // What it signed is right, but of another time.
            (Err(ValidationError::BadTime), None) => Err(Refusal::Clock(signed_at(reply) - seconds(now))),
            (Err(_), None) => self.ask.judge(reply.header().rcode()).and(Err(Refusal::Unsigned)),
        }
    }
}

/// What the server says is wrong with our signature, if anything (RFC 8945 §5.2).
///
/// It is read without regard to its own signature, which only BADTIME has: `domain` 0.12 takes the server's time into
/// that in eight bytes where RFC 8945 §5.2.3 has six, and so finds every one wrong.
fn complaint(reply: &Whole) -> Option<Refusal> {
    let tsig = tsig(reply)?;
    match tsig.error() {
        TsigRcode::BADKEY => Some(Refusal::Key),
        TsigRcode::BADSIG => Some(Refusal::Secret),
        TsigRcode::BADTRUNC => Some(Refusal::Truncation),
        TsigRcode::BADTIME => Some(Refusal::Clock(seconds(tsig.other_time()?) - seconds(tsig.time_signed()))),
        _ => None,
    }
}

fn signed_at(reply: &Whole) -> i64 {
    tsig(reply).map_or(0, |tsig| seconds(tsig.time_signed()))
}

fn tsig(reply: &Whole) -> Option<Tsig<&[u8], ParsedName<&[u8]>>> {
    Some(reply.get_last_additional::<Tsig<_, _>>()?.into_data())
}

fn seconds(time: Time48) -> i64 {
    i64::try_from(u64::from(time)).expect("48 bits fit")
}

/// Where the CNAME record at `name` leads, if there is one.
pub(super) fn alias(reply: &Whole, name: &Owner) -> Option<Owner> {
    answer::<Cname<_>>(reply, name).next().map(|alias| alias.cname().to_vec())
}

/// The zone that holds `name`: the owner of the SOA record that comes where `name` has nothing of what was asked for
/// (RFC 2308 §2), if this server is its authority.
pub(super) fn zone(reply: &Whole, name: &Owner) -> Option<Owner> {
    let found = reply.authority().ok()?.limit_to_in::<Soa<ParsedName<_>>>().flatten();
    let mut zones = found.map(|record| record.owner().to_vec()).filter(|zone| name.ends_with(zone));
    zones.next().filter(|_| reply.header().aa())
}

/// The zone that holds `name` and has been delegated to other servers, if this is what the reply says. That the root has
/// others is what some servers say when they know nothing.
pub(super) fn delegated(reply: &Whole, name: &Owner) -> Option<Owner> {
    let found = reply.authority().ok()?.limit_to_in::<Ns<ParsedName<_>>>().flatten();
    found.map(|record| record.owner().to_vec()).find(|zone| name.ends_with(zone) && !zone.is_root())
}

/// The name servers of `zone`.
pub(super) fn name_servers(reply: &Whole, zone: &Owner) -> Vec<Owner> {
    answer::<Ns<_>>(reply, zone).map(|server| server.nsdname().to_vec()).collect()
}

/// The addresses of `name`.
pub(super) fn addresses(reply: &Whole, name: &Owner) -> Vec<IpAddr> {
    let old = answer::<A>(reply, name).map(|address| address.addr().into());
    old.chain(answer::<Aaaa>(reply, name).map(|address| address.addr().into())).collect()
}

/// Whether `name` has this TXT record.
pub(super) fn shows(reply: &Whole, name: &Owner, text: &Text) -> bool {
    answer::<Txt<_>>(reply, name).any(|found| found == *text)
}

/// The records of a kind that `name` itself has. What cannot be read is left out.
fn answer<'a, Data>(reply: &'a Whole, name: &Owner) -> impl Iterator<Item = Data>
where
    Data: ParseRecordData<'a, Vec<u8>>,
{
    let records = reply.answer().into_iter().flat_map(RecordSection::limit_to_in::<Data>).flatten();
    records.filter(move |record| record.owner() == name).map(|record| record.into_data())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use domain::{
        base::{Message, message_builder::AnswerBuilder},
        tsig::{Algorithm, ServerTransaction},
    };

    use super::*;
    use crate::net::exchange::answers;

    const ID: u16 = 0x1234;

    fn now() -> Time48 {
        Time48::from_u64(1_700_000_000)
    }

    fn key(secret: &[u8]) -> Key {
        Key::new(Algorithm::Sha256, secret, Name::from_str("mailward").unwrap(), None, None).unwrap()
    }

    fn right() -> Key {
        key(b"open sesame, said the gateway !!")
    }

    fn name(text: &str) -> Owner {
        Name::vec_from_str(text).unwrap()
    }

    fn text(value: &str) -> Text {
        Txt::build_from_slice(value.as_bytes()).unwrap()
    }

    fn place() -> Place {
        Place { zone: name("example.org"), name: name("_acme-challenge.example.org") }
    }

    fn reply(request: &Whole, code: Rcode) -> AnswerBuilder<Vec<u8>> {
        let mut reply = MessageBuilder::new_vec().start_answer(request, code).unwrap();
        reply.header_mut().set_aa(true);
        reply
    }

    fn signed(request: &Whole, key: &Key, reply: AnswerBuilder<Vec<u8>>) -> Whole {
        let mut request = request.clone();
        let transaction = ServerTransaction::request(&key, &mut request, now()).ok().flatten();
        let mut reply = reply.additional();
        transaction.expect("signed with the key").answer(&mut reply, now()).unwrap();
        reply.into_message()
    }

    #[test]
    fn an_update_adds_or_removes_one_value_and_nothing_else() {
        let (place, text) = (place(), text("value"));
        let parts = |ask: Ask<'_>| {
            let message = ask.compose(ID).into_message();
            assert_eq!((message.header().id(), message.header().opcode()), (ID, Opcode::UPDATE));
            let counts = message.header_counts();
            assert_eq!((counts.zocount(), counts.prcount(), counts.upcount(), counts.adcount()), (1, 0, 1, 0));
            let zone = message.zone().next().unwrap().unwrap();
            assert_eq!(
                (zone.qname().to_string(), zone.qtype(), zone.qclass()),
                ("example.org".into(), Rtype::SOA, Class::IN)
            );
            let record = message.update().unwrap().limit_to::<Txt<_>>().next().unwrap().unwrap();
            assert!(*record.owner() == place.name && *record.data() == text);
            (record.class(), record.ttl().as_secs())
        };
        assert_eq!(parts(Ask::Add(&place, &text, Duration::from_secs(60))), (Class::IN, 60));
        assert_eq!(parts(Ask::Remove(&place, &text)), (Class::NONE, 0));
    }

    #[test]
    fn a_yes_is_believed_with_the_right_signature_alone_and_a_no_without_one() {
        let (right, wrong, place, text) = (right(), key(b"wrong"), place(), text("value"));
        let ours = Signed::new(Ask::Add(&place, &text, Duration::ZERO), ID, &right, now());
        let request = &ours.request;
        // The same request, signed by somebody who does not know the secret.
        let forged = Signed::new(ours.ask, ID, &wrong, now()).request;
        let judge = |mut reply: Whole| ours.judge(&mut reply, now());
        assert_eq!(judge(signed(request, &right, reply(request, Rcode::NOERROR))), Ok(()));
        assert_eq!(judge(signed(&forged, &wrong, reply(request, Rcode::NOERROR))), Err(Refusal::Unsigned));
        assert_eq!(judge(reply(request, Rcode::NOERROR).into_message()), Err(Refusal::Unsigned));
        assert_eq!(judge(reply(request, Rcode::REFUSED).into_message()), Err(Refusal::Policy));
        assert_eq!(judge(signed(request, &right, reply(request, Rcode::NOTZONE))), Err(Refusal::NotZone));
        let later = Time48::from_u64(1_700_000_400);
        let mut old = signed(request, &right, reply(request, Rcode::NOERROR));
        assert_eq!(ours.judge(&mut old, later), Err(Refusal::Clock(-400)));
    }

    #[test]
    fn a_name_that_does_not_exist_is_no_refusal_of_a_question() {
        let (key, name) = (right(), name("nobody.example.org"));
        let ours = Signed::new(Ask::Records(&name, Rtype::CNAME), ID, &key, now());
        let mut unsigned = reply(&ours.request, Rcode::NXDOMAIN).into_message();
        assert_eq!(ours.judge(&mut unsigned, now()), Err(Refusal::Unsigned));
        let mut signed = signed(&ours.request, &key, reply(&ours.request, Rcode::NXDOMAIN));
        assert_eq!(ours.judge(&mut signed, now()), Ok(()));
    }

    /// BIND 9.18 in November 2026, asked in November 2023.
    const LATE: &str = "123480090001000000000001076578616d706c65036f72670000050001086d61696c776172640000fa00ff0000000000430b68\
        6d61632d7368613235360000006553f100012c00208b4c12f094b3c3af6f1f083605f621db6e65285a7db6af0695b83dfed8b53e2a123400\
        12000600006b025cbf";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
        (0..hexadecimal.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn a_clock_that_differs_is_told_with_the_difference() {
        let (key, name) = (right(), name("example.org"));
        let ours = Signed::new(Ask::Records(&name, Rtype::CNAME), ID, &key, now());
        let mut reply = Message::from_octets(bytes(LATE)).unwrap();
        assert!(answers(&reply, &ours.request));
        assert_eq!(ours.judge(&mut reply, now()), Err(Refusal::Clock(0x6b02_5cbf - 1_700_000_000)));
    }

    /// A reply with a record of each kind that is read, signed.
    fn rich(request: &Whole, name: &Owner, key: &Key) -> Whole {
        let mut answer = reply(request, Rcode::NOERROR);
        let (ttl, target) = (Ttl::ZERO, self::name("a.longer.name.example.net"));
        answer.push((name, ttl, Cname::new(&target))).unwrap();
        answer.push((name, ttl, Ns::new(&target))).unwrap();
        answer.push((name, ttl, A::from_octets(192, 0, 2, 1))).unwrap();
        answer.push((name, ttl, Aaaa::new("2001:db8::1".parse().unwrap()))).unwrap();
        answer.push((name, ttl, text("value"))).unwrap();
        let mut authority = answer.authority();
        let zone = self::name("example.org");
        authority.push((&zone, ttl, Ns::new(&target))).unwrap();
        let soa = Soa::new(&target, &target, 1.into(), ttl, ttl, ttl, ttl);
        authority.push((&zone, ttl, soa)).unwrap();
        let mut request = request.clone();
        let transaction = ServerTransaction::request(&key, &mut request, now()).ok().flatten().unwrap();
        let mut additional = authority.additional();
        transaction.answer(&mut additional, now()).unwrap();
        additional.into_message()
    }

    #[test]
    fn what_a_reply_says_is_read_of_the_name_that_was_asked_for() {
        let (key, ours, stranger) = (right(), name("mail.example.org"), name("mail.example.net"));
        let asked = Signed::new(Ask::Records(&ours, Rtype::ANY), ID, &key, now());
        let mut reply = rich(&asked.request, &ours, &key);
        assert_eq!(asked.judge(&mut reply, now()), Ok(()));
        let target = name("a.longer.name.example.net");
        assert_eq!((alias(&reply, &ours), alias(&reply, &stranger)), (Some(target.clone()), None));
        assert_eq!((name_servers(&reply, &ours), name_servers(&reply, &stranger)), (vec![target], vec![]));
        assert_eq!(addresses(&reply, &ours), ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
        assert_eq!(addresses(&reply, &stranger), [] as [IpAddr; 0]);
        assert!(shows(&reply, &ours, &text("value")) && !shows(&reply, &ours, &text("another")));
        assert!(!shows(&reply, &stranger, &text("value")));
        let zone_of = |reply: &Whole, of: &Owner| (zone(reply, of), delegated(reply, of));
        let org = name("example.org");
        assert_eq!(zone_of(&reply, &ours), (Some(org.clone()), Some(org.clone())));
        assert_eq!(zone_of(&reply, &stranger), (None, None));
        reply.header_mut().set_aa(false);
        assert_eq!(zone_of(&reply, &ours), (None, Some(org)), "what a resolver remembers is no authority's word");
    }

    /// Everything that is ever done with a reply.
    fn read_everything(mut reply: Whole, asked: &Signed<'_>, name: &Owner) {
        let _ = answers(&reply, &asked.request);
        let _ = (alias(&reply, name), zone(&reply, name), delegated(&reply, name));
        let _ = (name_servers(&reply, name), addresses(&reply, name), shows(&reply, name, &text("value")));
        let _ = asked.judge(&mut reply, now());
    }

    #[test]
    fn no_reply_is_too_broken_to_be_read() {
        let (key, name) = (right(), name("mail.example.org"));
        let asked = Signed::new(Ask::Records(&name, Rtype::ANY), ID, &key, now());
        let whole = rich(&asked.request, &name, &key).into_octets();
        let read = |bytes: &[u8]| Message::try_from_octets(bytes.to_vec()).map(|it| read_everything(it, &asked, &name));
        for end in 0..whole.len() {
            let _ = read(&whole[..end]);
        }
        // Each pointer, length and count there is: nothing, a little, the limits of a label, pointers, and too much.
        for at in 0..whole.len() {
            for value in [0, 1, 2, 12, 63, 64, 128, 192, 193, 255] {
                let mut broken = whole.clone();
                broken[at] = value;
                let _ = read(&broken);
            }
        }
        // Several at a time, by a generator of numbers (xorshift) that does the same each time.
        let mut state = 0x9e37_79b9_u32;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as usize
        };
        for _ in 0..2_000 {
            let mut broken = whole.clone();
            for _ in 0..random() % 8 {
                let at = random() % broken.len();
                broken[at] = random().to_le_bytes()[0];
            }
            broken.truncate(12 + random() % (broken.len() - 11));
            let _ = read(&broken);
        }
    }
}
