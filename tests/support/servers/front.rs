//! What stands in front of Pebble where a test needs more than Debian's has: renewal information (RFC 9773), profiles,
//! and an authority's bad days.
//!
//! It speaks https with a certificate from Pebble's own authority, and hands every request on with its Host, from which
//! Pebble makes all its URLs; so a client has no other way to Pebble than through here. Each request is remembered.

mod http;

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use rustls::RootCertStore;
use serde_json::{Value, json};

use self::http::{Connection, Received, acceptor};
use super::pebble::{Pebble, own_certificate};
use crate::support::process::wait::eventually;
use crate::support::{HOST, Talk};

/// The front. Its threads end with the test.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    ca: PathBuf,
    desk: Arc<Desk>,
}

/// The authority's resources, by the paths that Pebble has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The directory.
    Directory,
    /// A fresh nonce.
    NewNonce,
    /// A new account, or one looked for by its key.
    NewAccount,
    /// A new order.
    NewOrder,
    /// An order that is there.
    Order,
    /// An authorization.
    Authorization,
    /// A challenge: the request to validate it.
    Challenge,
    /// The request for the certificate, with the CSR.
    Finalize,
    /// The certificate, and its alternates.
    Certificate,
    /// When a certificate is to be renewed.
    RenewalInfo,
    /// Anything else.
    Other,
}

/// How the authority behaves badly.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A page of HTML with this status.
    Page(u16),
    /// A page of HTML with this status, and Retry-After.
    Later(u16, Duration),
    /// An error in due form (RFC 8555 §6.7) with this status, type (without its prefix) and detail.
    Problem(u16, &'static str, &'static str),
    /// The same, with Retry-After.
    ProblemLater(u16, &'static str, &'static str, Duration),
    /// This JSON with this status, whatever it is.
    Answer(u16, Value),
    /// No answer, for as long as the client waits.
    Hang,
    /// An answer that comes byte by byte and has no end.
    Drip,
    /// An answer that comes fast and has no end.
    Flood,
    /// The end of the connection in place of an answer.
    Drop,
}

/// A request that was made.
#[derive(Clone, Debug)]
pub struct Request {
    /// What for.
    pub resource: Resource,
    /// The path.
    pub path: String,
    /// What was signed; `Null` where nothing was, or nothing was in it (POST-as-GET).
    pub payload: Value,
    /// When it was made.
    pub at: Instant,
}

#[derive(Debug)]
struct Desk {
    address: SocketAddr,
    pebble: SocketAddr,
    roots: Arc<RootCertStore>,
    connections: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    faults: Vec<(Resource, usize, Fault)>,
    held: HashSet<Resource>,
    renewal: Option<Renewal>,
    profiles: Vec<&'static str>,
}

/// When certificates are to be renewed.
#[derive(Debug)]
struct Renewal {
    /// The windows, by the certificates' paths in the order in which they were first asked for. The last is for all that follow.
    windows: Vec<(SystemTime, SystemTime)>,
    again: Option<Duration>,
    asked: Vec<String>,
}

impl Front {
    /// One before this Pebble, which adds nothing to it until it is told to.
    pub fn before(pebble: &Pebble) -> Self {
        let listener = TcpListener::bind((HOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let desk = Arc::new(Desk {
            address,
            pebble: pebble.address(),
            roots: pebble.authority.roots(),
            connections: AtomicUsize::new(0),
            state: Mutex::default(),
        });
        let acceptor = acceptor(&own_certificate(&pebble.authority));
        let serving = desk.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.connections.fetch_add(1, Relaxed);
                let (desk, acceptor) = (serving.clone(), acceptor.clone());
                thread::spawn(move || desk.serve(&mut Connection::accept(stream, acceptor)));
            }
        });
        Self { address, ca: pebble.ca(), desk }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// The file with the certificate that vouches for the directory's.
    pub fn ca(&self) -> PathBuf {
        self.ca.clone()
    }

