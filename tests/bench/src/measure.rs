//! The run: every scenario for every proxy, in turn, as often as there are rounds; then the table.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::Measuring;
use crate::backend::Backend;
use crate::cell::Cell;
use crate::certificates;
use crate::cpus::Cpus;
use crate::machine;
use crate::peers::{PEERS, Peer};
use crate::plan::{Row, Scenario, Sizes, Work, scenarios};
use crate::table::{Column, Measured, median, spread, table};

/// What all measurements have in common.
#[derive(Debug)]
pub struct Bench {
    /// The server behind all proxies.
    pub backend: Backend,
    /// Where who runs.
    pub cpus: Cpus,
    /// How much is measured.
    pub sizes: Sizes,
    /// Where certificates are kept.
    pub work: PathBuf,
    /// The build of mailward.
    pub mailward: PathBuf,
    /// The other build of mailward.
    pub other: PathBuf,
}

/// Measures what is asked for and prints the table.
///
/// # Errors
/// What is missing or wrong, in words; also when a single measurement failed, behind the table.
pub fn run(asked: &Measuring) -> Result<(), String> {
    let mut sizes = if asked.quick { Sizes::QUICK } else { Sizes::WHOLE };
    sizes.rounds = asked.rounds.unwrap_or(sizes.rounds).max(1);
    let all = scenarios(&sizes);
    let peers: Vec<_> = PEERS.iter().filter(|peer| peer.name != "other" || asked.other.is_some()).collect();
    if asked.list {
        let names = |names: Vec<&str>| names.join(", ");
        println!("scenarios: {}", names(all.iter().map(|scenario| scenario.name).collect()));
        println!("proxies: {}", names(peers.iter().map(|peer| peer.name).collect()));
        return Ok(());
    }
    let scenarios = chosen(all, &asked.only, |scenario| scenario.name)?;
    let peers = chosen(peers, &asked.peers, |peer| peer.name)?;
    nothing_is_missing(&peers)?;
    fs::create_dir_all(&asked.work).map_err(|error| format!("{}: {error}", asked.work.display()))?;
    let mailward = absolute(&asked.mailward)?;
    let other = asked.other.as_ref().map_or_else(|| Ok(mailward.clone()), |other| absolute(other))?;
    let bench = Bench {
        backend: Backend::start().map_err(|error| format!("the backend does not start: {error}"))?,
        cpus: Cpus::of_this_process()?,
        sizes,
        work: absolute(&asked.work)?,
        mailward,
        other,
    };
    bench.run(&scenarios, &peers)
}

/// Those with these names; all, where there are no names.
fn chosen<T>(all: Vec<T>, names: &[String], name: impl Fn(&T) -> &'static str) -> Result<Vec<T>, String> {
    let known: Vec<_> = all.iter().map(&name).collect();
    if let Some(unknown) = names.iter().find(|asked| !known.contains(&asked.as_str())) {
        return Err(format!("{unknown:?} is none of {}", known.join(", ")));
    }
    Ok(all.into_iter().filter(|item| names.is_empty() || names.iter().any(|asked| asked == name(item))).collect())
}

fn nothing_is_missing(peers: &[&Peer]) -> Result<(), String> {
    let missing: BTreeSet<_> = peers.iter().flat_map(|peer| peer.missing_packages()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.into_iter().collect::<Vec<_>>().join(" ");
    Err(format!("missing Debian packages, or choose by --peers: apt-get install --no-install-recommends {packages}"))
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))
}

