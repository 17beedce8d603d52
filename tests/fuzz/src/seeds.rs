//! Writes each transcript as a first input of the fuzz target of its machine.

use std::{fs, io, path::Path};

use mailward::{
    proto::{Leg, Protocol, Start},
    script::{self, Flags},
    transcript::{Cast, Cause, Transcript},
};

/// Turns every file below `transcripts` into one below `corpus`, in a folder for each target.
///
/// # Errors
/// What the file system says, or the file and line of a transcript that cannot be read.
pub fn write_all(transcripts: &Path, corpus: &Path) -> io::Result<()> {
    for protocol in Protocol::ALL {
        for file in fs::read_dir(transcripts.join(protocol.name()))? {
            let path = file?.path();
            let text = fs::read_to_string(&path)?;
            let transcript = Transcript::parse(protocol, &text)
                .map_err(|(line, fault)| io::Error::other(format!("{}:{line}: {fault}", path.display())))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            write(
                &corpus.join(target(protocol, &transcript.cast)),
                &format!("{protocol}-{name}"),
                &seed(protocol, &transcript),
            )?;
            if protocol == Protocol::Smtp {
                write(&corpus.join("backend_smtp"), &name, &client_alone(&transcript))?;
            }
        }
    }
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), bytes)
}

fn target(protocol: Protocol, cast: &Cast) -> String {
    let machine = if matches!(cast, Cast::Greeter) { "greeter" } else { "filter" };
    let family = match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => "smtp",
        other => other.name(),
    };
    format!("{machine}_{family}")
}

fn seed(protocol: Protocol, transcript: &Transcript) -> Vec<u8> {
    let mut seed = vec![flags(protocol, transcript).0];
    for scene in &transcript.scenes {
        match &scene.cause {
            Cause::Client(bytes) => {
                seed.push(script::CLIENT);
                seed.extend(script::unmarked(bytes));
            }
            Cause::Backend(bytes) => {
                seed.push(script::BACKEND);
                seed.extend(script::unmarked(bytes));
            }
            Cause::ClientEnds => seed.push(script::CLIENT_ENDS),
            Cause::BackendLost => seed.push(script::BACKEND_LOST),
            Cause::Farewell(_) => seed.push(script::FAREWELL),
            Cause::Opening | Cause::Learn(_) => {}
        }
    }
    seed
}

fn flags(protocol: Protocol, transcript: &Transcript) -> Flags {
    let settings = &transcript.settings;
    let mut flags = 0;
    let mut set = |flag, on: bool| flags |= if on { flag } else { 0 };
    let certified = matches!(transcript.cast, Cast::Filter(_, Leg::Certified));
    set(script::REQUIRE, settings.require || certified);
    set(script::PLAINTEXT_AUTH, settings.plaintext_auth);
    set(script::GUARD, settings.guard.require_auth || settings.guard.rcpt_domains.is_some());
    set(script::SMALL, settings.limits.line <= 100);
    if let Cast::Filter(start, _) = &transcript.cast {
        set(script::GREETED, *start == Start::Greeted);
        set(script::OPENED, matches!(start, Start::Opened(_)));
    }
    let index = match protocol {
        Protocol::Submission => 1,
        Protocol::Lmtp => 2,
        _ => 0,
    };
    Flags(flags).with_protocol(index)
}

/// What the client sent, cut as the `backend_smtp` target cuts.
fn client_alone(transcript: &Transcript) -> Vec<u8> {
    let mut seed = Vec::new();
    for scene in &transcript.scenes {
        if let Cause::Client(bytes) = &scene.cause {
            seed.push(script::CLIENT);
            seed.extend(script::unmarked(bytes));
        }
    }
    seed
}
