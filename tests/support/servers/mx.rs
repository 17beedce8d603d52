//! The mail server of a recipient's domain, which fails where and how it is told to, and says what it has really taken.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};

use crate::support::Talk;
use crate::support::namespace::Namespace;

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing is accepted yet.
    Connect,
    /// The greeting is due.
    Greeting,
    /// EHLO, or HELO.
    Hello,
    /// The command STARTTLS.
    StartTls,
    /// The TLS handshake.
    Handshake,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA.
    Data,
    /// Some of the message has come, and not its end.
    Body,
    /// The end of the message has come.
    End,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Greeting,
        Self::Hello,
        Self::StartTls,
        Self::Handshake,
        Self::Mail,
        Self::Recipient,
        Self::Data,
        Self::Body,
        Self::End,
    ];
}

/// How a server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It refuses for now.
    Temporary,
    /// It refuses for good.
    Permanent,
    /// It goes away without a word.
    Gone,
    /// It says nothing more, and reads nothing more, until it is [healed](Mx::heal).
    Stall,
    /// It says what is no reply.
    Garbage,
    /// It does not fail, but says nothing until it is [healed](Mx::heal).
    Late,
}

impl Fault {
    /// All that are one.
    pub const ALL: [Self; 5] = [Self::Temporary, Self::Permanent, Self::Gone, Self::Stall, Self::Garbage];
}

/// What a server is told to do, in every session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Script {
    /// Where it fails.
    pub at: Phase,
    /// How.
    pub fault: Fault,
    /// Whether recipients that begin with `a` are spared from what befalls RCPT.
    pub spares: bool,
}

/// What a server said to the end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// 250: the message is its own now.
    Taken,
    /// A refusal: it has forgotten the message.
    Refused,
    /// Nothing that could be understood; and the message is its own.
    Silent,
}

/// A message that came with its end.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who was accepted for it.
    pub recipients: Vec<String>,
    /// The message, without stuffing and without the final dot.
    pub message: Vec<u8>,
    /// What was said of it.
    pub verdict: Verdict,
}

/// The server, on port 25 of an address in a namespace. Its threads end with the test. It offers STARTTLS, PIPELINING,
/// 8BITMIME and SIZE.
#[derive(Debug)]
pub struct Mx {
    address: SocketAddr,
    state: Arc<State>,
    /// Where nobody accepts: the socket, and the connection that takes the one place of its queue.
    deaf: Mutex<Option<(Socket, TcpStream)>>,
}

#[derive(Debug)]
struct State {
    tls: Arc<ServerConfig>,
    script: Mutex<Option<Script>>,
    healed: Condvar,
    arrivals: Mutex<Vec<Arrival>>,
    cut: AtomicUsize,
    events: AtomicUsize,
}

/// Every refusal and every greeting has this word.
pub const MARK: &str = "scripted";

/// What a session may be silent for. Only a broken test waits for so long.
const PATIENCE: Duration = Duration::from_secs(900);

/// How much of a message has to have come for it to be in its middle.
const MIDDLE: usize = 8_000;

impl Mx {
    /// Starts it. It shows the certificate of `tls` after STARTTLS.
    pub fn start(namespace: &Namespace, address: Ipv4Addr, tls: Arc<ServerConfig>, script: Option<Script>) -> Self {
        let state = Arc::new(State {
            tls,
            script: Mutex::new(script),
            healed: Condvar::new(),
            arrivals: Mutex::default(),
            cut: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
        });
        let server = Self { address: (address, 25).into(), state, deaf: Mutex::new(None) };
        match script {
            Some(Script { at: Phase::Connect, fault: Fault::Stall, .. }) => {
                *locked(&server.deaf) = Some(namespace.inside(|| server.be_deaf()));
            }
            Some(Script { at: Phase::Connect, .. }) => {}
            _ => namespace.inside(|| server.listen()),
        }
        server
    }

    /// From now on nothing fails; sessions that have stalled are over.
    pub fn heal(&self, namespace: &Namespace) {
        let script = locked(&self.state.script).take();
        self.state.healed.notify_all();
        drop(locked(&self.deaf).take());
        if script.is_some_and(|script| script.at == Phase::Connect) {
            namespace.inside(|| self.listen());
        }
    }

    /// All messages that came with their end.
    pub fn arrivals(&self) -> Vec<Arrival> {
        locked(&self.state.arrivals).clone()
    }

    /// How many messages broke off before their end.
    pub fn cut(&self) -> usize {
        self.state.cut.load(Relaxed)
    }

    /// How many commands, and pieces of messages, have come.
    pub fn events(&self) -> usize {
        self.state.events.load(Relaxed)
    }

    fn socket(&self, queue: i32) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        // A message that nobody reads is not to lie in the kernel as a whole.
        socket.set_recv_buffer_size(16 * 1024).expect("an option");
        socket.bind(&self.address.into()).expect("a free address");
        socket.listen(queue).expect("a socket that can listen");
        socket
    }

    /// Listens with a queue for one, which is taken: who connects now is not heard.
    fn be_deaf(&self) -> (Socket, TcpStream) {
        let socket = self.socket(0);
        let first = TcpStream::connect(self.address).expect("the one place");
        (socket, first)
    }

    fn listen(&self) {
        let listener: TcpListener = self.socket(1024).into();
        let state = self.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                thread::spawn(move || Session::new(&state, stream).serve());
            }
        });
    }
}

