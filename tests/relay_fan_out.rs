//! One message by SMTP to several servers at once: who differs is told apart, nobody gets it twice, and nobody is refused
//! for another's sake.

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use support::mx::{Fault, Mx, Phase, Script};
use support::{Gateway, Talk, World, message, relaying, stuffed, trace_is_wrong};

/// The listener that fans out.
const FAN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2526);

/// mailward, and servers of which the second fails at the end of a message, if at all.
struct Bed {
    _gateway: Gateway,
    servers: Vec<Mx>,
    world: World,
}

impl Bed {
    fn new(second: Option<Fault>) -> Self {
        let world = World::start();
        let script = second.map(|fault| Script { at: Phase::End, fault, spares: false });
        let servers = vec![world.mx(0, None), world.mx(1, script)];
        let listener = format!(
            "[server.listener.fan]\nbind = \"{FAN}\"\nprotocol = \"smtp\"\nrelay = true\nmulti-domain = \"fan-out\"\n"
        );
        let gateway = relaying(&world, &listener).start();
        Self { _gateway: gateway, servers, world }
    }

    /// What is said to each recipient, and to the message.
    fn send(&self, to: &[u8], message: &[u8]) -> (Vec<String>, String) {
        let mut talk = self.world.namespace.inside(|| Talk::to(FAN));
        talk.expect("220");
        talk.send("EHLO client.test\r\n");
        let list = talk.reply("250");
        assert!(!list.contains("RCPTDOMAINMAX"), "{list}");
        talk.ask(&format!("MAIL FROM:<a@sender.test> SIZE={}", message.len()), "250");
        let ask = |talk: &mut Talk, number: &u8| {
            talk.send(format!("RCPT TO:<x@{}>\r\n", World::domain(*number)));
            talk.line()
        };
        let replies: Vec<_> = to.iter().map(|number| ask(&mut talk, number)).collect();
        talk.ask("DATA", "354");
        talk.send(stuffed(message));
        let verdict = talk.line();
        talk.ask("QUIT", "221");
        (replies, verdict)
    }

    /// How often each server has taken the message, whole.
    fn taken(&self, sent: &[u8]) -> Vec<usize> {
        let whole = |mx: &Mx| {
            let taken = mx.arrivals().into_iter().filter(|arrival| arrival.verdict == support::Verdict::Taken);
            taken.filter(|arrival| trace_is_wrong(&arrival.message, sent, 1).is_none()).count()
        };
        self.servers.iter().map(whole).collect()
    }
}

/// Two messages that MAIL does not tell from one another.
fn two_of_a_size() -> [Vec<u8>; 2] {
    let (first, mut other) = (message("first", 20_000), message("other", 20_000));
    other.resize(first.len(), b'x');
    other.truncate(first.len() - 2);
    other.extend_from_slice(b"\r\n");
    [first, other]
}

#[test]
fn servers_of_one_mind_are_the_reply() {
    let (bed, sent) = (Bed::new(None), message("one mind", 20_000));
    let (replies, verdict) = bed.send(&[0, 1], &sent);
    assert!(replies.iter().all(|reply| reply.starts_with("250 ")), "{replies:?}");
    assert!(verdict.starts_with("250 "), "{verdict}");
    assert_eq!(bed.taken(&sent), [1, 1]);
}

#[test]
fn whoever_has_the_message_is_left_out_until_the_others_have_it() {
    let (bed, sent) = (Bed::new(Some(Fault::Temporary)), message("later", 20_000));
    for _ in 0..3 {
        let (replies, verdict) = bed.send(&[0, 1], &sent);
        assert!(replies.iter().all(|reply| reply.starts_with("250 ")), "{replies:?}");
        assert!(verdict.starts_with("451 4.5.3 "), "{verdict}");
        assert_eq!(bed.taken(&sent), [1, 0]);
    }
    bed.servers[1].heal(&bed.world.namespace);
    let (_, verdict) = bed.send(&[0, 1], &sent);
    assert!(verdict.starts_with("250 "), "{verdict}");
    assert_eq!(bed.taken(&sent), [1, 1]);
    // What comes from now on is another message, be it the same.
    let (_, verdict) = bed.send(&[0, 1], &sent);
    assert!(verdict.starts_with("250 "), "{verdict}");
    assert_eq!(bed.taken(&sent), [2, 2]);
}

#[test]
fn whoever_is_refused_hears_it_alone_and_nobody_else_does() {
    for order in [[0, 1], [1, 0]] {
        let (bed, sent) = (Bed::new(Some(Fault::Permanent)), message("never", 20_000));
        let (_, verdict) = bed.send(&order, &sent);
        assert!(verdict.starts_with("451 4.5.3 "), "{verdict}");
        // Whoever is named first is told, and the other comes again.
        let (replies, verdict) = bed.send(&order, &sent);
        assert!(replies[0].starts_with("250 ") && replies[1].starts_with("452 4.5.3 "), "{replies:?}");
        assert!(verdict.starts_with(["250 ", "5"][usize::from(order[0])]), "{verdict}");
        let (replies, verdict) = bed.send(&order[1..], &sent);
        assert!(replies[0].starts_with("250 "), "{replies:?}");
        assert!(verdict.starts_with(["250 ", "5"][usize::from(order[1])]), "{verdict}");
        assert_eq!(bed.taken(&sent), [1, 0]);
    }
}

#[test]
fn nobody_is_refused_for_another_message_of_the_same_size() {
    let bed = Bed::new(Some(Fault::Permanent));
    let [first, other] = two_of_a_size();
    bed.send(&[0, 1], &first);
    bed.servers[1].heal(&bed.world.namespace);
    let (replies, verdict) = bed.send(&[1], &other);
    assert!(replies[0].starts_with("250 ") && verdict.starts_with("451 4.5.3 "), "{replies:?} {verdict}");
    let (_, verdict) = bed.send(&[1], &other);
    assert!(verdict.starts_with("250 "), "{verdict}");
    assert_eq!(bed.taken(&other), [0, 1]);
}

#[test]
fn a_recipient_that_is_named_twice_is_told_twice() {
    let (bed, sent) = (Bed::new(Some(Fault::Temporary)), message("twice", 20_000));
    let (_, verdict) = bed.send(&[0, 0, 1], &sent);
    assert!(verdict.starts_with("451 4.5.3 "), "{verdict}");
    bed.servers[1].heal(&bed.world.namespace);
    let (_, verdict) = bed.send(&[0, 0, 1], &sent);
    assert!(verdict.starts_with("250 "), "{verdict}");
    assert_eq!(bed.taken(&sent), [1, 1]);
}

#[test]
fn another_message_in_between_is_not_taken_for_the_one_that_is_expected() {
    let bed = Bed::new(Some(Fault::Temporary));
    let [first, other] = two_of_a_size();
    bed.send(&[0, 1], &first);
    let (_, verdict) = bed.send(&[0, 1], &other);
    assert!(verdict.starts_with("451 "), "{verdict}");
    assert_eq!(bed.taken(&other), [0, 0]);
    bed.servers[1].heal(&bed.world.namespace);
    let (_, verdict) = bed.send(&[0, 1], &other);
    assert!(verdict.starts_with("250 "), "{verdict}");
    assert_eq!(bed.taken(&other), [1, 1]);
}
