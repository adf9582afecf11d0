//! Are the skips what the tests declare? After a whole run all tests run again on a machine that
//! lacks something, once for each [`Scenario`]. Nothing may fail, and exactly those tests may be
//! skipped that declared something that was not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Places;
use crate::report::{Test, read};
use crate::scenario::{RESULTS, Scenario};
use crate::tally::Needs;

/// Plays every scenario. True if all were as declared.
pub(crate) fn prove(places: &Places) -> Result<bool, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can hide what a scenario has not".to_owned());
    }
    let needs = places.kept().join("needs");
    let declared = fs::read_to_string(&needs)
        .map_err(|error| format!("{}: {error}: run scripts/test without arguments first", needs.display()))?;
    let declared = read(&declared);
    let mut good = true;
    for scenario in Scenario::ALL {
        let wrong = Scene::set(scenario)?.play(places, &declared)?;
        wrong.iter().for_each(|line| println!("  {line}"));
        good &= wrong.is_empty();
    }
    Ok(good)
}

/// A directory that every user may write into.
struct Scene {
    scenario: Scenario,
    directory: PathBuf,
}

impl Scene {
    fn set(scenario: Scenario) -> Result<Self, String> {
        let directory = std::env::temp_dir().join(format!("hv-vss-{}-{}", scenario.name(), std::process::id()));
        fs::create_dir(&directory)
            .and_then(|()| fs::set_permissions(&directory, Permissions::from_mode(0o777)))
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Self { scenario, directory })
    }

    /// Says how it went, and gives what was wrong.
    fn play(&self, places: &Places, declared: &BTreeMap<Test, Needs>) -> Result<Vec<String>, String> {
        let began = Instant::now();
        let log = places.kept().join(self.scenario.name()).with_extension("log");
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let both = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        let here = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let status = Command::new(here)
            .args(["play", self.scenario.name()])
            .arg(&self.directory)
            // Here skips are what is looked for.
            .env_remove(hv_vss_testbed::NO_SKIP)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(both)
            .status()
            .map_err(|error| format!("this program: {error}"))?;
        let said = fs::read_to_string(&log).unwrap_or_default();
        let count = said.lines().last().unwrap_or_default();
        println!("{}: {count} ({} s; {})", self.scenario.name(), began.elapsed().as_secs(), log.display());
        let mut wrong: Vec<String> =
            said.lines().filter(|line| line.starts_with("failed: ")).map(str::to_owned).collect();
        if !status.success() && wrong.is_empty() {
            wrong.push(format!("it ended with {status}: {count}"));
        }
        let results = RESULTS.map(|name| fs::read_to_string(self.directory.join(name)).unwrap_or_default());
        let [tests, unmet, skipped] = &results;
        let unmet: Needs = unmet.lines().map(str::to_owned).collect();
        wrong.extend(differences(declared, &unmet, &read(skipped)));
        if tests.parse::<usize>().unwrap_or(0) == 0 {
            wrong.push("no test was run".to_owned());
        }
        Ok(wrong)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // What can't be removed does no harm.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Tests that were skipped and should not have been, and the other way round.
fn differences(declared: &BTreeMap<Test, Needs>, unmet: &Needs, skipped: &BTreeMap<Test, Needs>) -> Vec<String> {
    let expected: BTreeSet<&Test> =
        declared.iter().filter(|(_, needs)| !needs.is_disjoint(unmet)).map(|(test, _)| test).collect();
    let named = |(program, test): &Test| format!("{program}: {test}");
    let not_skipped = expected.iter().filter(|test| !skipped.contains_key(**test));
    let not_skipped =
        not_skipped.map(|test| format!("not skipped, although it declared {:?}: {}", declared[*test], named(test)));
    let not_declared = skipped.iter().filter(|(test, _)| !expected.contains(test));
    let not_declared =
        not_declared.map(|(test, lacked)| format!("skipped for {lacked:?}, which it never declared: {}", named(test)));
    not_skipped.chain(not_declared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(of: &[(&str, &[&str])]) -> BTreeMap<Test, Needs> {
        let one = |(name, needs): &(&str, &[&str])| {
            (("p".to_owned(), (*name).to_owned()), needs.iter().map(|need| (*need).to_owned()).collect())
        };
        of.iter().map(one).collect()
    }

    #[test]
    fn skips_as_declared_are_no_difference() {
        let declared = tests(&[("a", &["root", "bmake"]), ("b", &["root"])]);
        let unmet = Needs::from(["bmake".to_owned()]);
        assert_eq!(differences(&declared, &unmet, &tests(&[("a", &["bmake"])])), [""; 0]);
    }

    #[test]
    fn a_test_that_was_not_skipped_and_one_that_was_for_nothing_are_named() {
        let declared = tests(&[("a", &["root", "bmake"]), ("b", &["root"])]);
        let unmet = Needs::from(["bmake".to_owned()]);
        let said = differences(&declared, &unmet, &tests(&[("b", &["root"])]));
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("not skipped") && said[0].ends_with("p: a"), "{said:?}");
        assert!(said[1].starts_with("skipped for") && said[1].ends_with("p: b"), "{said:?}");
    }
}