    /// From now on there is renewal information. The first certificate that it is asked about gets the first window, and so on;
    /// the last is for all that follow. It is to be asked again after so long where that is said.
    pub fn suggest(&self, windows: &[(SystemTime, SystemTime)], again: Option<Duration>) {
        self.desk.state().renewal = Some(Renewal { windows: windows.to_vec(), again, asked: Vec::new() });
    }

    /// From now on there are these profiles.
    pub fn profiles(&self, names: &[&'static str]) {
        self.desk.state().profiles = names.to_vec();
    }

    /// The next `times` requests for `resource` end so. Faults of one resource come one after the other.
    pub fn fails(&self, resource: Resource, times: usize, fault: Fault) {
        self.desk.state().faults.push((resource, times, fault));
    }

    /// Every fault that is left is forgotten.
    pub fn recovers(&self) {
        self.desk.state().faults.clear();
    }

    /// Requests for `resource` are answered only after [`Self::release`].
    pub fn hold(&self, resource: Resource) {
        self.desk.state().held.insert(resource);
    }

    /// Requests that were held go on.
    pub fn release(&self, resource: Resource) {
        self.desk.state().held.remove(&resource);
    }

    /// The requests for `resource` so far.
    pub fn requests(&self, resource: Resource) -> Vec<Request> {
        self.desk.state().requests.iter().filter(|request| request.resource == resource).cloned().collect()
    }

    /// Waits until there were `count` requests for `resource`, and returns them.
    #[track_caller]
    pub fn awaits(&self, resource: Resource, count: usize) -> Vec<Request> {
        let found = eventually(|| Some(self.requests(resource)).filter(|requests| requests.len() >= count));
        found.unwrap_or_else(|| panic!("{count} of {resource:?}; there were {:#?}", self.desk.state().requests))
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.desk.connections.load(Relaxed)
    }
}

impl Resource {
    fn of(path: &str) -> Self {
        match path.split('/').nth(1).unwrap_or_default() {
            "dir" => Self::Directory,
            "nonce-plz" => Self::NewNonce,
            "sign-me-up" => Self::NewAccount,
            "order-plz" => Self::NewOrder,
            "my-order" => Self::Order,
            "authZ" => Self::Authorization,
            "chalZ" => Self::Challenge,
            "finalize-order" => Self::Finalize,
            "certZ" => Self::Certificate,
            "renewal-info" => Self::RenewalInfo,
            _ => Self::Other,
        }
    }
}

impl Desk {
    /// One request, then the end of the connection.
    fn serve(&self, client: &mut Connection) {
        let Some(received) = client.receive() else { return };
        let resource = Resource::of(&received.path);
        let payload = payload(&received.body);
        let request = Request { resource, path: received.path.clone(), payload: payload.clone(), at: Instant::now() };
        self.state().requests.push(request);
        eventually(|| (!self.state().held.contains(&resource)).then_some(()));
        if let Some(fault) = self.fault(resource) {
            return self.fail(client, fault);
        }
        match resource {
            Resource::Directory => client.send(amend(&self.forward(&received), |directory| self.directory(directory))),
            Resource::NewOrder => client.send(amend(&self.forward(&received), |order| self.new_order(order, &payload))),
            Resource::RenewalInfo => self.renewal_info(client, &received.path),
            _ => client.send(self.forward(&received)),
        }
    }

    fn fault(&self, resource: Resource) -> Option<Fault> {
        let mut state = self.state();
        let (_, left, fault) = state.faults.iter_mut().find(|(of, left, _)| *of == resource && *left > 0)?;
        *left -= 1;
        Some(fault.clone())
    }

    fn fail(&self, client: &mut Connection, fault: Fault) {
        let page = "<html><body>This is not the answer you asked for.</body></html>";
        let html = "Content-Type: text/html\r\n".to_owned();
        match fault {
            Fault::Page(status) => client.answer(status, &html, page),
            Fault::Later(status, after) => client.answer(status, &(html + &retry_after(after)), page),
            Fault::Problem(status, kind, detail) => self.problem(client, status, kind, detail, ""),
            Fault::ProblemLater(status, kind, detail, after) => {
                self.problem(client, status, kind, detail, &retry_after(after));
            }
            Fault::Answer(status, value) => {
                client.answer(
                    status,
                    &format!("Content-Type: application/json\r\n{}", self.nonce()),
                    &value.to_string(),
                );
            }
            Fault::Hang => client.hang(),
            Fault::Drip => client.drip(),
            Fault::Flood => client.flood(),
            Fault::Drop => {}
        }
    }

