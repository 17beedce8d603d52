//! The `mailward` command: arguments, logging, then serve or check. The only exit code is here.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use mailward::{
    config::{self, Problems},
    embedded::welcome,
    reload,
    server::{Server, StartError, descriptors_fit},
    snapshot::Lasting,
    telemetry::{self, Format},
};

/// A TLS gateway for mail servers that cannot, or should not, do TLS themselves.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The configuration; without it $MAILWARD_CONFIG, or else ./proxy.toml, or else /etc/mailward/proxy.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: Format,
    /// What is logged: error, warn, info or debug; MAILWARD_LOG takes finer filters.
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL", value_parser = LEVELS)]
    log_level: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run (the default).
    Serve,
    /// Load everything that serve would, open no port, and print every problem.
    Check {
        /// Print, for each listener, the settings that are in effect.
        #[arg(long)]
        explain: bool,
    },
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// Any other word would be taken for the name of a module, and turn the log off.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::start(arguments.log_format, &arguments.log_level);
    let path = arguments.config.unwrap_or_else(default_path);
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(path),
        Command::Check { explain } => check(path, explain),
        Command::Completions { shell } => completions(shell),
        Command::Man => manual(),
    }
}

fn default_path() -> PathBuf {
    // A variable that is set to nothing is how a service manager takes one back.
    if let Some(path) = std::env::var_os("MAILWARD_CONFIG").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let here = PathBuf::from("proxy.toml");
    if here.exists() { here } else { PathBuf::from("/etc/mailward/proxy.toml") }
}

fn serve(path: PathBuf) -> ExitCode {
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "running as root, which is not needed: give the program CAP_NET_BIND_SERVICE and an account of its own"
        );
    }
    match Server::start(&path, true) {
        Ok(server) => {
            print(&welcome::text(&server.snapshot().config, |listener| server.addresses(listener)));
            if server.wait() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(StartError::Configuration(problems)) => {
            print_problems(&problems);
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: PathBuf, explain: bool) -> ExitCode {
    match reload::load(&path, &Lasting::default(), false) {
        Ok((built, warnings)) => {
            print_problems(&warnings);
            if let Some(what) = descriptors_fit(&built.snapshot.config) {
                print(&format!("{}: warning: {what}\n", path.display()));
            }
            if explain {
                print(&config::explain(&built.snapshot.config));
            }
            ExitCode::SUCCESS
        }
        Err(problems) => {
            print_problems(&problems);
            ExitCode::FAILURE
        }
    }
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Arguments::command(), "mailward", &mut io::stdout());
    ExitCode::SUCCESS
}

fn manual() -> ExitCode {
    match clap_mangen::Man::new(Arguments::command()).render(&mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn print_problems(problems: &Problems) {
    for problem in &problems.0 {
        print(&format!("{problem}\n"));
    }
}

fn print(text: &str) {
    // Whoever closed our standard output does not want to read this.
    let _ = io::stdout().write_all(text.as_bytes());
}
