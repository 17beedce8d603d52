//! The `mailward` command: arguments, logging, then serve, check, or ask the running process. The only exit code is here.

mod allocator;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use clap::{CommandFactory, Parser, Subcommand};
use mailward::{
    acme::{self, Report},
    admin::{self, AskError, Certificate, Reply, Request},
    config::{self, Problems},
    doctor,
    embedded::welcome,
    probe::{self, Question},
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
    /// What is logged: error, warn, info or debug; MAILWARD_LOG goes before it, and takes finer filters (info,mailward::tls=debug).
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL", value_parser = LEVELS)]
    log_level: String,
    /// Take over from the process that started this one, which gives its sockets by the standard input.
    #[arg(long, global = true, hide = true)]
    take_over: bool,
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
    /// Connect to each backend as the listeners do, and tell what clients will see there and what has to be changed.
    Doctor {
        /// The [backend.<id>] tables to look at. Default: all.
        #[arg(value_name = "BACKEND")]
        backends: Vec<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell what would happen to mail for a domain: its hosts, what DNSSEC, DANE and MTA-STS say of them, and what
    /// their certificates are worth. No message is sent. Exit code: 0 it would go, 1 it would not, 2 that could not be
    /// found out.
    Probe {
        /// The recipient's domain.
        #[arg(value_name = "DOMAIN")]
        domain: String,
        /// The sender that rules look at. Default: that of a notice, <>.
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
        /// The recipient that rules look at. Default: postmaster of the domain.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
        /// Look at this host of the domain alone.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// The port to connect to.
        #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
        /// Connect to no host: tell only what DNS and the policy say.
        #[arg(long)]
        no_connect: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have the running process read its configuration anew: all of it, or nothing where there is a problem.
    Reload,
    /// Have the running process stop: no new sessions, and running ones end where their protocol lets them.
    Drain,
    /// Print every certificate: its names, end and TLSA record, what is done next and why, and the last error.
    Certs {
        /// As JSON, times in seconds since 1970.
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        command: Option<CertsCommand>,
    },
    /// Print who is banned, what for, and for how long.
    Bans {
        /// As JSON, times in seconds since 1970.
        #[arg(long)]
        json: bool,
    },
    /// Lift the ban of an address, those of a network, or all.
    Unban {
        /// The address or the network, as `bans` prints it.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        whom: Option<String>,
        /// All bans.
        #[arg(long)]
        all: bool,
    },
    /// Look after what is known of the MTA-STS policies of recipients' domains.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum CertsCommand {
    /// Get a certificate of an [acme.<id>] table now, whenever it was due and however long the wait after a failure.
    Renew {
        /// The table's id, or one of its kinds of key alone: main/rsa-2048.
        name: String,
        /// Change to the key that was made ready by next-key.
        #[arg(long)]
        next_key: bool,
    },
    /// Make the key ready that `renew --next-key` will change to, and print its TLSA record.
    NextKey {
        /// As of renew.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum PolicyCommand {
    /// Print them: the domain, the policy's mode, id and hosts, when it was fetched and until when it applies, and why it
    /// could not be fetched of late.
    List {
        /// As JSON, times in seconds since 1970.
        #[arg(long)]
        json: bool,
    },
    /// Forget one that has gone bad, and its failures: the next message for the domain has it fetched anew.
    Forget {
        /// The recipients' domain, as `list` prints it.
        #[arg(value_name = "DOMAIN")]
        domain: String,
    },
}

/// Any other word would be taken for the name of a module, and turn the log off.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The exit code for a mistake in how the program is called, as that of a mistaken option.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    allocator::settle();
    let arguments = Arguments::parse();
    // What these find is in their report.
    let reports = matches!(arguments.command, Some(Command::Doctor { .. } | Command::Probe { .. }));
    let level = if reports { "error" } else { &arguments.log_level };
    if let Err(what) = telemetry::start(arguments.log_format, level) {
        fail(&what);
        return UNUSABLE.into();
    }
    let path = arguments.config.unwrap_or_else(default_path);
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(path, arguments.take_over),
        Command::Check { explain } => check(path, explain),
        Command::Doctor { backends, json } => doctor(&path, &backends, json),
        Command::Probe { domain, from, to, host, port, no_connect, json } => {
            let question = Question::new(&domain, from.as_deref(), to.as_deref());
            let question = question.map(|question| question.at(host, port, !no_connect));
            probe(&path, question, json)
        }
        Command::Reload => tell(&path, &Request::Reload),
        Command::Drain => tell(&path, &Request::Drain),
        Command::Certs { json, command: None } => certificates(&path, json),
        Command::Certs { command: Some(command), .. } => tell(&path, &Request::Acme(command.into())),
        Command::Bans { json } => bans(&path, json),
        Command::Unban { whom, .. } => tell(&path, &Request::Unban(whom)),
        Command::Policy { command: PolicyCommand::List { json } } => policies(&path, json),
        Command::Policy { command: PolicyCommand::Forget { domain } } => tell(&path, &Request::ForgetPolicy(domain)),
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

fn serve(path: PathBuf, take_over: bool) -> ExitCode {
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "running as root, which is not needed: give the program CAP_NET_BIND_SERVICE and an account of its own"
        );
    }
    match Server::start(&path, take_over, allocator::give_back) {
        Ok(server) => {
            print(&welcome::text(&server.snapshot().config, |listener| server.addresses(listener)));
            if server.wait() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(StartError::Configuration(problems)) => fail_with(&problems),
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
        Err(problems) => fail_with(&problems),
    }
}

fn doctor(path: &Path, backends: &[String], json: bool) -> ExitCode {
    let (built, _) = match reload::load(path, &Lasting::default(), false) {
        Ok(loaded) => loaded,
        Err(problems) => return fail_with(&problems),
    };
    let report = match doctor::examine(&built.snapshot, backends) {
        Ok(report) => report,
        Err(what) => return fail(&what),
    };
    if json {
        print(&format!("{:#}\n", serde_json::json!(report)));
    } else {
        print(&doctor::text(&report));
    }
    if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nothing is known of the mail: the question, or the configuration, is wrong.
const UNKNOWN: u8 = 2;

fn probe(path: &Path, question: Result<Question, String>, json: bool) -> ExitCode {
    let config = match config::load(path) {
        Ok((config, _)) => config,
        Err(problems) => {
            print_problems(&problems);
            return UNKNOWN.into();
        }
    };
    let report = match question.and_then(|question| probe::probe(&config, &question)) {
        Ok(report) => report,
        Err(what) => {
            fail(&what);
            return UNKNOWN.into();
        }
    };
    if json {
        print(&format!("{:#}\n", serde_json::json!(report)));
    } else {
        print(&probe::text(&report));
    }
    if report.goes { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl From<CertsCommand> for acme::Command {
    fn from(command: CertsCommand) -> Self {
        match command {
            CertsCommand::Renew { name, next_key } => Self::Renew { name, next_key },
            CertsCommand::NextKey { name } => Self::NextKey { name },
        }
    }
}

/// Has the process that runs with the file at `path` do something.
fn tell(path: &Path, request: &Request) -> ExitCode {
    let socket = match config::control(path) {
        Ok(socket) => socket,
        Err(problems) => return fail_with(&problems),
    };
    match admin::ask(&socket, request) {
        Ok(Reply::Done(what)) => {
            print(&format!("{what}\n"));
            ExitCode::SUCCESS
        }
        Ok(Reply::Refused(what)) => {
            print(&format!("{what}\n"));
            ExitCode::FAILURE
        }
        Ok(Reply::Certificates(_) | Reply::Bans(_) | Reply::Policies(_)) => fail(&OTHER_REPLY),
        Err(error) => fail(&error),
    }
}

fn certificates(path: &Path, json: bool) -> ExitCode {
    let socket = match config::control(path) {
        Ok(socket) => socket,
        Err(problems) => return fail_with(&problems),
    };
    match admin::ask(&socket, &Request::Certificates) {
        Ok(Reply::Certificates(all)) => print_certificates(&all, None, json),
        Ok(Reply::Done(what) | Reply::Refused(what)) => fail(&what),
        Ok(Reply::Bans(_) | Reply::Policies(_)) => fail(&OTHER_REPLY),
        Err(unasked @ AskError::NotRunning { .. }) => certificates_at_rest(path, &unasked, json),
        Err(error) => fail(&error),
    }
}

fn bans(path: &Path, json: bool) -> ExitCode {
    let socket = match config::control(path) {
        Ok(socket) => socket,
        Err(problems) => return fail_with(&problems),
    };
    match admin::ask(&socket, &Request::Bans) {
        Ok(Reply::Bans(all)) if json => print(&format!("{:#}\n", serde_json::json!({ "bans": all }))),
        Ok(Reply::Bans(all)) => print(&admin::list_bans(&all, now())),
        Ok(Reply::Done(what) | Reply::Refused(what)) => return fail(&what),
        Ok(Reply::Certificates(_) | Reply::Policies(_)) => return fail(&OTHER_REPLY),
        Err(error) => return fail(&error),
    }
    ExitCode::SUCCESS
}

fn policies(path: &Path, json: bool) -> ExitCode {
    let socket = match config::control(path) {
        Ok(socket) => socket,
        Err(problems) => return fail_with(&problems),
    };
    match admin::ask(&socket, &Request::Policies) {
        Ok(Reply::Policies(all)) if json => print(&format!("{:#}\n", serde_json::json!({ "policies": all }))),
        Ok(Reply::Policies(all)) => print(&admin::list_policies(&all, now())),
        Ok(Reply::Done(what) | Reply::Refused(what)) => return fail(&what),
        Ok(Reply::Certificates(_) | Reply::Bans(_)) => return fail(&OTHER_REPLY),
        Err(error) => return fail(&error),
    }
    ExitCode::SUCCESS
}

/// The process is of another version, or no mailward.
const OTHER_REPLY: &str = "the reply is to another request";

fn certificates_at_rest(path: &Path, unasked: &AskError, json: bool) -> ExitCode {
    match reload::load(path, &Lasting::default(), false) {
        Ok((built, _)) => {
            let reports = Report::at_rest(&built.snapshot.config);
            let all = admin::certificates_at_rest(built.sources.overview(), &reports, SystemTime::now());
            print_certificates(&all, Some(unasked), json)
        }
        Err(problems) => fail_with(&problems),
    }
}

/// Prints what a process has told, or what the files hold because there is none to ask.
fn print_certificates(all: &[Certificate], unasked: Option<&AskError>, json: bool) -> ExitCode {
    if json {
        let value = serde_json::json!({ "running": unasked.is_none(), "certificates": all });
        print(&format!("{value:#}\n"));
        return ExitCode::SUCCESS;
    }
    if let Some(error) = unasked {
        print(&format!("{error}; from the files:\n\n"));
    }
    let now = now();
    let described: Vec<_> = all.iter().map(|certificate| admin::describe(certificate, now)).collect();
    print(&described.join("\n"));
    ExitCode::SUCCESS
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
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

fn fail_with(problems: &Problems) -> ExitCode {
    print_problems(problems);
    ExitCode::FAILURE
}

fn fail(what: &dyn std::fmt::Display) -> ExitCode {
    // Whoever closed our standard error does not want to read this.
    let _ = writeln!(io::stderr(), "mailward: {what}");
    ExitCode::FAILURE
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
