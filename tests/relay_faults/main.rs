//! A recipient's server that fails, at every point of a conversation and in every way: whatever it does, the sender is
//! told what is true and has to do no more than try again.
//!
//! Each sender has one message to each server of the matrix, all at once. It is judged twice, once every recipient was
//! answered for, and once nothing fails any more and the sender's queue is empty:
//! - who was told yes has the message, whole but for the trace in front; no server has a message that was cut short;
//! - each accepted recipient has one reply, which is the server's own, or one of mailward's that say to come again;
//! - the session is the sender's to end, and nobody waits for longer than the deadlines allow;
//! - in the end each recipient has the message once, unless its end had no answer: then at least once.

#[path = "../support/mod.rs"]
mod support;

mod cell;
mod raw;
mod sender;
mod verdict;

use std::time::Duration;

use cell::{Cell, cells};
use raw::Raw;
use sender::{Mail, Sender, Told};
use support::mx::{Fault, Phase, Script};
use support::{Exim, Gateway, Postfix, World, eventually, eventually_within, figure, is_full, message, relaying};
use verdict::Judge;

/// What the slowest answer may take.
fn patience() -> Duration {
    Duration::from_secs(if is_full() { 700 } else { 60 })
}

/// How long servers may say nothing: the long run has the times that hold where nobody says another, of up to ten minutes.
fn times() -> &'static str {
    if is_full() {
        return "";
    }
    "[queue.timeout]\nconnect = \"4s\"\ngreeting = \"4s\"\nrcpt = \"4s\"\ndata = \"4s\"\nblock = \"8s\"\ndata-end = \"4s\"\n"
}

/// mailward between a sender and the servers.
struct Bed {
    gateway: Gateway,
    world: World,
}

impl Bed {
    fn new() -> Self {
        let world = World::start();
        let gateway = relaying(&world, times()).start();
        Self { gateway, world }
    }
}

/// A message to each server. Where one stops to read, it is larger than what lies between.
fn mail_to_each(name: &str, cells: &[Cell]) -> Vec<Mail> {
    let mail = |cell: &Cell| {
        let size = if cell.stalls_at(Phase::Body) { 5_000_000 } else { 30_000 };
        Mail { to: cell.recipients().to_vec(), text: message(&format!("{name} {cell}"), size) }
    };
    cells.iter().map(mail).collect()
}

