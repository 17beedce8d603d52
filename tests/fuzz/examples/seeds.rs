//! `seeds TRANSCRIPTS CORPUS`: the first inputs of the fuzz targets.

use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [transcripts, corpus] = arguments.as_slice() else {
        eprintln!("usage: seeds TRANSCRIPTS CORPUS");
        return ExitCode::FAILURE;
    };
    match mailward::seeds::write_all(Path::new(transcripts), Path::new(corpus)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seeds: {error}");
            ExitCode::FAILURE
        }
    }
}