    fn problem(&self, client: &mut Connection, status: u16, kind: &str, detail: &str, further: &str) {
        let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status });
        let head = format!("Content-Type: application/problem+json\r\n{further}{}", self.nonce());
        client.answer(status, &head, &body.to_string());
    }

    /// A header with a nonce that Pebble will take; nothing where Pebble is down.
    fn nonce(&self) -> String {
        let request = format!("HEAD /nonce-plz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        let reply = String::from_utf8(self.ask(request.as_bytes())).unwrap_or_default();
        reply.lines().find(|line| line.starts_with("Replay-Nonce:")).map_or(String::new(), |line| format!("{line}\r\n"))
    }

    fn directory(&self, directory: &mut Value) {
        let state = self.state();
        if state.renewal.is_some() {
            directory["renewalInfo"] = format!("https://{}/renewal-info", self.address).into();
        }
        if !state.profiles.is_empty() {
            let profiles = state.profiles.iter().map(|name| ((*name).to_owned(), Value::from("of the tests")));
            directory["meta"]["profiles"] = Value::Object(profiles.collect());
        }
    }

    /// RFC 9773 §5: what an order replaces is repeated where it was heeded; the same goes for its profile.
    fn new_order(&self, order: &mut Value, asked: &Value) {
        let state = self.state();
        for (name, is_known) in [("replaces", state.renewal.is_some()), ("profile", !state.profiles.is_empty())] {
            if is_known && asked[name].is_string() {
                order[name] = asked[name].clone();
            }
        }
    }

    fn renewal_info(&self, client: &mut Connection, path: &str) {
        let mut state = self.state();
        let Some(renewal) = &mut state.renewal else { return client.answer(404, "", "") };
        let (start, end) = renewal.window(path);
        let window = json!({ "suggestedWindow": { "start": rfc3339(start), "end": rfc3339(end) } });
        let again = renewal.again.map(retry_after).unwrap_or_default();
        client.answer(200, &format!("Content-Type: application/json\r\n{again}"), &window.to_string());
    }

    /// Pebble's reply to a request, head and body; nothing where Pebble is down.
    fn forward(&self, received: &Received) -> Vec<u8> {
        self.ask(&[received.head.as_bytes(), b"Connection: close\r\n\r\n", &received.body].concat())
    }

    fn ask(&self, request: &[u8]) -> Vec<u8> {
        let Ok(stream) = std::net::TcpStream::connect(self.pebble) else { return Vec::new() };
        let mut talk = Talk::over(stream).tls(self.roots.clone());
        let _ = talk.try_send(request);
        talk.rest()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewal {
    fn window(&mut self, path: &str) -> (SystemTime, SystemTime) {
        let number = self.asked.iter().position(|asked| asked == path).unwrap_or_else(|| {
            self.asked.push(path.to_owned());
            self.asked.len() - 1
        });
        self.windows[number.min(self.windows.len() - 1)]
    }
}

/// A reply with another body; as it is where that is no JSON.
fn amend(reply: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let text = String::from_utf8_lossy(reply);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return reply.to_vec() };
    let Ok(mut body) = serde_json::from_str(body) else { return reply.to_vec() };
    change(&mut body);
    let body = body.to_string();
    let kept = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// What a signed request (RFC 8555 §6.2) says.
fn payload(body: &[u8]) -> Value {
    let signed: Value = serde_json::from_slice(body).unwrap_or_default();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(signed["payload"].as_str().unwrap_or_default());
    serde_json::from_slice(&payload.unwrap_or_default()).unwrap_or_default()
}

fn retry_after(time: Duration) -> String {
    format!("Retry-After: {}\r\n", time.as_secs())
}

fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let seconds = i64::try_from(seconds).expect("a time of this world");
    format!("{:?}", chrono::DateTime::from_timestamp(seconds, 0).expect("a time of this world"))
}
