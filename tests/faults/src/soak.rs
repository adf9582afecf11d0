//! The soak: one daemon, one backup after the other, now and then one with a scripted fault. After thousands of them it must be the same size, hold
//! the same descriptors and have the same children as after the first hundred, and its files must not have grown.
//!
//! What is flat is said by rules (see [`Report::violations`]); the figures are printed in any case.

pub mod trouble;
pub mod usage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Kind, Operation};

use crate::guest::{Bench, PATIENT, SOON};
use crate::inject::processes::comes_true;
use crate::rng::Rng;
use trouble::Trouble;
use usage::Usage;

/// How many cycles the daemon's history keeps: until it is full, memory and file grow as they should.
const HISTORY: usize = hv_vss_core::history::KEPT;
/// A cycle's record takes no more than this in memory or in the file.
const RECORD_BYTES: u64 = 8 << 10;
/// What a process may differ by from one sample to another without growing: arenas, page cache of its program, a deeper stack.
const MARGIN_BYTES: u64 = 1 << 20;
/// Descriptors that come and go: the file that is being written, the child that is being reaped.
const PASSING: u64 = 2;

/// What a soak came to.
#[derive(Debug)]
pub struct Report {
    /// From which seed.
    pub seed: u64,
    /// How many cycles.
    pub cycles: usize,
    /// How often each trouble was made.
    pub troubles: BTreeMap<&'static str, usize>,
    /// What the host heard otherwise than it should have.
    pub lies: Vec<String>,
    /// Samples, each with the number of the cycle before it.
    pub samples: Vec<(usize, Usage)>,
    /// How long it took.
    pub took: Duration,
}

/// Runs so many cycles; with `until`, none is begun after that instant. None where this machine can't.
///
/// # Panics
/// When the guest does not come up, or its daemon is gone.
#[must_use]
pub fn run(cycles: usize, seed: u64, until: Option<Instant>) -> Option<Report> {
    let mut bench = Bench::set(Kind::Ours, PATIENT)?;
    let mut rng = Rng::new(seed);
    let began = Instant::now();
    let mut report = Report {
        seed,
        cycles: 0,
        troubles: BTreeMap::new(),
        lies: Vec::new(),
        samples: Vec::new(),
        took: Duration::ZERO,
    };
    let daemon = bench.guest.daemon().pid();
    let between_samples = (cycles / 200).max(5);
    for cycle in (1..=cycles).take_while(|_| until.is_none_or(|until| Instant::now() < until)) {
        report.cycles = cycle;
        let trouble = Trouble::drawn(&mut rng);
        *report.troubles.entry(trouble.name()).or_default() += 1;
        if let Err(lie) = trouble.cycle(&mut bench, &mut rng) {
            report.lies.push(format!("cycle {cycle} ({}): {lie}; the daemon: {}", trouble.name(), last_words(&bench)));
        }
        if cycle % between_samples == 0 {
            report.samples.push((cycle, settled(&bench)));
            bench.record.clear();
        }
        assert_eq!(bench.guest.daemon().pid(), daemon, "it is one daemon all the time");
        assert!(bench.guest.daemon_is_there(), "the daemon is gone in cycle {cycle} ({})", trouble.name());
    }
    report.took = began.elapsed();
    Some(report)
}

/// The daemon's latest complaints, for whoever has to find out.
fn last_words(bench: &Bench) -> String {
    let log = bench.guest.daemon().log();
    let complaints: Vec<&str> =
        log.iter().rev().map(String::as_str).filter(|line| line.contains("ERROR")).take(3).collect();
    complaints.join(" | ")
}

/// What is used once all hosts are there again and nothing is in work, so that samples can be compared.
fn settled(bench: &Bench) -> Usage {
    comes_true(SOON, || asks(bench, Check) == Some(true));
    let mut usage = Usage::of(bench);
    comes_true(SOON, || {
        usage = Usage::of(bench);
        usage.is_quiet()
    });
    usage
}

/// What the host hears; none: nothing.
fn asks(bench: &Bench, operation: Operation) -> Option<bool> {
    let sent = bench.guest.host_sends(operation);
    bench.guest.answer_within(sent, PATIENT.limit + SOON).map(|answered| answered.answer.is_ok())
}

/// Claims that the host hears this.
fn hears(bench: &Bench, operation: Operation, success: bool) -> Result<(), String> {
    match asks(bench, operation) {
        Some(ok) if ok == success => Ok(()),
        Some(true) => Err(format!("{operation:?} was answered success")),
        Some(false) => Err(format!("{operation:?} was answered fail")),
        None => Err(format!("{operation:?} was not answered")),
    }
}

/// A backup: frozen, nothing written meanwhile, thawed.
fn backup(bench: &Bench) -> Result<(), String> {
    freeze(bench)?;
    hears(bench, Thaw, true)
}

/// FREEZE, and nothing can be written any more.
fn freeze(bench: &Bench) -> Result<(), String> {
    let sent = bench.guest.host_sends(Freeze);
    let Some(answered) = bench.guest.answer_within(sent, PATIENT.limit + SOON) else {
        return Err("FREEZE was not answered".to_owned());
    };
    if !answered.answer.is_ok() {
        return Err("FREEZE was answered fail".to_owned());
    }
    let frozen = hv_vss_stories::Monotonic::from_ns(answered.at_ns);
    std::thread::sleep(Duration::from_millis(25));
    let now = hv_vss_platform::clock::now();
    match bench.writers().find(|writer| writer.written_between(frozen, now).is_some()) {
        Some(writer) => Err(format!("{} was written to while everything was frozen", writer.disk)),
        None => Ok(()),
    }
}

