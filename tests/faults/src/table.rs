//! The table of a run: for each driver and each subject, moments down and faults across; then what made no sense and why; then the totals.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use crate::campaign::{End, Played};
use crate::matrix::{Cell, Driver, Fault, Moment, Subject, driver_name, sense};

/// How many cells ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// At once.
    pub good: usize,
    /// When repeated alone.
    pub good_alone: usize,
    /// Not even then.
    pub failed: usize,
}

/// Counts.
#[must_use]
pub fn totals(played: &[Played]) -> Totals {
    let mut totals = Totals::default();
    for one in played {
        match one.end {
            End::Good => totals.good += 1,
            End::GoodAlone(_) => totals.good_alone += 1,
            End::Failed(_) => totals.failed += 1,
        }
    }
    totals
}

/// The whole table, as Markdown.
#[must_use]
pub fn text(played: &[Played]) -> String {
    let ends: HashMap<Cell, &End> = played.iter().map(|one| (one.cell, &one.end)).collect();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut text = String::new();
    for driver in [Driver::Ours, Driver::Base] {
        for &subject in Subject::ALL {
            let name = if driver == Driver::Ours { "our driver" } else { "the in-base driver" };
            let _ = writeln!(text, "\n#### {} ({name})\n", subject.name());
            let faults: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            let _ = writeln!(text, "| moment | {} |\n| --- |{}", faults.join(" | "), " --- |".repeat(faults.len()));
            for moment in Moment::all() {
                let cells = Fault::ALL.iter().map(|&fault| Cell { driver, subject, fault, moment });
                let shown: Vec<String> = cells.map(|cell| show(&cell, &ends, &mut reasons)).collect();
                if shown.iter().any(|shown| !shown.starts_with("n/a")) {
                    let _ = writeln!(text, "| {moment} | {} |", shown.join(" | "));
                }
            }
        }
    }
    let numbers: Vec<&str> = reasons.keys().copied().collect();
    let _ =
        writeln!(text, "\nWhat makes no sense (a moment at which nothing of a table makes sense has no line in it):\n");
    for (at, reason) in numbers.iter().enumerate() {
        let _ = writeln!(text, "- n/a {}: {reason} ({} cells)", at + 1, reasons[reason]);
    }
    number(text, &numbers)
}

fn show(cell: &Cell, ends: &HashMap<Cell, &End>, reasons: &mut BTreeMap<&str, usize>) -> String {
    if let Some(reason) = sense::none_because(cell) {
        *reasons.entry(reason).or_default() += 1;
        return format!("n/a {{{reason}}}");
    }
    match ends.get(cell) {
        None => "·".to_owned(),
        Some(End::Good) => "ok".to_owned(),
        Some(End::GoodAlone(_)) => "ok alone".to_owned(),
        Some(End::Failed(_)) => "**FAILED**".to_owned(),
    }
}

/// Numbers stand for the reasons.
fn number(mut text: String, reasons: &[&str]) -> String {
    for (at, reason) in reasons.iter().enumerate() {
        text = text.replace(&format!("{{{reason}}}"), &(at + 1).to_string());
    }
    text
}

/// Totals, and what had to be repeated.
#[must_use]
pub fn summary(played: &[Played], seed: u64) -> String {
    let Totals { good, good_alone, failed } = totals(played);
    let mut text = format!(
        "{} cells, seed {seed}: {good} good, {good_alone} good when repeated alone, {failed} failed\n",
        played.len()
    );
    for one in played {
        match &one.end {
            End::Good => {}
            End::GoodAlone(misses) => {
                let _ = writeln!(text, "repeated: {}: {}", one.cell, misses.join("; "));
            }
            End::Failed(misses) => {
                let _ = writeln!(text, "FAILED: {}: {}", one.cell, misses.join("; "));
            }
        }
    }
    for driver in [Driver::Ours, Driver::Base] {
        let count = played.iter().filter(|one| one.cell.driver == driver).count();
        let _ = writeln!(text, "driver {}: {count} cells", driver_name(driver));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::sensible;

    #[test]
    fn a_failed_cell_stands_out_and_what_makes_no_sense_has_a_number_with_its_reason() {
        let cell = sensible().next().unwrap();
        let played = [Played { cell, end: End::Failed(vec!["x".into()]), took: std::time::Duration::ZERO }];
        let text = text(&played);
        assert_eq!(text.matches("FAILED").count(), 1);
        assert!(!text.contains('{'), "every reason has become a number");
        assert!(text.contains("- n/a 1: "));
        assert_eq!(totals(&played).failed, 1);
    }
}
