//! What vssctl draws of any cycle: it fits, names what went wrong, and steers nothing.

use hv_vss_core::history::History;
use hv_vss_core::record::{CycleResult, Ending, Kind, Record, StepRecord, What};
use proptest::collection::vec;
use proptest::prelude::*;
use vssctl::{Paper, timeline};

fn what() -> impl Strategy<Value = What> {
    use What::{
        Answer, Flush, FreezeApp, FreezeFilesystem, FreezeScript, Hold, Survey, ThawApp, ThawFilesystem, ThawScript,
    };
    prop::sample::select(vec![
        Survey,
        Flush,
        FreezeApp,
        FreezeScript,
        FreezeFilesystem,
        Hold,
        ThawFilesystem,
        ThawApp,
        ThawScript,
        Answer,
    ])
}

/// Times of a cycle, and those of a file that somebody else wrote.
fn ms() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..100_000.0, 1 => any::<f64>().prop_filter("a number that JSON has", |ms| ms.is_finite()), 1 => Just(0.0)]
}

fn step() -> impl Strategy<Value = StepRecord> {
    let failure = proptest::option::weighted(0.2, "[a-z]{1,8}( [a-z]{1,8}){0,12}");
    (
        what(),
        prop_oneof!["/[a-z/]{0,40}", "[0-9]{2}-[a-z.]{1,20}", any::<String>()],
        ms(),
        proptest::option::of(ms()),
        failure,
    )
        .prop_map(|(what, name, from_ms, to_ms, failure)| StepRecord { what, name, from_ms, to_ms, failure })
}

fn record() -> impl Strategy<Value = Record> {
    let result =
        prop::sample::select(vec![None, Some(CycleResult::Ok), Some(CycleResult::Failed), Some(CycleResult::Expired)]);
    let kind = prop::sample::select(vec![Kind::Check, Kind::Backup, Kind::Rehearsal]);
    (
        kind,
        result,
        prop_oneof![4 => 0..60_000_u64, 1 => any::<u64>()],
        vec(step(), 0..20),
        proptest::option::of(any::<u64>()),
    )
        .prop_map(|(kind, result, budget_ms, steps, frozen_ms)| {
            let made = Record {
                version: 1,
                cycle: "20261122-225950".to_owned(),
                kind,
                began_ms: 1_795_388_390_123,
                budget_ms,
                ending: Ending { result, sentence: "done as asked".to_owned(), ..Ending::default() },
                answers: Vec::new(),
                steps,
                frozen_ms,
            };
            // It comes from a file or over a socket, and so as text.
            serde_json::from_str(&serde_json::to_string(&made).expect("it can be written")).expect("what we wrote")
        })
}

proptest! {
    #![proptest_config(crate::tried())]

    #[test]
    fn every_cycle_is_drawn_within_the_terminal(record in record(), width in 48..=120_usize, unicode: bool) {
        let drawn = timeline::terminal(&record, &Paper { width, colour: false, unicode });
        for line in drawn.lines() {
            // A word of a failure's sentence is never torn, and none here is longer than the narrowest line.
            prop_assert!(line.chars().count() <= width, "{} columns in {}:\n{}", line.chars().count(), width, drawn);
            prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
        }
    }

    #[test]
    fn every_failure_is_told_in_words_below_the_picture(record in record()) {
        let drawn = timeline::terminal(&record, &Paper { width: 120, colour: false, unicode: true });
        let flat = drawn.split_whitespace().collect::<Vec<_>>().join(" ");
        let steps = record.steps.iter().filter(|step| step.what != What::Hold);
        let failures: Vec<&str> = steps.filter_map(|step| step.failure.as_deref()).collect();
        for failure in &failures {
            // What several steps say of the same is told once: in the words that the others repeat.
            let told = failures.iter().any(|other| flat.contains(other) && (failure.contains(other) || other.contains(failure)));
            prop_assert!(told, "{} in\n{}", failure, drawn);
        }
    }

    #[test]
    fn every_picture_is_drawn_with_numbers_that_are_some(record in record()) {
        let picture = timeline::svg(&record);
        for wrong in ["=\"NaN", "=\"inf", "=\"-inf"] {
            prop_assert!(!picture.contains(wrong), "{} in {}", wrong, picture);
        }
    }

    #[test]
    fn every_history_is_read_as_it_was_written(records in vec(record(), 0..6)) {
        let mut history = History::default();
        records.iter().cloned().for_each(|record| history.add(record));
        let again = History::parse(&history.text().expect("it can be written"));
        prop_assert_eq!(again.damage.as_ref(), None);
        prop_assert_eq!(again.records().len(), records.len());
        for (one, other) in again.records().zip(&records) {
            prop_assert_eq!((&one.cycle, one.ending.result, one.steps.len()), (&other.cycle, other.ending.result, other.steps.len()));
        }
    }
}
