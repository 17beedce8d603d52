//! PROXY headers in front of sessions: whom they are demanded from, what they change, and that a bad one ends it all.

mod support;

use std::net::{Ipv4Addr, Shutdown};
use std::time::Duration;

use support::{Fake, Gateway, NAME, Talk, plain};

/// The proxy that is trusted, and somebody who is not.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\r\n";
const LINE_SIX: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 25\r\n";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x9c\x40\0\x19";
/// With the fields of a TLS terminator, and one that nobody knows.
const FIELDS: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x27\xc0\0\x02\x07\xc0\0\x02\x01\x9c\x40\0\x19\
                        \x20\0\x0f\x01\0\0\0\0\x21\0\x07TLSv1.3\xee\0\x06\0\r\n\r\n.";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A listener of each kind that demands headers from [`PROXY`]. What they lead to is plain.
fn gateway() -> Gateway {
    let smtp = Fake::start(|talk, _| plain::serve("smtp", talk));
    let imap = Fake::start(|talk, _| plain::serve("imap", talk));
    Gateway::builder()
        .server("proxy.trusted-networks = \"127.0.0.1\"\nmax-connections = 100")
        .listener("smtp", "smtp", smtp.address())
        .implicit("imaps", "imap", imap.address())
        .listener("slow", "smtp", smtp.address())
        .with("slow", "timeout.proxy = \"300ms\"")
        .listener("full", "smtp", smtp.address())
        .with("full", "max-connections = 1")
        .http("web")
        .start()
}

/// Where the session that ended as number `number` says that its client was.
fn peer(gateway: &Gateway, listener: &str, number: usize) -> String {
    gateway.nth_session(listener, number)["peer"].as_str().expect("an address").to_owned()
}

#[test]
fn the_address_in_a_header_is_the_clients_from_then_on() {
    let gateway = gateway();
    let own = |talk: &Talk| talk.socket().local_addr().expect("an address").to_string();
    let said = "192.0.2.7:40000".to_owned();
    let headers = [
        (LINE, Some(said.clone())),
        (LINE_SIX, Some("[2001:db8::7]:40000".to_owned())),
        (BINARY, Some(said.clone())),
        (FIELDS, Some(said)),
        (UNKNOWN, None),
        (LOCAL, None),
    ];
    for (number, (header, said)) in headers.into_iter().enumerate() {
        let mut talk = Talk::to(gateway.address("smtp"));
        let expected = said.unwrap_or_else(|| own(&talk));
        // What is behind the header in the same segment is the protocol's.
        talk.send([header, b"QUIT\r\n"].concat()).reply("220");
        talk.reply("221");
        talk.closes();
        assert_eq!(peer(&gateway, "smtp", number), expected);

        let mut talk = Talk::to(gateway.address("imaps"));
        let expected = if expected.starts_with("127.") { own(&talk) } else { expected };
        talk.send(header);
        talk = talk.tls(gateway.authority.roots());
        talk.expect("* OK");
        talk.send("o LOGOUT\r\n").until("o OK");
        drop(talk);
        assert_eq!(peer(&gateway, "imaps", number), expected);

        let mut talk = Talk::to(gateway.address("web"));
        let expected = if expected.starts_with("127.") { own(&talk) } else { expected };
        let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
        talk.send([header, request.as_bytes()].concat()).expect("HTTP/1.1 404");
        talk.rest();
        assert_eq!(peer(&gateway, "web", number), expected);
    }
}

#[test]
fn tls_before_the_proxy_is_not_tls_here() {
    let gateway = gateway();
    let mut talk = Talk::to(gateway.address("smtp"));
    talk.send(FIELDS).reply("220");
    // Else it would be an error.
    talk.ask("STARTTLS", "220");
    talk = talk.tls(gateway.authority.roots());
    talk.send("EHLO client.example.net\r\n").reply("250");
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let gateway = gateway();
    for header in [LINE, FIELDS] {
        let mut talk = Talk::to(gateway.address("smtp"));
        for byte in header {
            talk.send([*byte]).taken();
        }
        talk.reply("220");
    }
}

