//! The answers of the witness: as much of each protocol as the tests speak.

use super::Dialect;

const SMTP_LIST: &str = "PIPELINING\nSIZE 10000000\n8BITMIME\nENHANCEDSTATUSCODES\nCHUNKING\nSTARTTLS\nXCLIENT NAME ADDR\n\
                         XFORWARD NAME\nX-EXPS GSSAPI\nBURL imap\nREQUIRETLS\nAUTH PLAIN LOGIN EXTERNAL SCRAM-SHA-256-PLUS\n\
                         AUTH=LOGIN EXTERNAL";
const IMAP_LIST: &str = "IMAP4rev1 SASL-IR LITERAL+ ID IDLE STARTTLS LOGINDISABLED UNAUTHENTICATE XCLIENT AUTH=PLAIN \
                         AUTH=EXTERNAL AUTH=SCRAM-SHA-256-PLUS";
const POP3_LIST: &str = "USER\nUIDL\nSTLS\nXCLIENT\nSASL PLAIN EXTERNAL SCRAM-SHA-256-PLUS";
const SIEVE_LIST: &str = "\"IMPLEMENTATION\" \"witness\"\n\"SASL\" \"PLAIN EXTERNAL SCRAM-SHA-256-PLUS\"\n\"SIEVE\" \"fileinto\"\n\
     \"STARTTLS\"\n\"UNAUTHENTICATE\"\n\"XCLIENT\" \"ADDR\"\n\"VERSION\" \"1.0\"";

/// One connection's server.
pub(super) struct Server {
    dialect: &'static Dialect,
    /// Capabilities with this word are not offered.
    lacking: &'static str,
    held: Vec<u8>,
    mode: Mode,
    recipients: usize,
    /// Messages taken so far.
    pub(super) messages: usize,
    /// It has said its last word.
    pub(super) left: bool,
}

/// How the next bytes are read.
enum Mode {
    Command,
    /// A body, up to its dot.
    Body,
    /// So many octets, and whether the message ends with them.
    Chunk(usize, bool),
    /// A literal of a command that began with this line.
    Literal(String, usize),
    /// So many lines of a SASL exchange that began with this line.
    Exchange(String, usize),
}

impl Server {
    pub(super) fn new(dialect: &'static Dialect, lacking: &'static str) -> Self {
        Self { dialect, lacking, held: Vec::new(), mode: Mode::Command, recipients: 0, messages: 0, left: false }
    }

    pub(super) fn greeting(&self) -> String {
        match self.dialect.protocol {
            "imap" => format!("* OK [CAPABILITY {}] ready\r\n", self.list(IMAP_LIST, " ")),
            "pop3" => "+OK [XCLIENT] ready <1.2@backend.example.net>\r\n".into(),
            "managesieve" => self.sieve_list(),
            _ => "220 backend.example.net ready\r\n".into(),
        }
    }

