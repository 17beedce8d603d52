//! What a test has to know of each protocol to hold the same dialogue in all six.

use super::Gateway;
use super::talk::Talk;

/// One protocol's words. Commands have their line end, replies are known by how they start.
#[derive(Debug)]
pub struct Dialect {
    /// Its name in the configuration.
    pub protocol: &'static str,
    /// How the last line of a greeting starts.
    pub welcome: &'static str,
    /// What a client says first, and the reply's last line; nothing where it says nothing.
    pub hello: (&'static str, &'static str),
    /// The wish for TLS, and that it is granted.
    pub starttls: (&'static str, &'static str),
    /// The refusal of [`Self::starttls`] inside TLS.
    pub starttls_again: &'static str,
    /// The wish for TLS with an argument, and its refusal.
    pub starttls_argument: (&'static str, &'static str),
    /// A command that a backend would obey if it ever saw it. `injected` stands in it.
    pub injection: &'static str,
    /// The lines by which bytes behind [`Self::starttls`] are refused.
    pub refuses_injection: &'static [&'static str],
    /// A command that does nothing, and its reply.
    pub noop: (&'static str, &'static str),
    /// The client's farewell, and how the last line of the answer starts.
    pub quit: (&'static str, &'static str),
    /// The refusal of a line that can be no command.
    pub bad: &'static str,
    /// A login as `alice`, and its success; nothing in LMTP and SMTP.
    pub login: (&'static str, &'static str),
    /// The words for a backend that cannot be had.
    pub down: &'static str,
    /// The words for a backend that was lost.
    pub lost: &'static str,
}

const SMTP: Dialect = Dialect {
    protocol: "smtp",
    welcome: "220 ",
    hello: ("EHLO client.example.net\r\n", "250 "),
    starttls: ("STARTTLS\r\n", "220 "),
    starttls_again: "503 5.5.1",
    starttls_argument: ("STARTTLS now\r\n", "501 5.5.4"),
    injection: "MAIL FROM:<injected@example.net>\r\n",
    refuses_injection: &["503 5.5.1"],
    noop: ("NOOP\r\n", "250 "),
    quit: ("QUIT\r\n", "221 "),
    bad: "500 5.5.2",
    login: ("", ""),
    down: "421 4.3.2",
    lost: "421 4.3.2",
};

const SUBMISSION: Dialect =
    Dialect { protocol: "submission", login: ("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "235 "), ..SMTP };

const LMTP: Dialect = Dialect { protocol: "lmtp", hello: ("LHLO client.example.net\r\n", "250 "), ..SMTP };

const IMAP: Dialect = Dialect {
    protocol: "imap",
    welcome: "* OK",
    hello: ("", ""),
    starttls: ("s STARTTLS\r\n", "s OK"),
    starttls_again: "s BAD",
    starttls_argument: ("s STARTTLS now\r\n", "s BAD"),
    injection: "injected NOOP\r\n",
    refuses_injection: &["s BAD", "* BYE"],
    noop: ("n NOOP\r\n", "n OK"),
    quit: ("q LOGOUT\r\n", "q OK"),
    bad: "",
    login: ("l LOGIN alice secret\r\n", "l OK"),
    down: "* BYE [UNAVAILABLE]",
    lost: "* BYE [UNAVAILABLE]",
};

const POP3: Dialect = Dialect {
    protocol: "pop3",
    welcome: "+OK",
    hello: ("", ""),
    starttls: ("STLS\r\n", "+OK"),
    starttls_again: "-ERR",
    starttls_argument: ("STLS now\r\n", "-ERR"),
    injection: "USER injected\r\n",
    refuses_injection: &["-ERR"],
    noop: ("NOOP\r\n", "+OK"),
    quit: ("QUIT\r\n", "+OK"),
    bad: "-ERR",
    login: ("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", "+OK"),
    down: "-ERR [SYS/TEMP]",
    lost: "-ERR [SYS/TEMP]",
};

const SIEVE: Dialect = Dialect {
    protocol: "managesieve",
    welcome: "OK",
    hello: ("", ""),
    starttls: ("STARTTLS\r\n", "OK"),
    starttls_again: "NO",
    starttls_argument: ("STARTTLS \"now\"\r\n", "NO"),
    injection: "NOOP \"injected\"\r\n",
    refuses_injection: &["NO"],
    noop: ("NOOP\r\n", "OK"),
    quit: ("LOGOUT\r\n", "OK"),
    bad: "NO",
    login: ("AUTHENTICATE \"PLAIN\" \"AGFsaWNlAHNlY3JldA==\"\r\n", "OK"),
    down: "BYE (TRYLATER)",
    lost: "BYE (TRYLATER)",
};

/// All six.
pub static DIALECTS: [Dialect; 6] = [SMTP, SUBMISSION, LMTP, IMAP, POP3, SIEVE];

/// The one of this name.
pub fn dialect(protocol: &str) -> &'static Dialect {
    DIALECTS.iter().find(|dialect| dialect.protocol == protocol).expect("a protocol's name")
}

impl Dialect {
    /// Whether it is one of the three that carry mail.
    pub fn carries_mail(&self) -> bool {
        !self.hello.0.is_empty()
    }

    /// Sends a command and reads to the last line of its reply.
    #[track_caller]
    pub fn ask(&self, talk: &mut Talk, (command, reply): (&str, &str)) -> String {
        if command.is_empty() { String::new() } else { talk.send(command).until(reply) }
    }

    /// Connects to a listener with STARTTLS and reads the greeting.
    #[track_caller]
    pub fn connect(&self, gateway: &Gateway, listener: &str) -> Talk {
        let mut talk = Talk::to(gateway.address(listener));
        talk.until(self.welcome);
        talk
    }

    /// Goes through STARTTLS and the handshake, and no further.
    #[track_caller]
    pub fn starttls(&self, gateway: &Gateway, listener: &str) -> Talk {
        let mut talk = self.connect(gateway, listener);
        self.ask(&mut talk, self.starttls);
        talk.tls(gateway.authority.roots())
    }

    /// Goes through STARTTLS to where the first command inside TLS is answered.
    #[track_caller]
    pub fn upgrade(&self, gateway: &Gateway, listener: &str) -> Talk {
        let mut talk = self.starttls(gateway, listener);
        if self.protocol == "managesieve" {
            talk.until(self.welcome);
        }
        self.ask(&mut talk, self.hello);
        talk
    }

    /// Connects to a listener with TLS from the first byte, and goes to where the first command is answered.
    #[track_caller]
    pub fn enter(&self, gateway: &Gateway, listener: &str) -> Talk {
        let mut talk = Talk::to(gateway.address(listener)).tls(gateway.authority.roots());
        talk.until(self.welcome);
        self.ask(&mut talk, self.hello);
        talk
    }

    /// [`Self::enter`] and a login, where there is one.
    #[track_caller]
    pub fn log_in(&self, gateway: &Gateway, listener: &str) -> Talk {
        let mut talk = self.enter(gateway, listener);
        self.ask(&mut talk, self.login);
        talk
    }
}