#[test]
fn a_header_that_breaks_off_is_the_end_of_the_connection() {
    let gateway = gateway();
    let cuts = (0..LINE.len()).map(|end| &LINE[..end]).chain((0..FIELDS.len()).map(|end| &FIELDS[..end]));
    for (number, cut) in cuts.enumerate() {
        for listener in ["smtp", "imaps", "web"] {
            let mut talk = Talk::to(gateway.address(listener));
            talk.send(cut);
            talk.socket().shutdown(Shutdown::Write).expect("a connection");
            talk.closes();
            let line = gateway.nth_session(listener, number);
            assert_eq!((&line["outcome"], &line["reason"]), (&"client-lost".into(), &"proxy-header".into()), "{line}");
        }
    }
}

#[test]
fn what_is_no_header_is_the_end_of_the_connection() {
    let gateway = gateway();
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
    let wrong: [&[u8]; 9] = [
        b"EHLO client.example.net\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 40000\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 25\n",
        &endless,
        // 4097 bytes, and as many as there can be.
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xf1",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        // A checksum that is wrong.
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x07\xc0\0\x02\x01\x9c\x40\0\x19\x03\0\x04abcd",
    ];
    for (number, wrong) in wrong.into_iter().enumerate() {
        for listener in ["smtp", "imaps", "web"] {
            let mut talk = Talk::to(gateway.address(listener));
            talk.send(wrong);
            talk.closes();
            let line = gateway.nth_session(listener, number);
            let expected = (&"violation".into(), &"bad-proxy-header".into());
            assert_eq!((&line["outcome"], &line["reason"]), expected, "{line}");
        }
    }
}

#[test]
fn a_header_has_its_time_however_its_bytes_drip() {
    let gateway = gateway();
    let mut silent = Talk::to(gateway.address("slow"));
    silent.closes();
    let mut dripping = Talk::to(gateway.address("slow"));
    let mut bytes = LINE.iter();
    while dripping.is_silent_for(Duration::from_millis(50)) {
        let byte = bytes.next().expect("time is up long before the end");
        // Time may be up just now.
        let _ = dripping.try_send([*byte]);
    }
    for number in 0..2 {
        let line = gateway.nth_session("slow", number);
        assert_eq!((&line["outcome"], &line["reason"]), (&"timeout".into(), &"proxy-header".into()), "{line}");
    }
}

#[test]
fn from_others_a_header_is_never_taken() {
    let gateway = gateway();
    for header in [LINE, b"PROXY UNKNOWN\r\n"] {
        let mut talk = Talk::from(STRANGER, gateway.address("smtp"));
        talk.reply("220");
        talk.send(header).reply("5");
        talk.ask("QUIT", "221");
        let mut talk = Talk::from(STRANGER, gateway.address("web"));
        talk.send(header).expect("HTTP/1.1 400");
    }
    for header in [LINE, BINARY] {
        let mut talk = Talk::from(STRANGER, gateway.address("imaps"));
        talk.send(header);
        talk.rest();
    }
    for (listener, outcome) in [("smtp", "ok"), ("imaps", "tls-failed"), ("web", "violation")] {
        for number in 0..2 {
            let line = gateway.nth_session(listener, number);
            let from = line["peer"].as_str().expect("an address").starts_with("127.0.0.8:");
            assert!(from && line["outcome"] == outcome, "{line}");
        }
    }
}

#[test]
fn who_is_one_too_many_is_told_so_behind_its_header() {
    let gateway = gateway();
    let mut first = Talk::from(STRANGER, gateway.address("full"));
    first.reply("220");
    let mut second = Talk::from(PROXY, gateway.address("full"));
    second.send(BINARY).reply("421");
    second.closes();
    assert_eq!(gateway.session("full", "limited")["peer"], "192.0.2.7:40000");
}
