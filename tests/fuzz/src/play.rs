//! Plays a fuzzer's session twice, as it was cut and byte by byte, and demands the same of both.

use std::sync::Arc;

use mailward::{
    machines::{FilterSession, Greeted, GreeterSession},
    proto::{Farewell, Phase, Protocol, Settings, Violation},
    script::{Event, Flags, events},
};

/// A session before TLS, of the protocol that the first byte chooses among `family`.
pub fn play_greeter(family: &[Protocol], data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else { return };
    let (flags, events) = (Flags(flags), events(rest));
    let settings = flags.settings(family);
    let whole = greeter(&settings, flags, &events, usize::MAX);
    let bytes = greeter(&settings, flags, &events, 1);
    well_formed(settings.protocol, &whole.to_client);
    if whole.state == Greeted::Violation(Violation::InjectedBeforeTls) {
        // Cut right behind the command, the same bytes are not there yet when TLS begins.
        assert_eq!(bytes.state, Greeted::StartTls);
    } else {
        assert_eq!(whole.state, bytes.state);
        assert_eq!(text(&whole.to_client), text(&bytes.to_client));
    }
}

fn greeter(settings: &Arc<Settings>, flags: Flags, events: &[Event], most: usize) -> GreeterSession {
    let mut session = GreeterSession::new(settings);
    for event in events {
        match event {
            Event::Client(read) => {
                for piece in read.chunks(most) {
                    read_greeter(&mut session, flags, piece);
                }
            }
            Event::Farewell if session.state == Greeted::Open => {
                let before = session.to_client.len();
                session.farewell(Farewell::Timeout);
                well_formed(settings.protocol, &session.to_client[before..]);
            }
            _ => {}
        }
    }
    session
}

fn read_greeter(session: &mut GreeterSession, flags: Flags, piece: &[u8]) {
    if session.state == Greeted::Open {
        session.read(piece);
    }
    while session.state == Greeted::Asking {
        session.learn(Some(flags.extensions()));
    }
}

/// What mailward says itself is whole lines of printable ASCII, and asks for no password. Only the tag of a ManageSieve
/// NOOP comes back as it was, as a literal if need be.
fn well_formed(protocol: Protocol, said: &[u8]) {
    assert!(said.ends_with(b"\r\n"), "no line end: {}", text(said));
    let echoes = protocol == Protocol::ManageSieve;
    for line in said[..said.len() - 2].split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(echoes || line.iter().all(|byte| matches!(byte, b' '..=b'~')), "peer bytes: {}", text(line));
        let asks = match protocol {
            Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => line.starts_with(b"334"),
            Protocol::Imap | Protocol::Pop3 => line == b"+" || line.starts_with(b"+ "),
            Protocol::ManageSieve => false,
        };
        assert!(!asks, "it asks for something: {}", text(line));
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// A session through a filter, of the protocol that the first byte chooses among `family`.
pub fn play_filter(family: &[Protocol], data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else { return };
    let (flags, events) = (Flags(flags), events(rest));
    let settings = flags.settings(family);
    let whole = filter(&settings, flags, &events, usize::MAX);
    let bytes = filter(&settings, flags, &events, 1);
    assert_eq!(text(&whole.to_client), text(&bytes.to_client));
    if whole.cut {
        // What a backend had when it was cut depends on the reads; it is thrown away.
        let length = whole.to_backend.len().min(bytes.to_backend.len());
        assert_eq!(text(&whole.to_backend[..length]), text(&bytes.to_backend[..length]));
    } else {
        assert_eq!(text(&whole.to_backend), text(&bytes.to_backend));
    }
    assert_eq!(whole.stand, bytes.stand);
}

struct Played {
    to_client: Vec<u8>,
    to_backend: Vec<u8>,
    cut: bool,
    stand: String,
}

fn filter(settings: &Arc<Settings>, flags: Flags, events: &[Event], most: usize) -> Played {
    let (start, leg) = flags.start(settings.protocol);
    let mut session = FilterSession::new(settings, start, leg);
    let (mut client_open, mut backend_open) = (true, true);
    for event in events.iter().copied() {
        if session.end.is_some() {
            break;
        }
        match event {
            Event::Client(read) if client_open => {
                read.chunks(most).for_each(|piece| read_unless_over(&mut session, piece, FilterSession::read_client));
            }
            Event::Backend(read) if backend_open => {
                read.chunks(most).for_each(|piece| read_unless_over(&mut session, piece, FilterSession::read_backend));
            }
            Event::ClientEnds if client_open => {
                session.client_ends();
                client_open = false;
            }
            Event::BackendLost if backend_open => {
                session.backend_lost();
                backend_open = false;
            }
            Event::Farewell => {
                session.farewell(Farewell::Draining);
                break;
            }
            _ => {}
        }
    }
    let stand = stand(&mut session);
    Played { to_client: session.to_client, to_backend: session.to_backend, cut: session.cut, stand }
}

fn read_unless_over(session: &mut FilterSession, piece: &[u8], read: fn(&mut FilterSession, &[u8])) {
    if session.end.is_none() {
        read(session, piece);
    }
}

fn stand(session: &mut FilterSession) -> String {
    let complaint = session.complaint();
    let phase = match session.phase() {
        _ if session.aside || session.end.is_some() => "",
        Phase::Command => "command",
        Phase::Transfer => "transfer",
        Phase::DataEnd => "data-end",
    };
    let user = session.user().map(str::to_owned);
    format!(
        "{:?} {} {} {phase} {} {user:?} {complaint:?}",
        session.end,
        session.aside,
        session.cut,
        session.awaits_login()
    )
}
