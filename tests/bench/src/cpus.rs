//! Who runs on which processor.

use std::fs;
use std::process::Command;

use crate::plan::Pinning;

/// The processors of this machine that we may use, in the form that `taskset` takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Cpus {
    all: String,
    first: String,
    second: String,
}

impl Cpus {
    /// Those of this process.
    ///
    /// # Errors
    /// Where there is just one: load and proxy need one each.
    pub fn of_this_process() -> Result<Self, String> {
        let status = fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc/self/status: {error}"))?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        Self::from_list(list.trim()).ok_or_else(|| "this needs two processors".to_owned())
    }

    fn from_list(list: &str) -> Option<Self> {
        let mut cpus = list.split(',').filter_map(range).flatten();
        let (first, second) = (cpus.next()?.to_string(), cpus.next()?.to_string());
        Some(Self { all: list.to_owned(), first, second })
    }

    /// Those of the proxy.
    pub fn of_proxy(&self, pinning: Pinning) -> &str {
        match pinning {
            Pinning::Apart | Pinning::Together => &self.first,
            Pinning::Free => &self.all,
        }
    }

    /// Takes this process, load and backend, to where it belongs.
    ///
    /// # Errors
    /// Those of `taskset`.
    pub fn pin_load(&self, pinning: Pinning) -> Result<(), String> {
        let list = match pinning {
            Pinning::Apart => &self.second,
            Pinning::Together => &self.first,
            Pinning::Free => &self.all,
        };
        let own = std::process::id().to_string();
        let told = Command::new("taskset").args(["-a", "-c", "-p", list, &own]).output();
        match told {
            Ok(told) if told.status.success() => Ok(()),
            Ok(told) => Err(format!("taskset: {}", String::from_utf8_lossy(&told.stderr).trim())),
            Err(error) => Err(format!("taskset: {error}")),
        }
    }
}

/// `"3"` and `"0-7"`.
fn range(text: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_of_a_list_are_taken() {
        let cpus = Cpus::from_list("2,4-7").expect("five");
        assert_eq!(cpus.of_proxy(Pinning::Apart), "2");
        assert_eq!(cpus.second, "4");
        assert_eq!(cpus.of_proxy(Pinning::Free), "2,4-7");
        assert_eq!(Cpus::from_list("0"), None);
    }
}