impl State {
    fn fault(&self, at: Phase) -> Option<Script> {
        locked(&self.script).filter(|script| script.at == at)
    }

    fn stall(&self) {
        let mut script = locked(&self.script);
        while script.is_some() {
            script = self.healed.wait(script).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Session<'a> {
    state: &'a State,
    /// `None` where the session is over.
    talk: Option<Talk>,
    held: Vec<u8>,
    is_secured: bool,
    has_sender: bool,
    recipients: Vec<String>,
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Met {
    /// The good reply was given.
    Well,
    /// Another one was, or none that could be understood.
    Badly,
}

impl<'a> Session<'a> {
    fn new(state: &'a State, stream: TcpStream) -> Self {
        let talk = Talk::over(stream);
        talk.socket().set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { state, talk: Some(talk), held: Vec::new(), is_secured: false, has_sender: false, recipients: Vec::new() }
    }

    /// `None` says that it is over.
    fn serve(mut self) -> Option<()> {
        self.meet(Phase::Greeting, "220 scripted ESMTP\r\n")?;
        loop {
            let line = self.line()?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => self.hello()?,
                "HELO" => drop(self.meet(Phase::Hello, "250 scripted\r\n")?),
                "STARTTLS" if !self.is_secured => self.start_tls()?,
                "MAIL" => {
                    self.recipients.clear();
                    self.has_sender = self.meet(Phase::Mail, "250 2.1.0 scripted\r\n")? == Met::Well;
                }
                "RCPT" if !self.has_sender => self.say(b"503 5.5.1 scripted: no sender\r\n")?,
                "RCPT" => self.recipient(&line)?,
                "DATA" if self.recipients.is_empty() => self.say(b"503 5.5.1 scripted: no recipients\r\n")?,
                "DATA" => self.data()?,
                "RSET" => {
                    (self.has_sender, self.recipients) = (false, Vec::new());
                    self.say(b"250 2.0.0 scripted\r\n")?;
                }
                "NOOP" => self.say(b"250 2.0.0 scripted\r\n")?,
                "QUIT" => return self.say(b"221 2.0.0 scripted\r\n"),
                _ => self.say(b"500 5.5.2 scripted: unknown\r\n")?,
            }
        }
    }

    fn hello(&mut self) -> Option<()> {
        let start_tls = if self.is_secured { "" } else { "250-STARTTLS\r\n" };
        let list = "250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 50000000\r\n";
        self.meet(Phase::Hello, &format!("250-scripted\r\n{start_tls}{list}")).map(drop)
    }

    fn start_tls(&mut self) -> Option<()> {
        if self.meet(Phase::StartTls, "220 2.0.0 scripted: go on\r\n")? == Met::Badly {
            return Some(());
        }
        match self.state.fault(Phase::Handshake).map(|script| script.fault) {
            None => {}
            // Alerts, both fatal: internal_error and handshake_failure (RFC 8446 §6).
            Some(Fault::Temporary) => return self.leave_with(&[21, 3, 3, 0, 2, 2, 80]),
            Some(Fault::Permanent) => return self.leave_with(&[21, 3, 3, 0, 2, 2, 40]),
            Some(Fault::Garbage) => return self.leave_with(b"no TLS at all\r\n"),
            Some(Fault::Gone) => return None,
            Some(Fault::Stall) => {
                self.state.stall();
                return None;
            }
            Some(Fault::Late) => self.state.stall(),
        }
        let talk = self.talk.take()?.serve_tls(self.state.tls.clone()).ok()?;
        talk.socket().set_read_timeout(Some(PATIENCE)).ok()?;
        (self.talk, self.is_secured) = (Some(talk), true);
        Some(())
    }

    /// Waits for what the client has to say first: what is unread when a socket closes takes back what was sent.
    fn leave_with(&mut self, bytes: &[u8]) -> Option<()> {
        let talk = self.talk.as_mut()?;
        talk.some();
        talk.try_send(bytes).ok()?;
        talk.rest();
        None
    }

    fn recipient(&mut self, line: &str) -> Option<()> {
        let address = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let spared = self.state.fault(Phase::Recipient).is_some_and(|script| script.spares) && address.starts_with('a');
        let met = if spared {
            self.say(b"250 2.1.5 scripted\r\n").map(|()| Met::Well)
        } else {
            self.meet(Phase::Recipient, "250 2.1.5 scripted\r\n")
        };
        if met? == Met::Well {
            self.recipients.push(address);
        }
        Some(())
    }

    fn data(&mut self) -> Option<()> {
        if self.meet(Phase::Data, "354 scripted: go on\r\n")? == Met::Badly {
            return Some(());
        }
        let (met, end) = self.body()?;
        let message = self.take_message(end);
        // What was refused in its middle has its reply.
        let verdict = if met == Met::Badly { Verdict::Refused } else { self.judge() };
        self.has_sender = false;
        let recipients = std::mem::take(&mut self.recipients);
        // Before the reply: who has that may look.
        locked(&self.state.arrivals).push(Arrival { recipients, message, verdict });
        match verdict {
            Verdict::Refused if met == Met::Badly => Some(()),
            _ => self.meet(Phase::End, "250 2.0.0 scripted: taken\r\n").map(drop),
        }
    }

    /// What will be said to the end of a message.
    fn judge(&self) -> Verdict {
        match self.state.fault(Phase::End).map(|script| script.fault) {
            None | Some(Fault::Late) => Verdict::Taken,
            Some(Fault::Temporary | Fault::Permanent) => Verdict::Refused,
            Some(Fault::Gone | Fault::Stall | Fault::Garbage) => Verdict::Silent,
        }
    }

    /// Reads on until the message is held as a whole.
    fn body(&mut self) -> Option<(Met, usize)> {
        let (mut met, mut seen) = (None, 0);
        loop {
            if let Some(end) = self.message_end(seen) {
                return Some((met.unwrap_or(Met::Well), end));
            }
            seen = self.held.len();
            if met.is_none() && self.held.len() >= MIDDLE {
                met = Some(self.interrupt()?);
            }
            let Some(more) = self.fill() else {
                self.state.cut.fetch_add(1, Relaxed);
                return None;
            };
            self.held.extend(more);
        }
    }

    /// Fails in the middle of a message, if that is what it was told.
    fn interrupt(&mut self) -> Option<Met> {
        let cut = || self.state.cut.fetch_add(1, Relaxed);
        match self.state.fault(Phase::Body).map(|script| script.fault) {
            None => Some(Met::Well),
            Some(Fault::Permanent) => {
                self.say(b"554 5.3.0 scripted: enough of that\r\n")?;
                Some(Met::Badly)
            }
            Some(Fault::Temporary) => {
                cut();
                self.leave_with(b"421 4.3.2 scripted: going down\r\n")?;
                None
            }
            Some(Fault::Garbage) => {
                self.say(GARBAGE)?;
                Some(Met::Well)
            }
            Some(Fault::Gone) => {
                cut();
                None
            }
            Some(Fault::Stall) => {
                self.state.stall();
                cut();
                None
            }
            Some(Fault::Late) => {
                self.state.stall();
                Some(Met::Well)
            }
        }
    }

    /// Where the final dot is, which was not in what was seen already.
    fn message_end(&self, seen: usize) -> Option<usize> {
        if self.held.starts_with(END) {
            return Some(0);
        }
        let from = seen.saturating_sub(4);
        memchr::memmem::find(&self.held[from..], b"\r\n.\r\n").map(|at| from + at + 2)
    }

    /// Takes the message that is held, and undoes its stuffing (RFC 5321 §4.5.2).
    fn take_message(&mut self, end: usize) -> Vec<u8> {
        let rest = self.held.split_off(end + END.len());
        let stuffed = std::mem::replace(&mut self.held, rest);
        let lines = stuffed[..end].split_inclusive(|byte| *byte == b'\n');
        let mut follows = true;
        lines
            .flat_map(|line| {
                let line = if follows { line.strip_prefix(b".").unwrap_or(line) } else { line };
                // RFC 5321 §2.3.8: nothing but CRLF ends a line.
                follows = line.ends_with(b"\r\n");
                line
            })
            .copied()
            .collect()
    }

    /// Says the good reply, or fails as it was told to.
    fn meet(&mut self, at: Phase, good: &str) -> Option<Met> {
        let fault = self.state.fault(at).map(|script| script.fault);
        match fault {
            Some(Fault::Late) => {
                self.state.stall();
                return self.say(good.as_bytes()).map(|()| Met::Well);
            }
            None => return self.say(good.as_bytes()).map(|()| Met::Well),
            Some(Fault::Temporary) => self.say(b"451 4.3.0 scripted: not now\r\n")?,
            Some(Fault::Permanent) => self.say(b"554 5.3.0 scripted: never\r\n")?,
            Some(Fault::Garbage) => self.say(GARBAGE)?,
            Some(Fault::Gone) => return None,
            Some(Fault::Stall) => {
                self.state.stall();
                return None;
            }
        }
        Some(Met::Badly)
    }

    fn say(&mut self, bytes: &[u8]) -> Option<()> {
        self.talk.as_mut()?.try_send(bytes).ok()
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.held) {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                self.state.events.fetch_add(1, Relaxed);
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let more = self.fill()?;
            self.held.extend(more);
        }
    }

    fn fill(&mut self) -> Option<Vec<u8>> {
        let some = self.talk.as_mut()?.some();
        self.state.events.fetch_add(1, Relaxed);
        (!some.is_empty()).then_some(some)
    }
}

/// The line that ends a message.
const END: &[u8] = b".\r\n";

const GARBAGE: &[u8] = b"\0\xff what is this?\r\n";
