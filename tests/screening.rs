//! What comes before the greeting of an smtp listener: who speaks first is sent away, and may be banned for it; who is on a
//! block list is sent away too, and nobody whom no list speaks of in time.

mod support;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Ttl};
use domain::rdata::A;
use serde_json::{Value, json};
use support::{Fake, Gateway, Named, Talk, eventually, plain};

/// Who is in a hurry.
const ROGUE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
/// Who is not.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);
/// Who may be.
const EXEMPT: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);

/// An smtp listener that waits for so long before it greets.
fn waiting(patience: &str, server: &str) -> Gateway {
    Gateway::builder()
        .server(&format!("{server}\nexempt-networks = \"127.0.9.0/24\""))
        .listener("smtp", "smtp", Fake::start(|talk, _| plain::serve("smtp", talk)).address())
        .with("smtp", &format!("pregreet = \"{patience}\""))
        .start()
}

#[test]
fn who_speaks_before_the_greeting_is_refused_and_banned_in_the_end() {
    let gateway = waiting("30s", "auto-ban.abuse.rate = \"1/1h\"");
    for _ in 0..2 {
        let mut talk = Talk::from(ROGUE, gateway.address("smtp"));
        talk.send("EHLO spam.example\r\n").reply("554 5.5.1");
        talk.closes();
    }
    assert_eq!(gateway.session("smtp", "violation")["reason"], "spoke-before-greeting");
    let line = gateway.log_line("the ban", |line| line["message"] == "client banned");
    assert_eq!((&line["address"], &line["reason"]), (&"127.0.0.7".into(), &"abuse".into()));
    assert_eq!(Talk::from(ROGUE, gateway.address("smtp")).heard(), "");
    // Whoever is exempt need not wait, and is greeted though it spoke.
    let mut talk = Talk::from(EXEMPT, gateway.address("smtp"));
    talk.send("EHLO monitor.example\r\n").reply("220");
    talk.reply("250");
}

#[test]
fn who_waits_is_greeted_after_the_time_and_served_as_ever() {
    let gateway = waiting("700ms", "");
    let began = Instant::now();
    let mut talk = Talk::from(OTHER, gateway.address("smtp"));
    plain::greet("smtp", &mut talk);
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    plain::start_tls("smtp", &mut talk);
    let mut talk = talk.tls(gateway.authority.roots());
    plain::log_in("smtp", &mut talk);
    talk.ask("QUIT", "221");
    drop(Talk::from(OTHER, gateway.address("smtp")));
    assert_eq!(gateway.session("smtp", "client-lost")["reason"], "before-tls");
}

#[test]
fn the_wait_comes_also_before_a_backends_own_greeting() {
    let gateway = Gateway::builder()
        .listener("smtp", "smtp", Fake::start(|talk, _| plain::serve("smtp", talk)).address())
        .with("smtp", "pregreet = \"30s\"\ntls.enable = false")
        .start();
    let mut talk = Talk::from(ROGUE, gateway.address("smtp"));
    talk.send("EHLO spam.example\r\n").reply("554 5.5.1");
    talk.closes();
}

/// An address in a documentation network, for which lists may be asked.
const CLIENT: &str = "192.0.2.7";
const CLIENT_SIX: &str = "2001:db8::7";
/// Its name at a list.
const QUESTION: &str = "7.2.0.192.bl.example";

/// An smtp listener that asks `server` about the clients of a proxy at 127.0.0.1.
fn asking(server: &NameServer, lines: &str) -> Gateway {
    asking_at(server.address, lines)
}

fn asking_at(server: SocketAddr, lines: &str) -> Gateway {
    let exempt = "exempt-networks = \"192.0.2.64/26\"\nauto-ban.abuse.rate = \"1/1h\"";
    Gateway::builder()
        .server(&format!("proxy.trusted-networks = \"127.0.0.1\"\n{exempt}"))
        .listener("smtp", "smtp", Fake::start(|talk, _| plain::serve("smtp", talk)).address())
        .with("smtp", &format!("dnsbl.zones = \"bl.example\"\ndnsbl.server = \"{server}\"\n{lines}"))
        .start()
}

/// A client at this address, by the proxy.
fn client(gateway: &Gateway, address: &str) -> Talk {
    let mut talk = Talk::to(gateway.address("smtp"));
    let (family, own) = if address.contains(':') { ("TCP6", "2001:db8::1") } else { ("TCP4", "192.0.2.1") };
    talk.send(format!("PROXY {family} {address} {own} 40000 25\r\n"));
    talk
}