    /// The answer to these bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut answers = String::new();
        while let Some(answer) = self.next() {
            answers += &answer;
        }
        answers
    }

    /// The answer to what is at the front; `None` where that is not whole.
    fn next(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.mode, Mode::Command) {
            Mode::Command => {
                let line = self.line()?;
                Some(self.command(&line))
            }
            Mode::Body => self.body(),
            Mode::Chunk(count, last) => {
                self.octets(count, |count| Mode::Chunk(count, last))?;
                Some(if last { self.taken() } else { "250 2.0.0 Chunk\r\n".into() })
            }
            Mode::Literal(line, count) => {
                self.octets(count, |count| Mode::Literal(line.clone(), count))?;
                match self.line() {
                    Some(rest) => Some(self.command(&(line + &rest))),
                    None => {
                        self.mode = Mode::Literal(line, 0);
                        None
                    }
                }
            }
            Mode::Exchange(command, left) => {
                if self.line().is_none() {
                    self.mode = Mode::Exchange(command, left);
                    return None;
                }
                Some(self.exchange(command, left - 1))
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let end = self.held.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.held.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    fn octets(&mut self, count: usize, wait: impl FnOnce(usize) -> Mode) -> Option<()> {
        let some = count.min(self.held.len());
        self.held.drain(..some);
        if some == count {
            return Some(());
        }
        self.mode = wait(count - some);
        None
    }

    fn body(&mut self) -> Option<String> {
        let at = if self.held.starts_with(b".\r\n") {
            Some(3)
        } else {
            self.held.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5)
        };
        let Some(end) = at else {
            self.mode = Mode::Body;
            return None;
        };
        self.held.drain(..end);
        Some(self.taken())
    }

    /// The verdict on a message: one for each recipient in LMTP.
    fn taken(&mut self) -> String {
        self.messages += 1;
        let count = if self.dialect.protocol == "lmtp" { self.recipients } else { 1 };
        self.recipients = 0;
        "250 2.0.0 Taken\r\n".repeat(count)
    }

    fn command(&mut self, line: &str) -> String {
        match self.dialect.protocol {
            "imap" => self.imap(line),
            "pop3" => self.pop3(line),
            "managesieve" => self.sieve(line),
            _ => self.smtp(line),
        }
    }

    fn smtp(&mut self, line: &str) -> String {
        let words: Vec<_> = line.split(' ').collect();
        match words[0].to_ascii_uppercase().as_str() {
            "EHLO" | "LHLO" => {
                let lines: Vec<_> = SMTP_LIST.lines().filter(|line| !line.contains(self.lacking)).collect();
                format!("250-backend.example.net\r\n250-{}\r\n250 HELP\r\n", lines.join("\r\n250-"))
            }
            "DATA" => {
                self.mode = Mode::Body;
                "354 Go on\r\n".into()
            }
            "BDAT" => {
                let last = words.len() > 2;
                self.mode = Mode::Chunk(words[1].parse().unwrap_or(0), last);
                String::new()
            }
            "RCPT" if line.contains("nobody@") => "550 5.1.1 Nobody\r\n".into(),
            "RCPT" => {
                self.recipients += 1;
                "250 2.1.5 Fine\r\n".into()
            }
            "AUTH" if words.len() > 2 => "235 2.7.0 Welcome\r\n".into(),
            "AUTH" => {
                let count = if words[1].eq_ignore_ascii_case("LOGIN") { 2 } else { 1 };
                self.mode = Mode::Exchange(line.into(), count);
                "334 VXNlcm5hbWU6\r\n".into()
            }
            "QUIT" => {
                self.left = true;
                "221 2.0.0 Bye\r\n".into()
            }
            _ => "250 2.0.0 Fine\r\n".into(),
        }
    }

    fn imap(&mut self, line: &str) -> String {
        if let Some(answer) = self.literal(line) {
            return answer;
        }
        let words: Vec<_> = line.split(' ').collect();
        let (tag, list) = (words[0], self.list(IMAP_LIST, " "));
        match words.get(1).unwrap_or(&"").to_ascii_uppercase().as_str() {
            "CAPABILITY" => format!("* CAPABILITY {list}\r\n{tag} OK done\r\n"),
            "LOGIN" => format!("* CAPABILITY {list}\r\n{tag} OK [CAPABILITY {list}] welcome\r\n"),
            "AUTHENTICATE" if words.len() > 3 => format!("{tag} OK [CAPABILITY {list}] welcome\r\n"),
            "AUTHENTICATE" => {
                self.mode = Mode::Exchange(line.into(), 1);
                "+ \r\n".into()
            }
            "ID" => format!("* ID NIL\r\n{tag} OK done\r\n"),
            "LOGOUT" => {
                self.left = true;
                format!("* BYE now\r\n{tag} OK done\r\n")
            }
            _ => format!("{tag} OK done\r\n"),
        }
    }

    fn pop3(&mut self, line: &str) -> String {
        match line.to_ascii_uppercase().as_str() {
            "CAPA" => format!("+OK\r\n{}\r\n.\r\n", self.list(POP3_LIST, "\r\n")),
            "AUTH" => "+OK\r\nPLAIN\r\nEXTERNAL\r\nSCRAM-SHA-256-PLUS\r\n.\r\n".into(),
            "AUTH PLAIN" => {
                self.mode = Mode::Exchange(line.into(), 1);
                "+ \r\n".into()
            }
            "QUIT" => {
                self.left = true;
                "+OK bye\r\n".into()
            }
            _ => "+OK fine\r\n".into(),
        }
    }

    fn sieve(&mut self, line: &str) -> String {
        if let Some(answer) = self.literal(line) {
            return answer;
        }
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "CAPABILITY" => self.sieve_list(),
            "LOGOUT" => {
                self.left = true;
                "OK \"bye\"\r\n".into()
            }
            "AUTHENTICATE" if line.split(' ').count() == 2 => {
                self.mode = Mode::Exchange(line.into(), 1);
                "\"\"\r\n".into()
            }
            _ => "OK \"fine\"\r\n".into(),
        }
    }

    /// What is said to a line that announces a literal, if it does.
    fn literal(&mut self, line: &str) -> Option<String> {
        let (before, size) = line.strip_suffix('}')?.rsplit_once('{')?;
        let count = size.trim_end_matches('+').parse().ok()?;
        self.mode = Mode::Literal(format!("{before}literal"), count);
        Some(if size.ends_with('+') { String::new() } else { "+ go on\r\n".into() })
    }

    fn exchange(&mut self, command: String, left: usize) -> String {
        if left > 0 {
            self.mode = Mode::Exchange(command, left);
            return "334 UGFzc3dvcmQ6\r\n".into();
        }
        match self.dialect.protocol {
            "imap" => format!("{} OK welcome\r\n", command.split(' ').next().unwrap_or_default()),
            "pop3" => "+OK welcome\r\n".into(),
            "managesieve" => "OK \"welcome\"\r\n".into(),
            _ => "235 2.7.0 Welcome\r\n".into(),
        }
    }

    fn list(&self, all: &str, separator: &str) -> String {
        let between = if separator == " " { ' ' } else { '\n' };
        all.split(between).filter(|one| !one.contains(self.lacking)).collect::<Vec<_>>().join(separator)
    }

    fn sieve_list(&self) -> String {
        format!("{}\r\nOK \"ready\"\r\n", self.list(SIEVE_LIST, "\r\n"))
    }
}
