//! Counting: what a program's output and its record say about its tests.

use std::collections::{BTreeMap, BTreeSet};

use hv_vss_testbed::Need;

use crate::job::{Ended, Kind};

/// A test's needs.
pub(crate) type Needs = BTreeSet<String>;

/// One program's tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    /// By name; a program that died has its own end in place of a name.
    pub(crate) failed: Vec<String>,
    /// Test, and what it lacked.
    pub(crate) skipped: BTreeMap<String, Needs>,
    /// Test, and all that it declared.
    pub(crate) declared: BTreeMap<String, Needs>,
}

impl Tally {
    pub(crate) fn of(ended: &Ended) -> Self {
        let mut tally = Self::default();
        tally.read_record(&ended.record);
        let (passed, failed) = match ended.kind {
            Kind::Libtest => libtest(&ended.output),
            Kind::Module => module(&ended.output),
        };
        tally.failed = failed;
        if let Some(how) = &ended.failure
            && tally.failed.is_empty()
        {
            tally.failed.push(how.clone());
        }
        // A skipped test has passed, as far as libtest can see; a module does not count it.
        let skipped_as_passed = if ended.kind == Kind::Libtest { tally.skipped.len() } else { 0 };
        tally.passed = passed.saturating_sub(skipped_as_passed);
        tally
    }

    fn read_record(&mut self, record: &str) {
        for line in record.lines() {
            let mut fields = line.split('\t');
            let (Some(what), Some(test), Some(needs)) = (fields.next(), fields.next(), fields.next()) else { continue };
            let into = if what == "skipped" { &mut self.skipped } else { &mut self.declared };
            into.entry(test.to_owned()).or_default().extend(needs.split(',').map(str::to_owned));
        }
    }
}

/// The number that passed, and the names of those that failed.
fn libtest(output: &str) -> (usize, Vec<String>) {
    let mut passed = 0;
    let mut failed = Vec::new();
    let mut listed = Vec::new();
    let mut in_list = false;
    for line in output.lines() {
        if let Some(counts) = line.strip_prefix("test result: ") {
            passed += number_before(counts, " passed");
            let count = number_before(counts, " failed");
            // The list is the last thing before the result; a test's own output may look like one.
            let names: Vec<String> = listed.split_off(listed.len().saturating_sub(count));
            failed.extend(names);
            listed.clear();
            in_list = false;
        } else if line == "failures:" {
            in_list = true;
            listed.clear();
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| in_list) {
            listed.push(name.to_owned());
        }
    }
    (passed, failed)
}

/// The last line is `N passed, M failed`; each failure has a line `not ok ...`.
fn module(output: &str) -> (usize, Vec<String>) {
    let last = output.lines().rev().find(|line| line.ends_with(" failed")).unwrap_or_default();
    let failed = output.lines().filter_map(|line| line.strip_prefix("not ok ")).map(str::to_owned);
    (number_before(last, " passed"), failed.collect())
}

fn number_before(text: &str, word: &str) -> usize {
    let number = text.split(word).next().and_then(|before| before.rsplit([' ', '.']).next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What would make the skipped ones run: a line for each need, the most wanted first.
pub(crate) fn remedies(skipped: &[&Needs]) -> Vec<String> {
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for needs in skipped {
        needs.iter().for_each(|need| *wanted.entry(need).or_default() += 1);
    }
    let mut wanted: Vec<(&str, usize)> = wanted.into_iter().collect();
    wanted.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let line = |(name, count): (&str, usize)| {
        let tests = if count == 1 { "1 test needs".to_owned() } else { format!("{count} tests need") };
        let remedy = Need::named(name).map_or_else(String::new, |need| format!(": {}", need.remedy()));
        format!("skipped: {tests} {name}{remedy}")
    };
    wanted.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ended(kind: Kind, output: &str, record: &str, failure: Option<&str>) -> Ended {
        Ended {
            name: "x".into(),
            command: "scripts/test".into(),
            kind,
            output: output.into(),
            failure: failure.map(str::to_owned),
            record: record.into(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_skipped_test_is_not_counted_as_passed() {
        let output = "test a ... ok\ntest b ... ok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
        let record = "needs\ta\troot,bmake\nskipped\ta\tbmake\nneeds\tb\troot\nneeds\tb\tstrace\n";
        let tally = Tally::of(&ended(Kind::Libtest, output, record, None));
        assert_eq!((tally.passed, tally.failed.len(), tally.skipped.len()), (1, 0, 1));
        assert_eq!(tally.declared["b"], ["root", "strace"].map(str::to_owned).into());
    }

    #[test]
    fn failed_tests_are_named_and_their_own_output_is_not_taken_for_names() {
        let output = "failures:\n\n---- a stdout ----\n    left: 1\n\nfailures:\n    a\n    b::c\n\n\
                      test result: FAILED. 7 passed; 2 failed; 0 ignored\n";
        let tally = Tally::of(&ended(Kind::Libtest, output, "", Some("it ended with 101")));
        assert_eq!((tally.passed, tally.failed), (7, vec!["a".to_owned(), "b::c".to_owned()]));
    }

    #[test]
    fn a_program_that_dies_without_a_word_has_failed() {
        let tally = Tally::of(&ended(Kind::Libtest, "running 3 tests\n", "", Some("it ended with signal: 11")));
        assert_eq!(tally.failed, ["it ended with signal: 11"]);
        let tally = Tally::of(&ended(Kind::Module, "cc: no such file\n", "", Some("it ended with 2")));
        assert_eq!(tally.failed, ["it ended with 2"]);
    }

    #[test]
    fn a_modules_last_line_is_its_count() {
        let tally = Tally::of(&ended(Kind::Module, "== test_ic\nnot ok late\n89 passed, 1 failed\n", "", Some("x")));
        assert_eq!((tally.passed, tally.failed), (89, vec!["late".to_owned()]));
    }

    #[test]
    fn what_is_lacked_most_is_said_first_with_its_remedy() {
        let needs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Needs>();
        let (one, two) = (needs(&["bmake"]), needs(&["bmake", "root"]));
        let said = remedies(&[&one, &two]);
        assert_eq!(said[0], "skipped: 2 tests need bmake: install the package bmake");
        assert_eq!(said[1], "skipped: 1 test needs root: run the tests as root");
    }
}
