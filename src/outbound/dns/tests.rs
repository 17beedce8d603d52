//! Resolvers of all kinds, played by sockets on loopback.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use domain::base::{
    Message, MessageBuilder, Name, ToName as _, Ttl, iana::Rcode, message_builder::AnswerBuilder,
    opt::exterr::ExtendedError,
};
use tokio::{net::UdpSocket, task::JoinHandle};

use super::*;
use crate::policy::answer::{Existence, Security};

/// A resolver, and what it was asked so far.
struct Played {
    server: Server,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// What a resolver does with a question.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Answers, and says that the answer is authentic.
    Vouches,
    /// Answers, without.
    Answers,
    /// Finds it bogus, and says so.
    Bogus,
    /// Fails.
    Fails,
    /// Does not want to.
    Refuses,
    /// Says nothing.
    Keeps,
}

impl Played {
    /// One that does this with names, by their first label; `bogus` is always found out unless the name is told.
    async fn start(does: impl Fn(&str) -> Does + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(socket.local_addr().unwrap(), false);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let told = asked.clone();
        let task = tokio::spawn(async move {
            let mut datagram = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut datagram).await.unwrap();
                let request = Message::from_octets(datagram[..length].to_vec()).unwrap();
                let name = request.sole_question().unwrap().qname().to_vec().to_string();
                told.lock().unwrap().push(name.clone());
                if let Some(reply) = reply(&request, does(&name)) {
                    socket.send_to(&reply, client).await.unwrap();
                }
            }
        });
        Self { server, asked, task }
    }

    /// What it was asked since this was last called, but for tests of its own.
    fn asked(&self) -> Vec<String> {
        let asked = mem::take(&mut *self.asked.lock().unwrap());
        asked.into_iter().filter(|name| !name.starts_with("probe")).collect()
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reply(request: &Whole, does: Does) -> Option<Vec<u8>> {
    let start = |code| -> AnswerBuilder<Vec<u8>> { MessageBuilder::new_vec().start_answer(request, code).unwrap() };
    match does {
        Does::Vouches | Does::Answers => {
            let mut answer = start(Rcode::NOERROR);
            answer.header_mut().set_ad(does == Does::Vouches);
            let owner: Name<Vec<u8>> = request.sole_question().unwrap().qname().to_vec();
            answer.push((owner, Ttl::from_secs(60), domain::rdata::A::from_octets(192, 0, 2, 1))).unwrap();
            Some(answer.finish())
        }
        Does::Bogus => {
            let mut failure = start(Rcode::SERVFAIL).additional();
            let error = ExtendedError::<Vec<u8>>::new_with_str(6.into(), "wrong").unwrap();
            failure.opt(|opt| opt.push(&error)).unwrap();
            Some(failure.finish())
        }
        Does::Fails => Some(start(Rcode::SERVFAIL).finish()),
        Does::Refuses => Some(start(Rcode::REFUSED).finish()),
        Does::Keeps => None,
    }
}

/// One that passes the test and then does this.
macro_rules! good {
    ($does:expr) => {
        Played::start(|name| match name {
            "probe.test" => Does::Vouches,
            "probe.bogus.test" => Does::Bogus,
            _ => $does,
        })
        .await
    };
}

fn dns(servers: &[&Played]) -> Dns {
    let servers = servers.iter().map(|played| played.server).collect();
    let probe = Probe { signed: "probe.test".into(), bogus: Some("probe.bogus.test".into()) };
    Dns::new(Settings { timeout: Duration::from_millis(800), probe, ..Settings::new(servers, Dnssec::Ad) })
}

async fn security(dns: &Dns, name: &str) -> Result<Security, LookupError> {
    dns.v4(name).await.map(|answer| {
        assert_eq!((answer.existence, answer.records.len()), (Existence::Records, 1));
        answer.security
    })
}

#[tokio::test]
async fn d2_nothing_is_asked_of_a_resolver_that_was_not_tested() {
    let played = good!(Does::Vouches);
    let dns = dns(&[&played]);
    assert_eq!(dns.standings(), [(played.server.address, Standing::Untested)]);
    assert_eq!(security(&dns, "a.test").await, Ok(Security::Secure));
    assert_eq!(*played.asked.lock().unwrap(), ["probe.test", "probe.bogus.test", "a.test"]);
    assert!(dns.vouches());
}

#[tokio::test]
async fn a_test_without_an_answer_leaves_mail_waiting_and_never_without_dane() {
    let silent = Played::start(|name| if name == "a.test" { Does::Answers } else { Does::Keeps }).await;
    let failing = Played::start(|name| if name == "a.test" { Does::Answers } else { Does::Fails }).await;
    for (played, error) in [(silent, LookupError::Timeout), (failing, LookupError::ServerFailure { ede: None })] {
        let dns = dns(&[&played]);
        assert_eq!(security(&dns, "a.test").await, Err(error));
        assert_eq!(played.asked(), [""; 0]);
        assert!(!dns.test().await);
        assert_eq!(dns.standings()[0].1, Standing::Untested);
    }
}

#[tokio::test]
async fn d2_a_resolver_that_does_not_validate_is_believed_in_nothing() {
    let echo = Played::start(|_| Does::Vouches).await;
    let deaf = Played::start(|name| if name == "probe.test" { Does::Answers } else { Does::Vouches }).await;
    let closed = Played::start(|name| if name == "probe.test" { Does::Refuses } else { Does::Vouches }).await;
    let does_not_say = Doubt::DoesNotSay("probe.test".into());
    let does_not_validate = Doubt::DoesNotValidate("probe.bogus.test".into());
    for (played, doubt) in [(echo, does_not_validate), (deaf, does_not_say.clone()), (closed, does_not_say)] {
        let dns = dns(&[&played]);
        assert_eq!(security(&dns, "a.test").await, Ok(Security::Insecure));
        assert_eq!(dns.standings()[0].1, Standing::DoesNot(doubt));
    }
}

#[tokio::test]
async fn a_resolver_that_has_vouched_is_not_doubted_for_a_refusal() {
    let refuses = Arc::new(AtomicBool::new(false));
    let refused = refuses.clone();
    let played = Played::start(move |name| match name {
        "probe.test" if refused.load(Relaxed) => Does::Refuses,
        "probe.bogus.test" => Does::Fails,
        _ => Does::Vouches,
    });
    let played = played.await;
    let dns = dns(&[&played]);
    assert!(dns.test().await);
    refuses.store(true, Relaxed);
    assert!(!dns.test().await, "it is asked again soon");
    assert_eq!(dns.standings()[0].1, Standing::Vouches);
}

#[tokio::test]
async fn while_one_vouches_none_is_asked_that_does_not() {
    let (doubted, silent) = (Played::start(|_| Does::Vouches).await, good!(Does::Keeps));
    let dns = dns(&[&doubted, &silent]);
    dns.test().await;
    assert_eq!(security(&dns, "a.test").await, Err(LookupError::Timeout));
    assert_eq!(doubted.asked(), [""; 0]);
    assert_eq!(silent.asked()[0], "a.test");
    // Nor the first time, when it has yet to show.
    let good = good!(Does::Vouches);
    assert_eq!(security(&super::tests::dns(&[&doubted, &good]), "a.test").await, Ok(Security::Secure));
    assert_eq!(doubted.asked(), [""; 0]);
}

#[tokio::test]
async fn a_silent_resolver_is_passed_over_and_then_left_alone() {
    let (silent, other) = (good!(Does::Keeps), good!(Does::Vouches));
    let dns = dns(&[&silent, &other]);
    assert_eq!(security(&dns, "a.test").await, Ok(Security::Secure));
    assert_eq!((silent.asked(), other.asked()), (vec!["a.test".to_owned()], vec!["a.test".to_owned()]));
    assert_eq!(security(&dns, "b.test").await, Ok(Security::Secure));
    assert_eq!((silent.asked(), other.asked()), (vec![], vec!["b.test".to_owned()]));
}

#[tokio::test]
async fn a_failure_is_asked_about_elsewhere_and_what_is_bogus_is_not() {
    let (fails, other) = (good!(Does::Fails), good!(Does::Vouches));
    assert_eq!(security(&dns(&[&fails, &other]), "a.test").await, Ok(Security::Secure));
    assert_eq!((fails.asked().len(), other.asked().len()), (1, 1));
    assert_eq!(security(&dns(&[&fails]), "a.test").await, Err(LookupError::ServerFailure { ede: None }));
    assert_eq!(fails.asked().len(), 1, "who has answered is not asked again");
    let bogus = good!(Does::Bogus);
    let error = security(&dns(&[&bogus, &other]), "a.test").await.unwrap_err();
    assert_eq!(error.ede().map(|ede| (ede.code, ede.text.as_str())), Some((6, "wrong")));
    assert_eq!(other.asked(), [""; 0]);
}

#[tokio::test]
async fn a_question_ends_in_twice_the_time_of_one_resolver() {
    let silent = [good!(Does::Keeps), good!(Does::Keeps), good!(Does::Keeps)];
    let dns = dns(&[&silent[0], &silent[1], &silent[2]]);
    dns.test().await;
    let started = tokio::time::Instant::now();
    assert_eq!(security(&dns, "a.test").await, Err(LookupError::Timeout));
    let took = started.elapsed();
    assert!((1500..5000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn answers_are_remembered_and_errors_are_not() {
    let played = good!(Does::Vouches);
    let dns = dns(&[&played]);
    dns.test().await;
    for _ in 0..3 {
        assert_eq!(security(&dns, "a.test").await, Ok(Security::Secure));
        assert_eq!(security(&dns, "A.Test").await, Ok(Security::Secure));
    }
    assert_eq!(played.asked(), ["a.test"]);
    let fails = good!(Does::Fails);
    let dns = super::tests::dns(&[&fails]);
    for _ in 0..3 {
        assert!(security(&dns, "a.test").await.is_err());
    }
    assert_eq!(fails.asked().len(), 3);
}

#[tokio::test]
async fn what_a_resolver_has_said_is_forgotten_when_it_is_believed_no_more() {
    let played = good!(Does::Vouches);
    let dns = dns(&[&played]);
    assert_eq!(security(&dns, "a.test").await, Ok(Security::Secure));
    dns.note(0, Standing::DoesNot(Doubt::DoesNotSay("probe.test".into())));
    assert_eq!(security(&dns, "a.test").await, Ok(Security::Insecure));
    assert!(!dns.vouches());
    assert!(dns.test().await);
    assert_eq!(security(&dns, "a.test").await, Ok(Security::Secure));
}

#[tokio::test]
async fn without_dnssec_nothing_is_tested_and_nothing_secure() {
    let played = Played::start(|_| Does::Vouches).await;
    let settings = Settings { dnssec: Dnssec::Off, ..dns(&[&played]).settings };
    let dns = Dns::new(settings);
    assert!(dns.test().await);
    assert_eq!(security(&dns, "a.test").await, Ok(Security::Insecure));
    assert_eq!(*played.asked.lock().unwrap(), ["a.test"]);
    assert_eq!(dns.standings()[0].1, Standing::DoesNot(Doubt::Off));
}

#[test]
fn d2_a_resolver_of_the_file_is_trusted_on_this_machine_or_where_the_file_says_so() {
    let servers = NameServers::Custom(vec!["127.0.0.1:53".parse().unwrap(), "192.0.2.1:5353".parse().unwrap()]);
    let of = |dnssec, dnssec_named| {
        let at = config::Position { file: Arc::default(), line: 1, column: 1 };
        let servers = servers.clone();
        let settings =
            Settings::of(&config::Resolver { servers, dnssec, dnssec_named, trust_anchor: None, at }).unwrap();
        (settings.dnssec, settings.servers.iter().map(|server| server.is_trusted).collect::<Vec<_>>())
    };
    assert_eq!(of(config::Dnssec::Ad, false), (Dnssec::Ad, vec![true, false]));
    assert_eq!(of(config::Dnssec::Ad, true), (Dnssec::Ad, vec![true, true]));
    assert_eq!(of(config::Dnssec::Off, true).0, Dnssec::Off);
    assert!(matches!(of(config::Dnssec::Validate, true).0, Dnssec::Validate(_)));
}