/// The client is greeted, and served from then on.
#[track_caller]
fn greeted(mut talk: Talk) {
    talk.reply("220");
    talk.ask("QUIT", "221");
}

/// The client is told that it is listed, and no more.
#[track_caller]
fn refused(mut talk: Talk, client: &str, zone: &str) {
    talk.expect(&format!("554 5.7.1 The client [{client}] is on the block list {zone},"));
    talk.closes();
}

#[test]
fn who_is_listed_is_refused_and_not_banned() {
    let server = NameServer::start(|name| match name {
        QUESTION => Reply::yes([127, 0, 0, 2]),
        name if name.starts_with("7.0.0.0.0.0") && name.ends_with("8.b.d.0.1.0.0.2.bl.example") => {
            Reply::yes([127, 0, 0, 4])
        }
        _ => Reply::no(),
    });
    let gateway = asking(&server, "");
    for (number, address) in [CLIENT, CLIENT_SIX].into_iter().enumerate() {
        refused(client(&gateway, address), address, "bl.example");
        // A client is gone before its line is written.
        gateway.nth_session("smtp", number);
    }
    refused(client(&gateway, CLIENT), CLIENT, "bl.example");
    let line = gateway.nth_session("smtp", 2);
    assert_eq!((&line["outcome"], &line["reason"]), (&"limited".into(), &"listed".into()), "{line}");
    let noted = gateway.log_line("the list", |it| it["message"] == "client listed" && it["session"] == line["session"]);
    assert_eq!((&noted["address"], &noted["zone"]), (&CLIENT.into(), &"bl.example".into()));
    greeted(client(&gateway, "192.0.2.8"));
    assert_eq!(gateway.count(|line| line["message"] == "client banned"), 0);
}

