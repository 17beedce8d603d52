//! What mailward costs beside other TLS proxies, on this machine, now: CPU for each unit of work, memory for each
//! session.
//!
//! Started by `tests/bench/run`, which builds it. One process is load and backend for all proxies; they run in turn, A
//! B C A B C, and the table shows medians. What is counted is the CPU of a proxy's own processes, which is steadier
//! than any clock on a shared machine; where the clock is what matters, the row says so.

mod backend;
mod cell;
mod certificates;
mod client;
mod cpus;
mod load;
mod machine;
mod measure;
mod peers;
mod plan;
mod process;
mod relay;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// What mailward costs beside other TLS proxies, in CPU and memory.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    measuring: Measuring,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What to measure, and how much of it.
#[derive(Debug, Args)]
struct Measuring {
    /// Small sizes and one round: shows in two minutes that every proxy works, and proves nothing else.
    #[arg(long)]
    quick: bool,
    /// How often each proxy has its turn.
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Only these scenarios; --list names them.
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these proxies; --list names them.
    #[arg(long, value_name = "PROXY", value_delimiter = ',')]
    peers: Vec<String>,
    /// Name scenarios and proxies, and measure nothing.
    #[arg(long)]
    list: bool,
    /// The release build of mailward.
    #[arg(long, value_name = "FILE", default_value = "target/release/mailward")]
    mailward: PathBuf,
    /// Another build of mailward, to stand beside it.
    #[arg(long, value_name = "FILE")]
    other: Option<PathBuf>,
    /// Where certificates are kept from one run to the next, and every value is written.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/bench")]
    work: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be one of the yardsticks: the plainest relay there is.
    #[command(hide = true)]
    Relay(Relay),
}

#[derive(Debug, Args)]
struct Relay {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    backend: SocketAddr,
    #[arg(long)]
    workers: usize,
    /// The file with key and certificate; without it there is no TLS.
    #[arg(long)]
    pem: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.role {
        Some(Role::Relay(relay)) => relay::run(relay.listen, relay.backend, relay.workers, relay.pem.as_deref()),
        None => measure::run(&arguments.measuring),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("tests/bench/run: {why}");
            ExitCode::FAILURE
        }
    }
}
