//! Plays `tests/fixtures/transcripts/<protocol>/*.txt` against the pure machines: each whole, byte by byte, and with
//! every read cut in two at every position. What comes out must not depend on the cuts.

#[path = "support/machines.rs"]
mod machines;
#[path = "support/outbound.rs"]
mod outbound;
#[path = "support/transcript.rs"]
mod transcript;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use machines::{FilterSession, Greeted, GreeterSession};
use mailward::proto::{Connection, Ending, Opening, Phase, Protocol, smtp::Trace};
use outbound::{EgressSession, RemoteSession};
use transcript::{Cast, Cause, Expected, Fault, Pattern, Scene, Transcript, escaped};

/// Reads longer than this are cut at this many positions, evenly spread, and not at all of them.
const CUTS: usize = 200;

#[test]
fn smtp_transcripts_come_out_as_written() {
    play_all(Protocol::Smtp);
}

#[test]
fn submission_transcripts_come_out_as_written() {
    play_all(Protocol::Submission);
}

#[test]
fn lmtp_transcripts_come_out_as_written() {
    play_all(Protocol::Lmtp);
}

#[test]
fn imap_transcripts_come_out_as_written() {
    play_all(Protocol::Imap);
}

#[test]
fn pop3_transcripts_come_out_as_written() {
    play_all(Protocol::Pop3);
}

#[test]
fn managesieve_transcripts_come_out_as_written() {
    play_all(Protocol::ManageSieve);
}

#[test]
fn egress_smtp_transcripts_come_out_as_written() {
    play_folder("egress-smtp", Protocol::Smtp);
}

#[test]
fn egress_lmtp_transcripts_come_out_as_written() {
    play_folder("egress-lmtp", Protocol::Lmtp);
}

#[test]
fn remote_transcripts_come_out_as_written() {
    play_folder("remote", Protocol::Smtp);
}

/// Plays every transcript of a protocol and tells of all that fail.
fn play_all(protocol: Protocol) {
    play_folder(protocol.name(), protocol);
}

fn play_folder(folder: &str, protocol: Protocol) {
    let files = files(folder);
    assert!(!files.is_empty(), "there is no transcript in {folder}");
    let failures: Vec<String> = files.iter().filter_map(|file| failure(protocol, file)).collect();
    assert!(failures.is_empty(), "{} of {} fail:\n\n{}", failures.len(), files.len(), failures.join("\n\n"));
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/transcripts").join(folder);
    let entries = fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    files.sort();
    files
}

fn failure(protocol: Protocol, file: &Path) -> Option<String> {
    let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).display();
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    play_text(protocol, &text).err().map(|(line, fault)| format!("{name}:{line}: {fault}"))
}

/// Plays a transcript in every way.
fn play_text(protocol: Protocol, text: &str) -> Result<(), Fault> {
    let transcript = Transcript::parse(protocol, text)?;
    play(&transcript, Chop::Whole)?;
    if transcript.whole_only {
        return Ok(());
    }
    play(&transcript, Chop::Bytes)?;
    for (index, scene) in transcript.scenes.iter().enumerate() {
        if let Cause::Client(bytes) | Cause::Backend(bytes) = &scene.cause {
            for at in (1..bytes.len()).step_by(bytes.len() / CUTS + 1) {
                play(&transcript, Chop::At(index, at))?;
            }
        }
    }
    Ok(())
}

/// How reads are cut.
#[derive(Clone, Copy, Debug)]
enum Chop {
    Whole,
    Bytes,
    /// The read of one scene, in two.
    At(usize, usize),
}

impl Chop {
    fn cut(self, scene: usize, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Bytes => bytes.chunks(1).collect(),
            Self::At(only, at) if only == scene => vec![&bytes[..at], &bytes[at..]],
            _ => vec![bytes],
        }
    }

    fn name(self) -> String {
        match self {
            Self::Whole => "whole".to_owned(),
            Self::Bytes => "byte by byte".to_owned(),
            Self::At(_, at) => format!("cut at {at}"),
        }
    }
}

/// Plays a transcript once.
fn play(transcript: &Transcript, chop: Chop) -> Result<(), Fault> {
    let mut line = 1;
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut stage = Stage::open(transcript);
        for (index, scene) in transcript.scenes.iter().enumerate() {
            line = scene.line;
            stage.act(&scene.cause, |bytes| chop.cut(index, bytes)).map_err(|fault| (line, fault))?;
            stage.check(scene)?;
        }
        Ok(())
    }));
    let result = played.unwrap_or_else(|panic| Err((line, format!("panic: {}", panic_text(&*panic)))));
    result.map_err(|(line, fault)| (line, format!("({}) {fault}", chop.name())))
}