#[test]
fn what_a_list_has_said_is_remembered() {
    let server = NameServer::start(|name| if name == QUESTION { Reply::yes([127, 0, 0, 2]) } else { Reply::no() });
    let gateway = asking(&server, "");
    for _ in 0..3 {
        refused(client(&gateway, CLIENT), CLIENT, "bl.example");
        greeted(client(&gateway, "192.0.2.8"));
    }
    assert_eq!(server.asked(), [QUESTION, "8.2.0.192.bl.example"]);
    // A reload begins anew.
    assert!(gateway.reload());
    refused(client(&gateway, CLIENT), CLIENT, "bl.example");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn those_of_one_client_who_come_at_once_wait_for_one_answer() {
    let server = NameServer::start(|_| Reply::yes([127, 0, 0, 2]).late(Duration::from_millis(700)));
    let gateway = asking(&server, "dnsbl.timeout = \"20s\"");
    let all: Vec<_> = (0..10).map(|_| client(&gateway, CLIENT)).collect();
    for talk in all {
        refused(talk, CLIENT, "bl.example");
    }
    assert_eq!(server.asked(), [QUESTION]);
}

#[test]
fn an_answer_counts_where_the_file_says_so() {
    let server = NameServer::start(|name| match name.split_once('.') {
        Some((last, "2.0.192.first.example")) => Reply::yes([127, 0, 0, last.parse().unwrap_or(0)]),
        Some(("20", "2.0.192.second.example")) => Reply::yes([127, 0, 0, 2]),
        _ => Reply::no(),
    });
    let zones = "dnsbl.zones = [\"first.example=127.0.0.[2..4;9]\", \"second.example=127.0.0.2\"]";
    let gateway = asking(&server, zones);
    for (last, zone) in [(4, Some("first")), (5, None), (9, Some("first")), (10, None), (20, Some("second"))] {
        let address = format!("192.0.2.{last}");
        match zone {
            Some(zone) => refused(client(&gateway, &address), &address, &format!("{zone}.example")),
            None => greeted(client(&gateway, &address)),
        }
    }
}

#[test]
fn where_a_list_does_not_tell_clients_are_let_in() {
    // Each is asked about in a zone of its own, and a second time, since nothing was said that could be remembered.
    let cases: [(&str, Reply, &str); 6] = [
        ("silent", Reply::Silence, "no answer within 300ms"),
        ("broken", Reply::Bytes(b"no message".to_vec()), "no answer within 300ms"),
        ("failing", Reply::Code(Rcode::SERVFAIL), "SERVFAIL"),
        ("refusing", Reply::Code(Rcode::REFUSED), "REFUSED"),
        ("much", Reply::yes([127, 255, 255, 255]), "127.255.255.255"),
        ("public", Reply::yes([127, 255, 255, 254]), "127.255.255.254"),
    ];
    let replies: Vec<_> = cases.iter().map(|(zone, reply, _)| (*zone, reply.clone())).collect();
    let server = NameServer::start(move |name| {
        let found = replies.iter().find(|(zone, _)| name.ends_with(&format!(".{zone}.example")));
        found.map_or_else(Reply::no, |(_, reply)| reply.clone())
    });
    for (zone, _, why) in &cases {
        let gateway = asking(&server, &format!("dnsbl.zones = \"{zone}.example\"\ndnsbl.timeout = \"300ms\""));
        for _ in 0..2 {
            greeted(client(&gateway, CLIENT));
        }
        let is_warning = |line: &Value| line["message"] == "a block list does not tell; clients are let in meanwhile";
        let line = gateway.log_line("a warning", is_warning);
        assert_eq!(
            (&line["zone"], &line["server"]),
            (&json!(format!("{zone}.example")), &json!(server.address.to_string()))
        );
        assert!(line["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{line}");
        assert_eq!(gateway.count(is_warning), 1);
        let asked = || server.asked().iter().filter(|name| name.ends_with(&format!(".{zone}.example"))).count();
        // Where the machine stalls, the time may be up before a question has come.
        let mut clients = 2;
        let again = eventually(|| match asked() {
            0 | 1 => {
                greeted(client(&gateway, CLIENT));
                clients += 1;
                None
            }
            asked => Some(asked),
        });
        assert!(again.is_some_and(|asked| asked <= clients), "{zone}: {again:?} of {clients}");
    }
}

#[test]
fn one_list_that_says_yes_is_enough_whatever_the_others_do() {
    let server = NameServer::start(|name| match name {
        name if name.ends_with(".bl.example") => Reply::yes([127, 0, 0, 2]),
        _ => Reply::Silence,
    });
    let zones = "dnsbl.zones = [\"silent.example\", \"bl.example\"]\ndnsbl.timeout = \"50s\"\npregreet = \"50s\"";
    let gateway = asking(&server, zones);
    // Long before the time is over, and the silence too.
    refused(client(&gateway, CLIENT), CLIENT, "bl.example");
}

#[test]
fn no_list_is_asked_about_who_is_exempt_nor_about_an_address_that_every_network_has() {
    let server = NameServer::start(|_| Reply::yes([127, 0, 0, 2]));
    let gateway = asking(&server, "");
    for address in ["192.0.2.65", "10.1.2.3", "192.168.1.1", "127.0.0.7", "100.64.0.1", "::1", "fe80::1", "fd00::7"] {
        greeted(client(&gateway, address));
    }
    // In its own name the proxy is no client.
    let mut proxy = Talk::to(gateway.address("smtp"));
    proxy.send("PROXY UNKNOWN\r\n");
    greeted(proxy);
    greeted(Talk::from(OTHER, gateway.address("smtp")));
    assert_eq!(server.asked(), [] as [&str; 0]);
}

#[test]
fn a_real_name_server_is_understood_also_where_its_answer_comes_by_tcp() {
    // Forty addresses are more than 512 bytes.
    let many: String = (2..42).map(|last| format!("9.2.0.192 A 127.0.0.{last}\n")).collect();
    let records = format!("7.2.0.192 A 127.0.0.4\n{many}");
    let bind = Named::builder().zone_with("bl.example", &records, "deny * zonesub ANY;").start();
    let gateway = asking_at(bind.address(), "dnsbl.zones = [\"bl.example=127.0.0.[4;41]\", \"elsewhere.example\"]");
    for address in [CLIENT, "192.0.2.9"] {
        refused(client(&gateway, address), address, "bl.example");
    }
    greeted(client(&gateway, "192.0.2.8"));
    // It knows nothing of the other list, and looks for nothing elsewhere.
    let line = gateway.log_line("a warning", |line| line["zone"] == "elsewhere.example");
    assert!(line["reason"].as_str().is_some_and(|reason| reason.contains("REFUSED")), "{line}");
}

#[test]
fn who_is_listed_may_be_noted_alone() {
    let server = NameServer::start(|_| Reply::yes([127, 0, 0, 2]));
    let gateway = asking(&server, "dnsbl.reject = false");
    greeted(client(&gateway, CLIENT));
    let line = gateway.session("smtp", "ok");
    let noted = gateway.log_line("the list", |it| it["message"] == "client listed" && it["session"] == line["session"]);
    assert_eq!((&noted["address"], &noted["zone"]), (&CLIENT.into(), &"bl.example".into()));
}

#[test]
fn the_silence_and_the_lists_are_waited_for_at_the_same_time() {
    const EACH: Duration = Duration::from_secs(2);
    let server = NameServer::start(|_| Reply::no().late(EACH));
    let gateway = asking(&server, "dnsbl.timeout = \"20s\"\npregreet = \"2s\"");
    let began = Instant::now();
    greeted(client(&gateway, CLIENT));
    let took = began.elapsed();
    assert!(took >= EACH && took < 2 * EACH, "{took:?}");
}

#[test]
fn who_is_asked_about_may_speak_where_it_need_not_be_silent() {
    let server = NameServer::start(|_| Reply::no().late(Duration::from_millis(500)));
    let gateway = asking(&server, "dnsbl.timeout = \"20s\"");
    let mut talk = client(&gateway, CLIENT);
    talk.send("QUIT\r\n").reply("220");
    talk.reply("221");
}

#[test]
fn a_client_that_goes_and_a_mailward_that_stops_end_the_wait() {
    let server = NameServer::start(|_| Reply::Silence);
    let mut gateway = asking(&server, "dnsbl.timeout = \"50s\"");
    let mut gone = client(&gateway, CLIENT);
    server.await_question();
    gone.cut();
    assert_eq!(gateway.session("smtp", "client-lost")["reason"], "before-tls");
    let mut waiting = client(&gateway, "192.0.2.8");
    server.await_question();
    gateway.signal("TERM");
    waiting.reply("421 4.3.2");
    waiting.closes();
    assert_eq!(gateway.session("smtp", "drained")["reason"], "before-tls");
    assert_eq!(gateway.ended(), Some(0));
}

/// What a name server says.
#[derive(Clone, Debug)]
enum Reply {
    /// These addresses, after this time; where there are none, that there is no such name.
    Addresses(Vec<[u8; 4]>, Duration),
    Code(Rcode),
    Bytes(Vec<u8>),
    Silence,
}

impl Reply {
    fn yes(address: [u8; 4]) -> Self {
        Self::Addresses(vec![address], Duration::ZERO)
    }

    fn no() -> Self {
        Self::Addresses(Vec::new(), Duration::ZERO)
    }

    fn late(self, time: Duration) -> Self {
        match self {
            Self::Addresses(addresses, _) => Self::Addresses(addresses, time),
            other => other,
        }
    }

    fn message(&self, request: &Message<Vec<u8>>) -> Vec<u8> {
        let begin = |code| MessageBuilder::new_vec().start_answer(request, code).expect("room");
        match self {
            Self::Addresses(addresses, _) => {
                let mut answer = begin(if addresses.is_empty() { Rcode::NXDOMAIN } else { Rcode::NOERROR });
                let question = request.sole_question().expect("a question");
                for [a, b, c, d] in addresses.iter().copied() {
                    answer.push((question.qname(), Ttl::from_secs(300), A::from_octets(a, b, c, d))).expect("room");
                }
                answer.finish()
            }
            Self::Code(code) => begin(*code).finish(),
            Self::Bytes(bytes) => bytes.clone(),
            Self::Silence => Vec::new(),
        }
    }
}

/// A resolver that says what a test wants, by UDP.
struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    questions: Receiver<()>,
}

impl NameServer {
    fn start(reply: impl Fn(&str) -> Reply + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("an address");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (told, questions) = channel();
        let seen = asked.clone();
        thread::spawn(move || {
            let (mut datagram, mut known) = ([0; 512], HashSet::new());
            while let Ok((length, client)) = socket.recv_from(&mut datagram) {
                let request = Message::from_octets(datagram[..length].to_vec()).expect("a message");
                let name = request.sole_question().expect("a question").qname().to_string();
                let said = reply(&name);
                // What was slow to be answered is sent again.
                if known.insert((client, request.header().id())) {
                    seen.lock().expect("no panic").push(name);
                    // Nobody need wait for it.
                    let _ = told.send(());
                }
                let (socket, message) = (socket.try_clone().expect("a socket"), said.message(&request));
                thread::spawn(move || {
                    if let Reply::Addresses(_, late) = said {
                        thread::sleep(late);
                    }
                    if !message.is_empty() {
                        // Who asked may have gone.
                        let _ = socket.send_to(&message, client);
                    }
                });
            }
        });
        Self { address, asked, questions }
    }

    /// The names that it was asked for so far.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }

    /// Waits for the next question.
    fn await_question(&self) {
        self.questions.recv_timeout(Duration::from_secs(30)).expect("a question");
    }
}
