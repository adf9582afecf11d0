//! The one rule for skipping: a test whose needs are not met says so and returns; where nothing may
//! be skipped, it fails.
//!
//! Each declaration and each skip is also a line in the file that [`RECORD`] names, for the
//! runner, which counts skips and compares them with the declarations (`scripts/test --prove`).

use std::env;
use std::fs::File;
use std::io::Write;

use crate::Need;

/// Set where nothing may be skipped. The only spelling of it.
pub const NO_SKIP: &str = "HV_VSS_NO_SKIP";
/// Names the file that gets a line for each declaration and each skip: `needs` or `skipped`, the
/// test, the needs, separated by tabs; the needs by commas.
pub const RECORD: &str = "HV_VSS_TEST_RECORD";

/// Declares what a test needs. Where something is missing, it returns from the test, or gives `None`
/// from the function that sets a test's stage.
#[macro_export]
macro_rules! needs {
    ($($need:ident),+ $(,)?) => {
        if !$crate::can_run(&[$($crate::Need::$need),+]) {
            return ::core::default::Default::default();
        }
    };
}

/// Whether this test can be run here. Says by name what is skipped, and why.
///
/// # Panics
/// When something is missing and nothing may be skipped.
#[must_use]
#[track_caller]
pub fn can_run(needs: &[Need]) -> bool {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test without a name");
    // A thread that a test started has no name; the test has declared the same.
    if thread.name().is_some() {
        record("needs", test, needs);
    }
    let lacking: Vec<Need> = needs.iter().copied().filter(|need| !need.is_met()).collect();
    if lacking.is_empty() {
        return true;
    }
    let names = names(&lacking, ", ");
    if env::var_os(NO_SKIP).is_some() {
        let remedies: Vec<String> = lacking.iter().map(|need| need.remedy()).collect();
        panic!("{test} can't run here, and {NO_SKIP} is set: it needs {names}; {}", remedies.join("; "));
    }
    record("skipped", test, &lacking);
    // Not through eprintln!, which the test harness would swallow.
    let _ = std::io::stderr().write_all(format!("skipped: {test}: needs {names}\n").as_bytes());
    false
}

/// What of these this machine lacks, as a sentence without its subject; none if nothing.
#[must_use]
pub fn missing(needs: &[Need]) -> Option<String> {
    let lacking: Vec<Need> = needs.iter().copied().filter(|need| !need.is_met()).collect();
    let remedies: Vec<String> = lacking.iter().map(|need| need.remedy()).collect();
    (!lacking.is_empty()).then(|| format!("needs {}: {}", names(&lacking, ", "), remedies.join("; ")))
}

fn names(needs: &[Need], between: &str) -> String {
    needs.iter().map(|need| need.name()).collect::<Vec<_>>().join(between)
}

/// In one write, so that lines of threads and processes stay whole.
fn record(what: &str, test: &str, needs: &[Need]) {
    let Some(path) = env::var_os(RECORD) else { return };
    let line = format!("{what}\t{test}\t{}\n", names(needs, ","));
    let written =
        File::options().append(true).create(true).open(&path).and_then(|mut file| file.write_all(line.as_bytes()));
    // A skip that is not counted would look like a test that passed.
    written.unwrap_or_else(|error| panic!("can't record in {}: {error}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let lacking: Vec<Need> = Need::ALL.into_iter().filter(|need| !need.is_met()).collect();
        match missing(&Need::ALL) {
            None => assert!(lacking.is_empty(), "{lacking:?}"),
            Some(said) => {
                for need in lacking {
                    assert!(said.contains(need.name()) && said.contains(&need.remedy()), "{said}");
                }
            }
        }
        assert_eq!(missing(&[]), None);
    }
}