fn panic_text(panic: &dyn std::any::Any) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

/// The session under test, and what it said since the last check.
struct Stage {
    session: Session,
    /// What the client sent and a greeter that is done never read.
    unread: Vec<u8>,
    half_close: Option<bool>,
    cut_told: bool,
}

enum Session {
    Greeter(GreeterSession),
    Filter(FilterSession),
    Egress(EgressSession),
    Remote(RemoteSession),
}

impl Stage {
    fn open(transcript: &Transcript) -> Self {
        let session = match &transcript.cast {
            Cast::Greeter => Session::Greeter(GreeterSession::new(&transcript.settings)),
            Cast::Filter(start, leg) => Session::Filter(FilterSession::new(&transcript.settings, start.clone(), *leg)),
            Cast::Egress(cast) if cast.turns_away => Session::Egress(EgressSession::turning_away(&cast.settings)),
            Cast::Egress(cast) => {
                Session::Egress(EgressSession::new(&cast.settings, cast.leg, cast.traces.then(trace)))
            }
            Cast::Remote(settings) => Session::Remote(RemoteSession::new(settings.clone())),
        };
        Self { session, unread: Vec::new(), half_close: None, cut_told: false }
    }

    fn act<'a>(&mut self, cause: &'a Cause, cut: impl Fn(&'a [u8]) -> Vec<&'a [u8]>) -> Result<(), String> {
        if *cause != Cause::Opening && self.is_over() {
            return Err("the session is over before this".to_owned());
        }
        match (cause, &mut self.session) {
            (Cause::Opening, _) => {}
            (Cause::Client(bytes), Session::Greeter(_)) => self.read_greeter(cut(bytes)),
            (Cause::Learn(offered), Session::Greeter(session)) => {
                session.learn(*offered);
                let unread = std::mem::take(&mut self.unread);
                self.read_greeter(vec![&unread]);
            }
            (Cause::Farewell(farewell), Session::Greeter(session)) => session.farewell(*farewell),
            (Cause::Client(bytes), Session::Filter(session)) => {
                cut(bytes).into_iter().for_each(|piece| session.read_client(piece));
            }
            (Cause::Backend(bytes), Session::Filter(session)) => {
                cut(bytes).into_iter().for_each(|piece| session.read_backend(piece));
            }
            (Cause::ClientEnds, Session::Filter(session)) => self.half_close = Some(session.client_ends()),
            (Cause::BackendLost, Session::Filter(session)) => session.backend_lost(),
            (Cause::Farewell(farewell), Session::Filter(session)) => session.farewell(*farewell),
            (Cause::Client(bytes), Session::Egress(session)) => {
                cut(bytes).into_iter().for_each(|piece| session.read(piece));
            }
            (Cause::Answer(answer), Session::Egress(session)) => session.answer(answer),
            (Cause::GoAhead, Session::Egress(session)) => session.go_ahead(),
            (Cause::Backend(bytes), Session::Remote(session)) => {
                cut(bytes).into_iter().for_each(|piece| session.read(piece));
            }
            (Cause::Act(act), Session::Remote(session)) => session.act(act),
            _ => return Err("this cannot happen to this machine".to_owned()),
        }
        Ok(())
    }

    /// Reads until the greeter has come to something; the rest stays unread.
    fn read_greeter(&mut self, pieces: Vec<&[u8]>) {
        let Session::Greeter(session) = &mut self.session else { return };
        for piece in pieces {
            if session.state == Greeted::Open && !piece.is_empty() {
                session.read(piece);
            } else {
                self.unread.extend_from_slice(piece);
            }
        }
    }

    fn is_over(&self) -> bool {
        match &self.session {
            Session::Greeter(session) => !matches!(session.state, Greeted::Open | Greeted::Asking),
            Session::Filter(session) => session.end.is_some(),
            Session::Egress(session) => session.is_over,
            Session::Remote(session) => session.is_over,
        }
    }

    /// Compares all that came of a scene with all that was expected of it.
    fn check(&mut self, scene: &Scene) -> Result<(), Fault> {
        let (to_client, to_backend) = match &mut self.session {
            Session::Greeter(session) => (std::mem::take(&mut session.to_client), Vec::new()),
            Session::Filter(session) => {
                (std::mem::take(&mut session.to_client), std::mem::take(&mut session.to_backend))
            }
            Session::Egress(session) => (std::mem::take(&mut session.to_client), std::mem::take(&mut session.octets)),
            Session::Remote(session) => (Vec::new(), std::mem::take(&mut session.to_remote)),
        };
        compare(scene, "S:", &to_client, |what| if let Expected::ToClient(line) = what { Some(line) } else { None })?;
        if self.cut_is_untold() {
            compare_beginning(scene, &to_backend)?;
        } else {
            compare(
                scene,
                ">B:",
                &to_backend,
                |what| if let Expected::ToBackend(line) = what { Some(line) } else { None },
            )?;
        }
        if let Some(left) = self.left() {
            compare(scene, "left:", &left, |what| if let Expected::Left(line) = what { Some(line) } else { None })?;
        }
        self.check_states(scene)
    }

