//! Writes each transcript as a first input of the fuzz target of its machine.

use std::{fs, io, path::Path};

use mailward::{
    outbound::Act,
    outbound_play::{ACT, LMTP, READ},
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
        for (name, transcript) in read(&transcripts.join(protocol.name()), protocol)? {
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
    for (folder, protocol) in [("egress-smtp", Protocol::Smtp), ("egress-lmtp", Protocol::Lmtp)] {
        for (name, transcript) in read(&transcripts.join(folder), protocol)? {
            write(&corpus.join("egress"), &format!("{protocol}-{name}"), &sender(protocol, &transcript))?;
        }
    }
    for (name, transcript) in read(&transcripts.join("remote"), Protocol::Smtp)? {
        write(&corpus.join("remote"), &name, &server(&transcript))?;
    }
    Ok(())
}

/// The transcripts of a folder, and their names.
fn read(folder: &Path, protocol: Protocol) -> io::Result<Vec<(String, Transcript)>> {
    let parse = |file: io::Result<fs::DirEntry>| {
        let path = file?.path();
        let transcript = Transcript::parse(protocol, &fs::read_to_string(&path)?)
            .map_err(|(line, fault)| io::Error::other(format!("{}:{line}: {fault}", path.display())))?;
        Ok((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), transcript))
    };
    fs::read_dir(folder)?.map(parse).collect()
}

/// What a sender said, cut as the `egress` target cuts.
fn sender(protocol: Protocol, transcript: &Transcript) -> Vec<u8> {
    let mut seed = vec![if protocol == Protocol::Lmtp { LMTP } else { 0 }];
    for scene in &transcript.scenes {
        if let Cause::Client(bytes) = &scene.cause {
            seed.extend(bytes.iter().map(|byte| (*byte).min(READ - 1)));
            seed.push(READ);
        }
    }
    seed
}

/// What a recipient's server said and was told, as the `remote` target has it.
fn server(transcript: &Transcript) -> Vec<u8> {
    let mut seed = Vec::new();
    for scene in &transcript.scenes {
        match &scene.cause {
            Cause::Backend(bytes) => seed.extend(bytes.iter().map(|byte| (*byte).min(ACT - 1))),
            Cause::Act(act) => seed.push(ACT + number(act)),
            _ => {}
        }
    }
    seed
}

/// Which of its acts the `remote` target takes it for.
fn number(act: &Act) -> u8 {
    match act {
        Act::Mail(_) => 0,
        Act::Recipient(_) => 1,
        Act::Data => 2,
        Act::Send(_) => 3,
        Act::End => 4,
        Act::Reset => 5,
        Act::Quit => 6,
        Act::StartTls => 7,
        // It stands behind STARTTLS, where any act is this one.
        Act::Secured => 8,
    }
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
            Cause::Opening | Cause::Learn(_) | Cause::Answer(_) | Cause::GoAhead | Cause::Act(_) => {}
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
