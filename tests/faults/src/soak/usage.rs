//! What the daemon and its hosts use, as the kernel tells it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use hv_vss_stories::process;

use crate::guest::{Bench, PLUGINS};
use crate::inject::processes::is_alive;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Memory of its own that no file stands behind (Anonymous): what it shares with others changes as they come and go.
    pub memory_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// All of them at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// By name: `daemon`, or the plugin's file.
    pub processes: BTreeMap<String, Process>,
    /// The daemon's children.
    pub children: usize,
    /// Theirs.
    pub below: usize,
    /// Ended, and not reaped.
    pub zombies: usize,
    /// All files in the state directory together.
    pub state_bytes: u64,
    /// Their names.
    pub state_files: Vec<String>,
}

impl Usage {
    /// Looks.
    #[must_use]
    pub fn of(bench: &Bench) -> Self {
        let daemon = bench.guest.daemon().pid();
        let hosts = bench.hosts();
        let children = process::children(daemon);
        let below: Vec<(i32, String)> = hosts.iter().flat_map(|(_, host)| process::children(*host)).collect();
        let zombies = children.iter().chain(&below).filter(|(pid, _)| !is_alive(*pid)).count();
        let named =
            hosts.iter().map(|(plugin, pid)| ((*plugin).to_owned(), *pid)).chain([("daemon".to_owned(), daemon)]);
        let processes = named.filter_map(|(name, pid)| Some((name, of_process(pid)?))).collect();
        let state = fs::read_dir(bench.guest.stage().home().join("state")).into_iter().flatten().flatten();
        let files: Vec<(String, u64)> = state
            .filter_map(|entry| {
                let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((entry.file_name().to_string_lossy().into_owned(), about.len()))
            })
            .filter(|(name, _)| name != "written")
            .collect();
        Self {
            processes,
            children: children.len(),
            below: below.len(),
            zombies,
            state_bytes: files.iter().map(|(_, bytes)| bytes).sum(),
            state_files: files.into_iter().map(|(name, _)| name).collect(),
        }
    }

    /// Nothing is in work and nobody is missing.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.strays().is_empty()
    }

    /// What should not be there, or should be and is not.
    #[must_use]
    pub fn strays(&self) -> Vec<String> {
        let mut strays = Vec::new();
        if self.children != PLUGINS.len() || self.processes.len() != PLUGINS.len() + 1 {
            strays.push(format!(
                "the daemon has {} children, {} of them hosts",
                self.children,
                self.processes.len() - 1
            ));
        }
        if self.below != 0 {
            strays.push(format!("the hosts have {} children", self.below));
        }
        if self.zombies != 0 {
            strays.push(format!("{} zombies", self.zombies));
        }
        let unexpected: Vec<&String> = self.state_files.iter().filter(|name| *name != "history.jsonl").collect();
        if !unexpected.is_empty() {
            strays.push(format!("in the state directory: {unexpected:?}"));
        }
        strays
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, process) in &self.processes {
            let Process { memory_bytes, descriptors, threads } = process;
            write!(f, "{name}: {}, {descriptors}, {threads}; ", memory_bytes / 1024)?;
        }
        write!(f, "| {} bytes", self.state_bytes)
    }
}

fn of_process(pid: i32) -> Option<Process> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kilobytes: u64 =
        rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).ok().map(|entries| entries.count() as u64);
    Some(Process { memory_bytes: kilobytes * 1024, descriptors: count("fd")?, threads: count("task")? })
}
