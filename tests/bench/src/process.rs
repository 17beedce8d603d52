//! Proxies that run as long as they are held, and what the kernel says of them: CPU and memory of all their processes.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Runs the program given as arguments until standard input ends, then ends the whole process group, itself included.
/// Standard input is a pipe that we hold: it ends when the value is dropped, and also when this process is killed.
const SUPERVISE: &str = r#""$@" </dev/null & read -r _; kill -s KILL 0"#;

/// The unit of CPU time in `/proc/PID/stat`, which is the same on all Linux that mailward runs on.
const TICK: Duration = Duration::from_millis(10);

/// A proxy with all its processes. Dropping it ends them.
#[derive(Debug)]
pub struct Supervised {
    shell: Child,
    output: PathBuf,
}

impl Supervised {
    /// Starts a program, which must stay in the foreground and in its process group, on these processors, in `folder`.
    ///
    /// # Errors
    /// Those of starting a shell.
    pub fn start(command: &[String], cpus: &str, folder: &Path) -> io::Result<Self> {
        let output = folder.join("output");
        let file = File::create(&output)?;
        let shell = Command::new("/bin/sh")
            .args(["-c", SUPERVISE, "supervise", "taskset", "-c", cpus])
            .args(command)
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(file.try_clone()?)
            .stdout(file)
            .spawn()?;
        Ok(Self { shell, output })
    }

    /// CPU that all processes have spent so far, the kernel's work in their name included. `/proc/PID/stat` rounds down
    /// to 10 ms, but knows of threads that have ended; the scheduler's account of the living ones is exact.
    pub fn cpu(&self) -> Duration {
        self.processes().iter().map(|process| process.cpu.max(cpu_of_threads(process.id))).sum()
    }

    /// Memory of all processes in bytes: what is theirs alone, and their share of what is shared (Pss).
    pub fn memory(&self) -> u64 {
        self.processes().iter().filter_map(|process| proportional_set(process.id)).sum()
    }

    /// Whether no process is left but such as nobody has waited for.
    pub fn has_ended(&self) -> bool {
        self.processes().iter().all(|process| process.is_zombie)
    }

    /// The last that it said.
    pub fn last_words(&self) -> String {
        let output = fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// All of them but the shell.
    fn processes(&self) -> Vec<Process> {
        descendants(self.shell.id(), &all_processes())
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// A process, as `/proc/PID/stat` has it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Process {
    id: u32,
    parent: u32,
    is_zombie: bool,
    cpu: Duration,
}

fn all_processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // One that ends meanwhile is none.
    ids.filter_map(|id| parsed(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)).collect()
}

/// The name of a program may hold blanks and parentheses; what comes behind the last one does not.
fn parsed(stat: &str) -> Option<Process> {
    let (front, back) = stat.rsplit_once(')')?;
    let fields: Vec<_> = back.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
    let id = front.split_whitespace().next()?.parse().ok()?;
    // proc(5): the state is field 3, ppid 4, utime 14, stime 15.
    let is_zombie = *fields.first()? == "Z";
    Some(Process { id, parent: ticks(1)?, is_zombie, cpu: TICK * (ticks(11)? + ticks(12)?) })
}

/// The children of a process, theirs, and so on.
fn descendants(root: u32, all: &[Process]) -> Vec<Process> {
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            found.push(*process);
            parents.push(process.id);
        }
    }
    found
}

/// CPU of the threads that there are, by `/proc/PID/task/TID/schedstat`, whose first number is in nanoseconds.
fn cpu_of_threads(id: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return Duration::ZERO };
    let spent = |path: PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    threads.filter_map(|thread| spent(thread.ok()?.path())).map(Duration::from_nanos).sum()
}

fn proportional_set(id: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a (b) c) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 9 9 20 0 3 0 100 200 300";

    #[test]
    fn a_process_is_read_behind_its_name() {
        let process = Process { id: 42, parent: 7, is_zombie: false, cpu: Duration::from_secs(2) };
        assert_eq!(parsed(STAT), Some(process));
        assert_eq!(parsed(&STAT.replace(" S ", " Z ")), Some(Process { is_zombie: true, ..process }));
        assert_eq!(parsed("42 (sh"), None);
    }

    #[test]
    fn all_generations_below_a_process_are_found() {
        let process = |id, parent| Process { id, parent, is_zombie: false, cpu: Duration::ZERO };
        let all = [process(1, 0), process(4, 3), process(2, 1), process(3, 2), process(9, 8)];
        let ids: Vec<_> = descendants(2, &all).iter().map(|process| process.id).collect();
        assert_eq!(ids, [3, 4]);
    }
}