/// Has the sender send it all through mailward, and judges what becomes of it. It leaves so many `Received` fields itself.
fn play(bed: &Bed, sender: &dyn Sender, cells: &[Cell], mails: &[Mail], own: usize) {
    play_in(&bed.world, sender, cells, mails, Some(own));
    let errors: Vec<_> = bed.gateway.log().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// The same; `None` is a sender that goes without mailward.
fn play_in(world: &World, sender: &dyn Sender, cells: &[Cell], mails: &[Mail], own: Option<usize>) {
    let servers: Vec<_> = cells.iter().map(|cell| world.mx(cell.number, cell.script)).collect();
    let begun = std::time::Instant::now();
    sender.send(mails);
    let (received, by_mailward) = own.map_or((1, false), |own| (own + 1, true));
    let judge = Judge { sender, cells, mails, servers: &servers, received, by_mailward };
    let unanswered = || judge.unanswered().is_empty().then_some(());
    let answered = eventually_within(patience(), unanswered).is_some();
    assert!(answered, "without an answer: {:#?}; {:#?}", judge.unanswered(), sender.broken());
    let (mut breaches, answered) = (judge.first_look(), begun.elapsed());
    let deferred = sender.queued();
    servers.iter().for_each(|server| server.heal(&world.namespace));
    drain(sender);
    // A sender's log may come behind its queue. What is wrong for longer is wrong.
    let _ = eventually_within(Duration::from_secs(15), || judge.second_look().is_empty().then_some(()));
    breaches.extend(judge.second_look());
    let (messages, faults) = (mails.len(), cells.len() - 1);
    figure(&format!(
        "{}: {messages} messages to {faults} faults, answered within {answered:.1?}; {deferred} were sent again, in {:.1?}",
        sender.name(),
        begun.elapsed() - answered,
    ));
    assert!(breaches.is_empty(), "{} breaches: {breaches:#?}", breaches.len());
}

/// A queue that does not get empty by some tries does not get empty.
fn drain(sender: &dyn Sender) {
    let empty = || (sender.queued() == 0).then_some(());
    let drained = (0..4).any(|_| {
        sender.flush();
        eventually_within(Duration::from_secs(15), empty).is_some()
    });
    assert!(drained, "{} messages are left in the queue", sender.queued());
}

/// Tries again when it is told to, and not by itself while it is still waiting for the slowest answer.
fn postfix(transport: &str) -> support::PostfixBuilder {
    let many = "initial_destination_concurrency = 60\ndefault_destination_concurrency_limit = 60\n\
                lmtp_destination_concurrency_limit = 60\nlmtp_data_done_timeout = 900s\nsmtp_data_done_timeout = 900s\n\
                queue_run_delay = 1h\nminimal_backoff_time = 1h\nmaximal_backoff_time = 1h\n";
    Postfix::builder().trust("127.0.0.0/8").send_by(transport).further(many)
}

#[test]
fn postfix_by_lmtp() {
    let bed = Bed::new();
    let cells = cells(true);
    let sender = postfix(&format!("lmtp:inet:{}", relaying::LMTP)).start_in(&bed.world.namespace);
    let sender = sender::Queueing { name: "Postfix by LMTP", postfix: sender, namespace: &bed.world.namespace };
    play(&bed, &sender, &cells, &mail_to_each("lmtp", &cells), 1);
}

#[test]
fn postfix_by_smtp() {
    let bed = Bed::new();
    let cells = cells(false);
    let sender = postfix(&format!("smtp:[127.0.0.1]:{}", relaying::SMTP.port())).start_in(&bed.world.namespace);
    let sender = sender::Queueing { name: "Postfix by SMTP", postfix: sender, namespace: &bed.world.namespace };
    play(&bed, &sender, &cells, &mail_to_each("smtp", &cells), 1);
}

#[test]
fn exim_by_smtp() {
    let bed = Bed::new();
    let cells = cells(false);
    let queue = Exim::to(relaying::SMTP).queue_in(&bed.world.namespace);
    play(&bed, &queue, &cells, &mail_to_each("exim", &cells), 1);
}

#[test]
fn a_pipelining_client_by_lmtp() {
    let bed = Bed::new();
    let cells = cells(true);
    let raw = Raw::new(&bed.world.namespace, true);
    play(&bed, &raw, &cells, &mail_to_each("raw lmtp", &cells), 0);
}

#[test]
fn a_pipelining_client_by_smtp() {
    let bed = Bed::new();
    let cells = cells(false);
    let raw = Raw::new(&bed.world.namespace, false);
    play(&bed, &raw, &cells, &mail_to_each("raw smtp", &cells), 0);
}

/// One message that goes everywhere, so that what goes wrong with one server is beside what goes well with another. Of
/// servers that say nothing once all have the message to take there are two: waiting for both may not take longer.
#[test]
fn each_recipient_of_a_message_to_all_is_told_of_its_own_server() {
    let bed = Bed::new();
    let mut cells = cells(true);
    let stalls: Vec<_> = cells.iter().filter(|cell| cell.stalls_with_others()).cloned().collect();
    cells.extend(stalls.into_iter().zip(cells.len()..).map(|(cell, number)| cell.elsewhere(number)));
    let to = cells.iter().flat_map(|cell| cell.recipients()[..1].to_vec()).collect();
    let raw = Raw::new(&bed.world.namespace, true);
    play(&bed, &raw, &cells, &[Mail { to, text: message("to all", 60_000) }], 0);
}

/// A server that cannot be reached is waited for once, not for each of its recipients; and who was asked for before has
/// its answer meanwhile.
#[test]
fn the_reply_to_a_recipient_waits_for_none_behind_it() {
    let bed = Bed::new();
    let _good = bed.world.mx(0, None);
    let _deaf = bed.world.mx(1, Some(Script { at: Phase::Connect, fault: Fault::Stall, spares: false }));
    let to = [("a", 0), ("a", 1), ("b", 1), ("c", 1)].map(|(name, number)| format!("{name}@{}", World::domain(number)));
    let waits = Raw::new(&bed.world.namespace, true).waits_for(&to);
    // The first has its reply after a second, and who is told first that a server cannot be reached waited for that.
    let [good, first, .., last] = waits[..] else { panic!("{waits:?}") };
    assert!(good + Duration::from_secs(1) < first && last < first + Duration::from_secs(2), "{waits:?}");
}

/// What a client did not end is sent to nobody.
#[test]
fn a_message_whose_client_goes_away_arrives_nowhere() {
    let bed = Bed::new();
    let cells = &cells(true)[..1];
    let server = bed.world.mx(cells[0].number, None);
    let text = support::stuffed(&message("cut", 30_000));
    let ends = [text.len() / 2, text.len() - 5, text.len() - 3, text.len() - 1];
    for (cut, (end, lmtp)) in ends.into_iter().flat_map(|end| [(end, true), (end, false)]).enumerate() {
        let raw = Raw::new(&bed.world.namespace, lmtp);
        let seen = server.events();
        raw.go_away_after(&cells[0].recipients(), &text[..end], || {
            eventually(|| (server.events() > seen + 5).then_some(())).expect("some of it arrives");
        });
        let over = eventually(|| (server.cut() > cut).then_some(()));
        assert!(over.is_some(), "{} were cut, and {} arrived", server.cut(), server.arrivals().len());
    }
    assert!(server.arrivals().is_empty(), "{:?}", server.arrivals());
}

/// The answer that nobody heard is given to who comes again with the same message (and to nobody else).
#[test]
fn a_client_that_went_away_before_the_answer_is_given_it_when_it_comes_again() {
    let bed = Bed::new();
    for (cell, lmtp) in cells(true).iter().zip([true, false]) {
        let server = bed.world.mx(cell.number, Some(Script { at: Phase::End, fault: Fault::Late, spares: false }));
        let raw = Raw::new(&bed.world.namespace, lmtp);
        let mail = Mail { to: cell.recipients().to_vec(), text: message(&format!("again {lmtp}"), 30_000) };
        let arrived = || eventually(|| (!server.arrivals().is_empty()).then_some(())).expect("an arrival");
        raw.go_away_after(&mail.to, &support::stuffed(&mail.text), arrived);
        server.heal(&bed.world.namespace);
        bed.gateway.nth_session(if lmtp { "lmtp" } else { "smtp" }, 0);
        let other = Mail { text: message("another", 30_000), ..mail.clone() };
        raw.send(&[mail.clone(), other]);
        assert!(raw.told().values().flatten().all(Told::is_yes), "{:?}", raw.told());
        let arrivals = server.arrivals();
        let wrong = |text: &[u8]| arrivals.iter().filter(|arrival| arrival.message.ends_with(text)).count() != 1;
        assert!(arrivals.len() == 2 && !wrong(&mail.text), "{} arrivals", arrivals.len());
        assert_eq!((raw.broken(), raw.queued()), (vec![], 0));
    }
}

/// The bed alone, without mailward: what is found out here is so of a Postfix that looks the servers up and goes to
/// them itself. It waits for what follows on a reply that is none.
#[test]
fn postfix_without_mailward() {
    let world = World::start();
    let mut cells = cells(false);
    cells.retain(|cell| cell.script.is_none_or(|script| script.fault != Fault::Garbage));
    let further = format!(
        "disable_dns_lookups = no\nsmtp_tls_security_level = may\nsmtp_tls_CAfile = {}\n",
        world.scratch.join("ca.pem").display()
    );
    let waits = ["connect", "helo", "starttls", "mail", "rcpt", "data_init", "data_xfer", "data_done", "rset", "quit"];
    let waits: String = waits.iter().map(|wait| format!("smtp_{wait}_timeout = 3s\n")).collect();
    let postfix = postfix("smtp").further(&(further + &waits)).start_in(&world.namespace);
    let sender = sender::Queueing { name: "Postfix alone", postfix, namespace: &world.namespace };
    play_in(&world, &sender, &cells, &mail_to_each("alone", &cells), None);
}