    /// Whether the backend was cut in this scene, or a message refused on its way to one.
    fn cut_is_untold(&self) -> bool {
        match &self.session {
            Session::Filter(session) => session.cut && !self.cut_told,
            Session::Egress(session) => session.events.iter().any(|event| event.starts_with("refused ")),
            _ => false,
        }
    }

    /// What the backend is to be sent of the client's bytes, once the session goes on in plaintext.
    fn left(&self) -> Option<Vec<u8>> {
        match &self.session {
            Session::Greeter(session) if matches!(session.state, Greeted::Plaintext(_)) => {
                Some([session.left(), &self.unread].concat())
            }
            _ => None,
        }
    }

    /// Compares how the session stands; its end, a step aside, a question or a complaint must be expected.
    fn check_states(&mut self, scene: &Scene) -> Result<(), Fault> {
        let mut untold = self.events();
        for expectation in &scene.expected {
            let Expected::State(wanted) = &expectation.what else { continue };
            if let Some(told) = untold.iter().position(|event| event == wanted) {
                untold.remove(told);
            } else {
                let stands = self.standing(wanted);
                if stands != *wanted {
                    let others = if untold.is_empty() { String::new() } else { format!(" ({})", untold.join(", ")) };
                    return Err((expectation.line, format!("expected = {wanted}\n  actually = {stands}{others}")));
                }
            }
        }
        match untold.first() {
            Some(event) => Err((scene.line, format!("nothing is said of `= {event}`"))),
            None => Ok(()),
        }
    }

    /// What a transcript must not leave out.
    fn events(&mut self) -> Vec<String> {
        match &mut self.session {
            Session::Greeter(session) => greeter_event(&session.state).into_iter().collect(),
            Session::Filter(session) => {
                let aside = session.aside.then(|| "aside".to_owned());
                let complaint = session.complaint().map(|complaint| format!("complaint {complaint:?}"));
                let half_close = self.half_close.take();
                let half_close = half_close.map(|may| if may { "half-close" } else { "backend-cut" }.to_owned());
                let end = session.end.map(ending_name);
                let cut = (session.cut && !std::mem::replace(&mut self.cut_told, session.cut))
                    .then(|| "backend-cut".to_owned());
                [aside, complaint, half_close, cut, end].into_iter().flatten().collect()
            }
            Session::Egress(session) => std::mem::take(&mut session.events),
            Session::Remote(session) => std::mem::take(&mut session.events),
        }
    }

    /// How the session stands in the matter of `wanted`.
    fn standing(&self, wanted: &str) -> String {
        let topic = wanted.split(' ').next().unwrap_or_default();
        match (&self.session, topic) {
            (Session::Filter(session), "phase") => format!("phase {}", phase_name(session.phase())),
            (Session::Filter(session), "awaits-login") => format!("awaits-login {}", session.awaits_login()),
            (Session::Egress(session), "owed") => format!("owed {}", session.owed()),
            (Session::Remote(session), "reusable") => format!("reusable {}", session.is_reusable()),
            (Session::Remote(session), "ambiguous") => format!("ambiguous {}", session.is_ambiguous()),
            (Session::Filter(session), "user") => format!("user {}", session.user().unwrap_or("nobody")),
            _ if self.is_over() => "over".to_owned(),
            _ => "open".to_owned(),
        }
    }
}

/// The trace of a sender's session.
fn trace() -> Trace {
    let source = "127.0.0.1:40000".parse().expect("an address");
    let client = Connection { source, destination: source, tls: None };
    Trace::new(&client, 7, || "Sun, 22 Nov 2026 07:00:00 +0000".to_owned()).marked("t0k3n")
}

fn greeter_event(state: &Greeted) -> Option<String> {
    Some(match state {
        Greeted::Open => return None,
        Greeted::Asking => "asking".to_owned(),
        Greeted::StartTls => "starttls".to_owned(),
        Greeted::Plaintext(Opening::Hello { command: Some(command), .. }) => format!("plaintext {}", escaped(command)),
        Greeted::Plaintext(_) => "plaintext".to_owned(),
        Greeted::Closed => "closed".to_owned(),
        Greeted::Violation(violation) => format!("violation {}", violation.reason()),
    })
}

