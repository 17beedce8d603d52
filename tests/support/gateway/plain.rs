//! The plainest servers there are, for tests that are not about what a backend says: to be served by a [`Fake`], quick to
//! start, and with no limit on how long a client is silent. And the same protocols as a client, up to the login.
//!
//! [`Fake`]: super::fake::Fake

use super::talk::Talk;

/// The protocols by which mail comes and goes, by their names in the configuration.
pub const PROTOCOLS: [&str; 6] = ["smtp", "submission", "lmtp", "imap", "pop3", "managesieve"];

/// Serves `protocol` to its end.
pub fn serve(protocol: &str, mut talk: Talk) {
    match protocol {
        "smtp" | "submission" | "lmtp" => drop(talk.try_send("220 backend.internal ready\r\n")),
        "imap" => drop(talk.try_send("* OK [CAPABILITY IMAP4rev1] ready\r\n")),
        "pop3" => drop(talk.try_send("+OK ready\r\n")),
        _ => {}
    }
    serve_greeted(protocol, talk);
}

/// Serves `protocol` to its end where it has greeted before; ManageSieve sends its list again.
pub fn serve_greeted(protocol: &str, mut talk: Talk) {
    talk.socket().set_read_timeout(None).expect("no timeout");
    match protocol {
        "smtp" | "submission" | "lmtp" => smtp(&mut talk),
        "imap" => imap(&mut talk),
        "pop3" => pop3(&mut talk),
        _ => sieve(&mut talk),
    }
}

/// Gets a session that is not logged in, inside TLS or out, beyond the greeting of this protocol.
#[track_caller]
pub fn greet(protocol: &str, talk: &mut Talk) {
    match protocol {
        "smtp" | "submission" | "lmtp" => drop(talk.reply("220")),
        "imap" => drop(talk.expect("* OK")),
        "pop3" => drop(talk.expect("+OK")),
        _ => drop(talk.until("OK")),
    }
}

/// Asks for TLS in the words of this protocol. The handshake is to follow.
#[track_caller]
pub fn start_tls(protocol: &str, talk: &mut Talk) {
    match protocol {
        "imap" => drop(talk.ask("s STARTTLS", "s OK")),
        "pop3" => drop(talk.ask("STLS", "+OK")),
        "managesieve" => drop(talk.ask("STARTTLS", "OK")),
        _ => {
            hello(protocol, talk);
            talk.ask("STARTTLS", "220");
        }
    }
}

/// Logs in; SMTP and LMTP say their hello instead.
#[track_caller]
pub fn log_in(protocol: &str, talk: &mut Talk) {
    match protocol {
        "smtp" | "lmtp" => hello(protocol, talk),
        "submission" => {
            hello(protocol, talk);
            talk.ask("AUTH PLAIN AGFubgBhbnl0aGluZw==", "235");
        }
        "imap" => drop(talk.send("l LOGIN ann anything\r\n").until("l OK")),
        "pop3" => {
            talk.ask("USER ann", "+OK");
            talk.ask("PASS anything", "+OK");
        }
        _ => drop(talk.ask("AUTHENTICATE \"PLAIN\" \"AGFubgBhbnl0aGluZw==\"", "OK")),
    }
}

/// Asks for nothing and is answered.
#[track_caller]
pub fn nothing(protocol: &str, talk: &mut Talk) {
    match protocol {
        "imap" => drop(talk.send("n NOOP\r\n").until("n OK")),
        "pop3" => drop(talk.ask("NOOP", "+OK")),
        "managesieve" => drop(talk.ask("NOOP", "OK")),
        _ => drop(talk.send("NOOP\r\n").reply("250")),
    }
}

fn hello(protocol: &str, talk: &mut Talk) {
    let verb = if protocol == "lmtp" { "LHLO" } else { "EHLO" };
    talk.send(format!("{verb} client.example.net\r\n")).reply("250");
}

fn word(line: &str, index: usize) -> String {
    line.split_whitespace().nth(index).unwrap_or_default().to_uppercase()
}

fn smtp(talk: &mut Talk) {
    let mut reply = "";
    while talk.try_send(reply).is_ok() {
        let line = talk.heard();
        reply = match word(&line, 0).as_str() {
            "" => return,
            "EHLO" | "LHLO" => "250-backend.internal\r\n250-AUTH PLAIN\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
            "AUTH" => "235 2.7.0 in\r\n",
            "DATA" => {
                if talk.try_send("354 go on\r\n").is_err() || !talk.message_ends() {
                    return;
                }
                "250 2.6.0 taken\r\n"
            }
            "QUIT" => "221 2.0.0 bye\r\n",
            _ => "250 2.0.0 ok\r\n",
        };
        if reply.starts_with("221") {
            return drop(talk.try_send(reply));
        }
    }
}

/// `FETCH n` answers with a literal of so many bytes.
fn imap(talk: &mut Talk) {
    let mut reply = String::new();
    while talk.try_send(&reply).is_ok() {
        let line = talk.heard();
        let tag = line.split_whitespace().next().unwrap_or_default();
        reply = match word(&line, 1).as_str() {
            "" => return,
            "CAPABILITY" => format!("* CAPABILITY IMAP4rev1\r\n{tag} OK\r\n"),
            "FETCH" => {
                let count = word(&line, 2).parse().expect("a number");
                format!("* 1 FETCH (BODY[] {{{count}}}\r\n{})\r\n{tag} OK\r\n", "x".repeat(count))
            }
            "LOGOUT" => return drop(talk.try_send(format!("* BYE out\r\n{tag} OK\r\n"))),
            _ => format!("{tag} OK done\r\n"),
        };
    }
}

fn pop3(talk: &mut Talk) {
    let mut reply = "";
    while talk.try_send(reply).is_ok() {
        let line = talk.heard();
        reply = match word(&line, 0).as_str() {
            "" => return,
            "CAPA" => "+OK\r\nUSER\r\n.\r\n",
            "QUIT" => return drop(talk.try_send("+OK bye\r\n")),
            _ => "+OK done\r\n",
        };
    }
}

fn sieve(talk: &mut Talk) {
    const LIST: &str =
        "\"IMPLEMENTATION\" \"plain\"\r\n\"SASL\" \"PLAIN\"\r\n\"SIEVE\" \"fileinto\"\r\n\"VERSION\" \"1.0\"\r\nOK\r\n";
    let mut reply = LIST;
    while talk.try_send(reply).is_ok() {
        let line = talk.heard();
        reply = match word(&line, 0).as_str() {
            "" => return,
            "CAPABILITY" => LIST,
            "LOGOUT" => return drop(talk.try_send("OK\r\n")),
            _ => "OK\r\n",
        };
    }
}