impl Report {
    /// What was not as it must be. Empty: all is flat.
    ///
    /// The samples are split: what comes before `HISTORY` cycles, or before a fifth of a shorter run, is warm-up. Of the rest the second half is held
    /// against the first by its medians (memory, files) and its largest (descriptors, threads).
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut violations = self.lies.clone();
        for (cycle, usage) in &self.samples {
            violations.extend(usage.strays().into_iter().map(|stray| format!("after cycle {cycle}: {stray}")));
        }
        let warm = if self.cycles > 4 * HISTORY { HISTORY } else { self.cycles / 5 };
        let warmed: Vec<&Usage> =
            self.samples.iter().filter(|(cycle, _)| *cycle > warm).map(|(_, usage)| usage).collect();
        let (first, second) = warmed.split_at(warmed.len() / 2);
        if first.is_empty() || second.is_empty() {
            violations.push("there are too few samples to compare".to_owned());
            return violations;
        }
        let history = if self.cycles > 4 * HISTORY { 0 } else { RECORD_BYTES * self.cycles as u64 };
        for process in second[0].processes.keys() {
            let of = |samples: &[&Usage], pick: fn(&usage::Process) -> u64| -> Vec<u64> {
                samples.iter().filter_map(|usage| usage.processes.get(process)).map(pick).collect()
            };
            let memory = |samples: &[&Usage]| median(of(samples, |process| process.memory_bytes));
            let (before, after) = (memory(first), memory(second));
            let allowed = if process == "daemon" { MARGIN_BYTES + history } else { MARGIN_BYTES };
            if after > before + allowed {
                violations.push(format!("the memory of {process} grew from {before} to {after} bytes"));
            }
            for (what, pick) in [
                ("descriptors", (|process: &usage::Process| process.descriptors) as fn(&usage::Process) -> u64),
                ("threads", |process: &usage::Process| process.threads),
            ] {
                let most = |samples: &[&Usage]| of(samples, pick).into_iter().max().unwrap_or(0);
                let (before, after) = (most(first), most(second));
                if after > before + PASSING {
                    violations.push(format!("{process} has {after} {what}, and had {before}"));
                }
            }
        }
        let files = |samples: &[&Usage]| median(samples.iter().map(|usage| usage.state_bytes).collect());
        let (before, after) = (files(first), files(second));
        if after > before + before / 10 + history {
            violations.push(format!("the files in the state directory grew from {before} to {after} bytes"));
        }
        violations
    }

    /// The figures.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} cycles, seed {}, {:.0} s: {:.0} ms each\n",
            self.cycles,
            self.seed,
            self.took.as_secs_f64(),
            1000.0 * self.took.as_secs_f64() / self.cycles.max(1) as f64
        );
        for (trouble, count) in &self.troubles {
            let _ = writeln!(text, "  {count:>6} {trouble}");
        }
        let shown = self.samples.len().div_ceil(10).max(1);
        let _ = writeln!(text, "after cycle | process: KiB of anonymous memory, descriptors, threads | state files");
        for (at, (cycle, usage)) in self.samples.iter().enumerate() {
            if at % shown == 0 || at + 1 == self.samples.len() {
                let _ = writeln!(text, "{cycle:>6} | {usage}");
            }
        }
        text
    }
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::usage::Process;

    fn report(memory: impl Fn(usize) -> u64, descriptors: impl Fn(usize) -> u64) -> Report {
        let sample = |cycle: usize| {
            let process = Process { memory_bytes: memory(cycle), descriptors: descriptors(cycle), threads: 1 };
            let processes = crate::guest::PLUGINS.iter().map(|plugin| ((*plugin).to_owned(), process));
            let processes = processes.chain([("daemon".to_owned(), process)]).collect();
            (
                cycle,
                Usage {
                    processes,
                    children: 5,
                    below: 0,
                    zombies: 0,
                    state_bytes: 1000,
                    state_files: vec!["history.jsonl".into()],
                },
            )
        };
        let samples = (1..=50).map(|at| sample(at * 200)).collect();
        Report { seed: 1, cycles: 10_000, troubles: BTreeMap::new(), lies: Vec::new(), samples, took: Duration::ZERO }
    }

    #[test]
    fn what_stays_is_flat_and_what_grows_by_200_bytes_a_cycle_or_by_three_descriptors_is_found() {
        assert_eq!(report(|_| 8 << 20, |_| 20).violations(), Vec::<String>::new());
        let grows = report(|cycle| (8 << 20) + 300 * cycle as u64, |_| 20).violations();
        assert_eq!(grows.len(), 6, "{grows:?}");
        let leaks = report(|_| 8 << 20, |cycle| 20 + 3 * u64::from(cycle > 9000)).violations();
        assert!(leaks.iter().any(|leak| leak == "daemon has 23 descriptors, and had 20"), "{leaks:?}");
    }
}