fn ending_name(ending: Ending) -> String {
    match ending {
        Ending::Closed => "closed".to_owned(),
        Ending::Refused => "refused".to_owned(),
        Ending::Client(violation) => format!("violation {}", violation.reason()),
        Ending::Backend(violation) => format!("backend-violation {}", violation.reason()),
        Ending::BackendLost => "backend-lost".to_owned(),
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Command => "command",
        Phase::Transfer => "transfer",
        Phase::DataEnd => "data-end",
    }
}

/// Compares the bytes of one direction line by line.
fn compare(
    scene: &Scene,
    mark: &str,
    actual: &[u8],
    line_of: impl Fn(&Expected) -> Option<&Pattern>,
) -> Result<(), Fault> {
    let mut rest = actual;
    for expectation in &scene.expected {
        let Some(pattern) = line_of(&expectation.what) else { continue };
        let Some(length) = pattern.matches(rest) else {
            let wanted = pattern.text();
            return Err((expectation.line, format!("expected {mark} {wanted}\n  actually {mark} {}", shown(rest))));
        };
        rest = &rest[length..];
    }
    if rest.is_empty() {
        return Ok(());
    }
    Err((scene.line, format!("nothing is said of {mark} {}", shown(rest))))
}

/// Compares what a backend had when it was cut: how much of it depends on the reads, what it is does not.
fn compare_beginning(scene: &Scene, actual: &[u8]) -> Result<(), Fault> {
    let lines = scene.expected.iter().filter_map(|expectation| match &expectation.what {
        Expected::ToBackend(line) => Some(line.literal()),
        _ => None,
    });
    let most = lines.collect::<Vec<_>>().concat();
    if most.starts_with(actual) {
        return Ok(());
    }
    Err((scene.line, format!("expected >B: {} or less\n  actually >B: {}", escaped(&most), shown(actual))))
}

/// The first lines of `bytes`, escaped.
fn shown(bytes: &[u8]) -> String {
    let text = if bytes.is_empty() { "(nothing)".to_owned() } else { escaped(&bytes[..bytes.len().min(600)]) };
    text.replace("\\r\\n", "\\r\\n\n              ").trim_end().to_owned()
}

mod the_player {
    use super::*;

    fn fault(text: &str) -> String {
        play_text(Protocol::Smtp, text).expect_err("this transcript is wrong").1
    }

    #[test]
    fn refuses_a_transcript_that_cannot_fail() {
        assert!(fault("# why\n@ greeter\nC: NOOP\n").contains("cannot fail"));
    }

    #[test]
    fn refuses_a_transcript_without_a_reason() {
        assert!(fault("@ greeter\nS: 220 x\n").contains("why this exists"));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(fault("# why\n@ greeter\n@ colour=red\nS: 220 x\n").contains("`colour`"));
        assert!(fault("# why\n@ greeter\nX: what\nS: 220 x\n").contains("begins no line"));
        assert!(fault("# why\n@ greeter\n! dance\nS: 220 x\n").contains("no event"));
        assert!(fault("# why\n@ greeter\nS: \\q\n").contains("no escape"));
    }

    #[test]
    fn finds_a_line_that_differs_and_names_it() {
        let text = "# why\n@ greeter\nS: 220 …\nC: NOOP\nS: 999 never\n";
        let (line, fault) = play_text(Protocol::Smtp, text).unwrap_err();
        assert_eq!(line, 5);
        assert!(fault.contains("expected S: 999 never\\r\\n") && fault.contains("actually S: 250"), "{fault}");
    }

    #[test]
    fn finds_a_line_that_is_missing_or_too_many() {
        assert!(fault("# why\n@ greeter\nS: 220 …\nS: 220 …\n").contains("(nothing)"));
        assert!(
            fault("# why\n@ greeter\nS: 220 …\nC: NOOP\nC: NOOP\nS: 250 …\n").contains("nothing is said of S: 250")
        );
    }

    #[test]
    fn finds_an_end_that_nothing_is_said_of() {
        assert!(fault("# why\n@ greeter\nS: 220 …\nC: QUIT\nS: 221 …\n").contains("`= closed`"));
        let fault = fault("# why\n@ greeter\nS: 220 …\nC: NOOP\nS: 250 …\n= starttls\n");
        assert!(fault.contains("actually = open"), "{fault}");
    }

    #[test]
    fn takes_any_text_within_a_line_only() {
        let text = "# why\n@ greeter\nS: 220 …\nC: NOOP\nC: NOOP\nS: 250 …\nS: 250 …\n";
        assert_eq!(play_text(Protocol::Smtp, text), Ok(()));
    }
}