impl Bench {
    fn run(&self, scenarios: &[Scenario], peers: &[&Peer]) -> Result<(), String> {
        let notes = machine::notes(peers, &self.mailward);
        self.make_certificates(scenarios)?;
        let mut sheet = Sheet::new(&self.work, scenarios, peers)?;
        for round in 1..=self.sizes.rounds {
            for (index, scenario) in scenarios.iter().enumerate() {
                eprintln!("round {round} of {}: {}", self.sizes.rounds, scenario.name);
                for (column, peer) in peers.iter().enumerate().filter(|(_, peer)| peer.takes(scenario)) {
                    sheet.note(round, index, column, self.measure(peer, scenario));
                }
            }
        }
        println!("{}\n{notes}{}", sheet.table(), sheet.spreads());
        match sheet.failures {
            0 => Ok(()),
            count => Err(format!("{count} measurements failed, as told above")),
        }
    }

    /// Makes those that take long before anything is measured: minutes, the first time.
    fn make_certificates(&self, scenarios: &[Scenario]) -> Result<(), String> {
        if scenarios.iter().any(|scenario| scenario.work == Work::Certificates) {
            eprintln!("certificates for {:?} hosts", self.sizes.certificates);
            for count in self.sizes.certificates {
                certificates::many(&self.work, count)?;
            }
        }
        Ok(())
    }

    /// One scenario for one proxy, from its start to its end.
    fn measure(&self, peer: &Peer, scenario: &Scenario) -> Result<Vec<Option<f64>>, String> {
        self.cpus.pin_load(scenario.pinning())?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let measuring = async { timeout(self.sizes.patience, Cell { bench: self, peer, scenario }.values()).await };
        runtime.block_on(measuring).unwrap_or_else(|_| Err(format!("not done within {:?}", self.sizes.patience)))
    }
}

/// What was measured so far.
#[derive(Debug)]
struct Sheet<'a> {
    scenarios: &'a [Scenario],
    columns: Vec<Column>,
    /// For each scenario its rows.
    measured: Vec<Vec<Measured>>,
    /// Every value as it comes.
    file: File,
    failures: usize,
}

impl<'a> Sheet<'a> {
    fn new(work: &Path, scenarios: &'a [Scenario], peers: &[&Peer]) -> Result<Self, String> {
        let path = work.join("results.tsv");
        let values = vec![Vec::new(); peers.len()];
        let empty = |row: &Row| Measured { row: row.clone(), values: values.clone() };
        Ok(Self {
            scenarios,
            columns: peers.iter().map(|peer| Column { name: peer.name, kind: peer.kind }).collect(),
            measured: scenarios.iter().map(|scenario| scenario.rows.iter().map(empty).collect()).collect(),
            file: File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?,
            failures: 0,
        })
    }

    /// Takes the values of one scenario, row by row; where there are none, tells why.
    fn note(&mut self, round: usize, scenario: usize, column: usize, values: Result<Vec<Option<f64>>, String>) {
        let (name, peer) = (self.scenarios[scenario].name, self.columns[column].name);
        let values = values.unwrap_or_else(|why| {
            self.failures += 1;
            eprintln!("{name}: {peer}: {why}");
            Vec::new()
        });
        for (row, value) in self.measured[scenario].iter_mut().zip(values) {
            row.values[column].extend(value);
            let value = value.map_or_else(|| "-".to_owned(), |value| value.to_string());
            // The table is what counts.
            let _ = writeln!(self.file, "{round}\t{name}\t{}\t{peer}\t{value}", row.row.title);
        }
    }

    fn table(&self) -> String {
        table(&self.columns, &self.measured.concat())
    }

    /// How far the rounds were apart, for each proxy, where there were several.
    fn spreads(&self) -> String {
        let mut lines = String::new();
        for (index, column) in self.columns.iter().enumerate() {
            let rows = self.measured.iter().flatten().filter(|row| row.values[index].len() > 1);
            let widths: Vec<_> =
                rows.filter_map(|row| spread(&row.values[index])).map(|[low, high]| high.max(-low)).collect();
            let most = widths.iter().copied().fold(0.0, f64::max);
            if let Some(usual) = median(&widths) {
                lines += &format!(
                    "{}: rounds within ±{usual:.0} % of the median in most rows, ±{most:.0} % at worst\n",
                    column.name
                );
            }
        }
        lines
    }
}
