//! mailward is killed, and killed again, while a Postfix sends through it: the queue empties all the same, every message
//! arrives, and twice only where its end was sent and the answer did not get back to Postfix.

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use support::{
    Delivery, Mx, Postfix, Talk, Verdict, World, eventually, eventually_within, figure, message, relaying, size,
    trace_is_wrong,
};

/// How many domains, each with a server.
const DOMAINS: u8 = 8;

/// How many things are said to the servers for one message: EHLO, STARTTLS, EHLO, MAIL, RCPT, DATA, some pieces, QUIT.
const EVENTS: usize = 10;

/// Comes back at once after whatever happens, and gives up on nothing.
const IMPATIENT: &str = "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\ntransport_retry_time = 1s\n\
                         default_destination_concurrency_failed_cohort_limit = 100\n";

/// Some moments, which another run of the same seed chooses too.
struct Moments(u64);

impl Moments {
    /// By the seed in the environment, or else a new one.
    fn new() -> Self {
        let given = std::env::var("MAILWARD_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let mut bytes = [0; 8];
            fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("random bytes");
            u64::from_ne_bytes(bytes) >> 32
        });
        println!("MAILWARD_SEED={seed}");
        Self(seed)
    }

    /// A number below the bound (SplitMix64).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below the bound")
    }
}

fn recipient(number: usize) -> String {
    let domain = u8::try_from(number % usize::from(DOMAINS)).expect("below the bound");
    format!("m{number}@{}", World::domain(domain))
}

/// Each of another size, some in many pieces.
fn text(number: usize) -> Vec<u8> {
    message(&format!("number {number}"), 500 + number * 7919 % 90_000)
}

fn kill_while_sending(name: &str, transport: &str) {
    let (count, kills) = (size(&format!("messages by {name}"), 60, 1000), size("kills", 8, 60));
    let mut moments = Moments::new();
    let world = World::start();
    let servers: Vec<_> = (0..DOMAINS).map(|number| world.mx(number, None)).collect();
    let mut gateway = relaying(&world, "").start();
    let postfix =
        Postfix::builder().trust("127.0.0.0/8").send_by(transport).further(IMPATIENT).start_in(&world.namespace);
    let events = || servers.iter().map(Mx::events).sum::<usize>();
    let mut killed = 0;
    thread::scope(|scope| {
        let sends = scope.spawn(|| submit(&world, &postfix, count));
        let is_over = || sends.is_finished() && postfix.queued() == 0;
        for _ in 0..kills {
            let moment = events() + 1 + moments.below(2 * count * EVENTS / kills);
            eventually(|| (events() >= moment || is_over()).then_some(())).expect("mail goes on after a kill");
            if is_over() {
                break;
            }
            gateway.signal("KILL");
            gateway.start_again();
            killed += 1;
        }
    });
    let begun = Instant::now();
    let is_empty = || {
        // Of a queue that it has just gone through, Postfix may leave some for the next time that somebody asks.
        postfix.flush();
        (postfix.queued() == 0).then_some(())
    };
    let drained = eventually_within(Duration::from_secs(120), is_empty);
    assert!(drained.is_some(), "{} messages are left: {}", postfix.queued(), postfix.log());
    assert!(killed > kills / 3, "all was over after {killed} kills");
    // Its log may come behind its queue.
    let sent = || postfix.deliveries().iter().filter(|delivery| delivery.status == "sent").count();
    let told = eventually_within(Duration::from_secs(15), || (sent() >= count).then_some(()));
    assert!(told.is_some(), "{} of {count} were sent", sent());
    let (twice, unanswered) = judge(&servers, &postfix.deliveries(), count);
    figure(&format!(
        "{name}: {count} messages, {killed} kills, all arrived, {:.1?} after the last; {unanswered} ends got no answer, {twice} came again",
        begun.elapsed()
    ));
}

/// Gives Postfix the messages.
fn submit(world: &World, postfix: &Postfix, count: usize) {
    let mut talk = world.namespace.inside(|| Talk::to(postfix.smtp()));
    talk.reply("220");
    talk.send("EHLO a\r\n").reply("250");
    for number in 0..count {
        talk.send_mail("bob@example.org", &[recipient(number)], &text(number));
    }
    talk.ask("QUIT", "221");
}

/// How many messages came more than once, and how often Postfix got no answer to an end. Every message came whole, at
/// least once, and once more at most for each of those.
fn judge(servers: &[Mx], deliveries: &[Delivery], count: usize) -> (usize, usize) {
    let mut arrived: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for arrival in servers.iter().flat_map(Mx::arrivals) {
        assert_eq!(arrival.verdict, Verdict::Taken);
        let [to] = arrival.recipients.as_slice() else { panic!("{:?}", arrival.recipients) };
        arrived.entry(to.clone()).or_default().push(arrival.message);
    }
    let (mut twice, mut all_unanswered) = (0, 0);
    for number in 0..count {
        let to = recipient(number);
        let copies = arrived.remove(&to).unwrap_or_default();
        let mine: Vec<_> = deliveries.iter().filter(|delivery| delivery.to == to).collect();
        let unanswered = mine.iter().filter(|delivery| has_no_answer(delivery)).count();
        let sent = mine.iter().filter(|delivery| delivery.status == "sent").count();
        assert!(sent == 1 && !copies.is_empty(), "{} copies of {to}: {mine:#?}", copies.len());
        assert!(copies.len() <= 1 + unanswered, "{} copies of {to}: {mine:#?}", copies.len());
        for copy in &copies {
            assert_eq!(trace_is_wrong(copy, &text(number), 2), None, "{to}");
        }
        twice += copies.len() - 1;
        all_unanswered += unanswered;
    }
    assert!(arrived.is_empty(), "nobody sent these: {:?}", arrived.keys());
    (twice, all_unanswered)
}

/// Whether Postfix, or mailward, waited for the answer to the end of the message in vain.
fn has_no_answer(delivery: &Delivery) -> bool {
    delivery.status == "deferred"
        && ["sending end of data", "may be duplicated"].iter().any(|it| delivery.words.contains(it))
}

#[test]
fn lmtp_loses_nothing() {
    kill_while_sending("Postfix by LMTP", &format!("lmtp:inet:{}", relaying::LMTP));
}

#[test]
fn smtp_loses_nothing() {
    kill_while_sending("Postfix by SMTP", &format!("smtp:[127.0.0.1]:{}", relaying::SMTP.port()));
}
