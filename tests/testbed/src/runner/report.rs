//! What is printed, and what is kept for `prove`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::job::Ended;
use crate::tally::{Needs, Tally, remedies};

/// All programs that ran, with their counts.
#[derive(Debug)]
pub(crate) struct Report {
    ran: Vec<(Ended, Tally)>,
}

/// A test: its program's name and its own.
pub(crate) type Test = (String, String);

/// One program's output, under a line that names it.
pub(crate) fn piece(ended: &Ended) -> String {
    format!("\n     Running {} ({:.1} s)\n{}\n", ended.name, ended.took.as_secs_f64(), ended.output.trim_end())
}

impl Report {
    pub(crate) fn of(ended: Vec<Ended>) -> Self {
        Self { ran: ended.into_iter().map(|ended| (ended.clone(), Tally::of(&ended))).collect() }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.ran.iter().all(|(_, tally)| tally.failed.is_empty())
    }

    /// Failures with the command that runs each alone, what would make the skipped ones run, and
    /// the count.
    pub(crate) fn ending(&self) -> String {
        let mut text = "\n".to_owned();
        for (ended, tally) in &self.ran {
            for test in &tally.failed {
                let _ = writeln!(text, "failed: {}: {test} ({})", ended.name, ended.command);
            }
        }
        let skipped: Vec<&Needs> = self.ran.iter().flat_map(|(_, tally)| tally.skipped.values()).collect();
        for line in remedies(&skipped) {
            let _ = writeln!(text, "{line}");
        }
        if !skipped.is_empty() {
            text.push_str("skipped: `make setup` (Debian, as root) installs all packages\n");
        }
        let _ = writeln!(text, "{}", self.count());
        text
    }

    /// `N passed, M failed, K skipped`.
    pub(crate) fn count(&self) -> String {
        let sum = |of: fn(&Tally) -> usize| self.ran.iter().map(|(_, tally)| of(tally)).sum::<usize>();
        let (passed, failed, skipped) = (sum(|t| t.passed), sum(|t| t.failed.len()), sum(|t| t.skipped.len()));
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// How many tests there were.
    #[cfg(target_os = "linux")]
    pub(crate) fn tests(&self) -> usize {
        self.ran.iter().map(|(_, tally)| tally.passed + tally.failed.len() + tally.skipped.len()).sum()
    }

    /// What each test declared.
    pub(crate) fn declared(&self) -> BTreeMap<Test, Needs> {
        self.each(|tally| &tally.declared)
    }

    /// Which tests were skipped.
    #[cfg(target_os = "linux")]
    pub(crate) fn skipped(&self) -> BTreeMap<Test, Needs> {
        self.each(|tally| &tally.skipped)
    }

    fn each(&self, of: fn(&Tally) -> &BTreeMap<String, Needs>) -> BTreeMap<Test, Needs> {
        let mut all: BTreeMap<Test, Needs> = BTreeMap::new();
        for (ended, tally) in &self.ran {
            for (test, needs) in of(tally) {
                all.entry((ended.name.clone(), test.clone())).or_default().extend(needs.iter().cloned());
            }
        }
        all
    }

    /// Keeps how long each program took, what each test declared, and what cargo said.
    pub(crate) fn keep(&self, directory: &Path, messages: &str) -> Result<(), String> {
        let mut times: Vec<(u128, &str)> =
            self.ran.iter().map(|(ended, _)| (ended.took.as_millis(), ended.name.as_str())).collect();
        times.sort_unstable();
        let times: String = times.iter().rev().map(|(ms, name)| format!("{ms} {name}\n")).collect();
        let written = fs::write(directory.join("times"), times)
            .and_then(|()| fs::write(directory.join("needs"), lines(&self.declared())))
            .and_then(|()| fs::write(directory.join("messages"), messages));
        written.map_err(|error| format!("{}: {error}", directory.display()))
    }
}

/// Program, test and needs, separated by tabs.
pub(crate) fn lines(tests: &BTreeMap<Test, Needs>) -> String {
    let line = |((program, test), needs): (&Test, &Needs)| {
        format!("{program}\t{test}\t{}\n", needs.iter().cloned().collect::<Vec<_>>().join(","))
    };
    tests.iter().map(line).collect()
}

/// What [`lines`] wrote.
#[cfg(target_os = "linux")]
pub(crate) fn read(text: &str) -> BTreeMap<Test, Needs> {
    let line = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        let test = (fields.next()?, fields.next()?);
        Some((test, fields.next()?.split(',').map(str::to_owned).collect()))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Kind;
    use std::time::Duration;

    fn report(output: &str, record: &str, failure: Option<&str>) -> Report {
        Report::of(vec![Ended {
            name: "trust/tests/trust.rs".into(),
            command: "scripts/test -p hv-vss-trust --test trust".into(),
            kind: Kind::Libtest,
            output: output.into(),
            failure: failure.map(str::to_owned),
            record: record.into(),
            took: Duration::ZERO,
        }])
    }

    #[test]
    fn the_last_line_is_the_count_and_the_remedy_stands_before_it() {
        let good = report("test result: ok. 3 passed; 0 failed;\n", "skipped\ta\tbmake\n", None);
        assert!(good.is_good());
        let ending = good.ending();
        assert_eq!(ending.lines().last(), Some("2 passed, 0 failed, 1 skipped"));
        assert!(ending.contains("1 test needs bmake: install the package bmake"), "{ending}");
    }

    #[test]
    fn a_failure_is_named_with_the_command_that_repeats_it() {
        let bad = report("failures:\n    a\n\ntest result: FAILED. 3 passed; 1 failed;\n", "", Some("x"));
        assert!(!bad.is_good());
        assert!(bad.ending().contains("trust.rs: a (scripts/test -p hv-vss-trust --test trust)"), "{}", bad.ending());
        assert_eq!(bad.count(), "3 passed, 1 failed, 0 skipped");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_declared_is_read_as_it_was_kept() {
        let declared = report("", "needs\ta\troot,bmake\nneeds\tb\tstrace\n", None).declared();
        assert_eq!(declared.len(), 2);
        assert_eq!(read(&lines(&declared)), declared);
    }
}
