//! Which scripts run, in which order, and what of it is owed a thaw.

mod stage;

use std::time::{Duration, Instant};

use hv_vss_platform::clock;
use hv_vss_wire::{Level, Outcome};
use stage::{SOON, Stage, done, refusal};

#[test]
fn lower_numbers_freeze_first_and_higher_ones_thaw_first() {
    let Some(mut stage) = Stage::new() else { return };
    for name in ["50-web", "10-db.sh", "99-last", "00-first", "20-say.pre-freeze", "30-tell.post-thaw"] {
        stage.hook(name, "");
    }
    stage.open();

    assert_eq!(stage.freeze(), done());
    stage.the_scripts_did(&[
        "00-first freeze",
        "10-db.sh freeze",
        "20-say.pre-freeze freeze",
        "50-web freeze",
        "99-last freeze",
    ]);
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["99-last thaw", "50-web thaw", "30-tell.post-thaw thaw", "10-db.sh thaw", "00-first thaw"]);
}

#[test]
fn more_scripts_of_one_number_than_a_process_has_descriptors_for_all_run() {
    let Some(mut stage) = Stage::new() else { return };
    let names: Vec<String> = (100..220).map(|number| format!("50-{number}.pre-freeze")).collect();
    for name in &names {
        stage.hook(name, "");
    }
    stage.open();
    assert_eq!(stage.freeze(), done());
    let mut ran = stage.log();
    ran.sort();
    assert_eq!(ran, names.iter().map(|name| format!("{name} freeze")).collect::<Vec<_>>());
}

#[test]
fn a_second_thaw_runs_nothing_again() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    stage.hook("90-tell.post-thaw", "");
    stage.open();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["10-db freeze", "90-tell.post-thaw thaw", "10-db thaw"]);
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&[]);
}

#[test]
fn when_a_process_takes_over_in_the_middle_of_a_cycle_every_post_thaw_is_run_once() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    stage.hook("20-never", "");
    stage.hook("90-tell.post-thaw", "");
    stage.open();
    stage.outcome_is(Outcome::Aborted);
    // The orchestrator lives and knows what was started; a thaw comes only after a freeze was begun.
    assert_eq!(stage.thaw_owed(&["10-db"]), done());
    stage.the_scripts_did(&["90-tell.post-thaw thaw", "10-db thaw"]);
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&[]);
}

#[test]
fn a_thaw_after_a_restart_of_the_daemon_runs_what_the_record_names_and_nothing_else() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    stage.hook("90-tell.post-thaw", "");
    stage.open();
    stage.outcome_is(Outcome::Recovered);
    assert_eq!(stage.thaw_owed(&["10-db"]), done());
    stage.the_scripts_did(&["10-db thaw"]);
}

#[test]
fn an_orphaned_process_pays_what_it_owes_before_it_ends() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "[ $1 = freeze ] || note $HV_VSS_OUTCOME");
    stage.hook("50-mid", "");
    stage.hook("90-tell.post-thaw", "");
    stage.open();
    assert_eq!(stage.freeze(), done());
    stage.worker.hang_up();
    assert!(stage.worker.ended(clock::now() + SOON).is_some_and(|status| status.success()));
    let expected =
        ["10-db freeze", "50-mid freeze", "90-tell.post-thaw thaw", "50-mid thaw", "10-db thaw", "recovered"];
    stage.the_scripts_did(&expected);
}

#[test]
fn scripts_of_one_number_run_at_once() {
    let Some(mut stage) = Stage::new() else { return };
    // Each waits for all the others: one after the other they would never end.
    for letter in ["a", "b", "c", "d"] {
        stage.hook(
            &format!("10-{letter}"),
            "touch $GROUND/$1-$NAME; while [ $(ls $GROUND | grep -c \"^$1-\") -lt 4 ]; do sleep 0.01; done",
        );
    }
    stage.open();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.log().len(), 8);
}

#[test]
fn a_group_begins_only_when_the_last_of_the_group_before_has_ended() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-quick", "note \"$NAME over\"");
    stage.hook("10-slow", "sleep 0.3; note \"$NAME over\"");
    stage.hook("20-next", "");
    stage.open();
    assert_eq!(stage.freeze(), done());
    let log = stage.log();
    assert_eq!(log[3..], ["10-slow over", "20-next freeze"], "{log:?}");
}

#[test]
fn a_failing_script_fails_the_freeze_with_its_last_words_and_what_was_started_gets_its_thaw() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-ok", "");
    stage.hook("20-bad", "[ $1 = thaw ] || { echo first; echo 'no such database: shop' >&2; exit 3; }");
    stage.hook("30-never", "");
    stage.hook("40-tell.post-thaw", "note $HV_VSS_OUTCOME");
    stage.open();

    let reason = refusal(stage.freeze());
    assert!(reason.starts_with("20-bad freeze failed with exit status 3 after "), "{reason}");
    assert!(reason.ends_with("; output: first / no such database: shop"), "{reason}");
    stage.logs(Level::Warn, "20-bad freeze: first");
    stage.the_scripts_did(&["10-ok freeze", "20-bad freeze"]);

    stage.outcome_is(Outcome::Aborted);
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["40-tell.post-thaw thaw", "aborted", "20-bad thaw", "10-ok thaw"]);
}

#[test]
fn when_one_of_a_group_fails_the_others_are_killed_at_once_and_thawed() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-bad", "[ $1 = thaw ] || { while [ ! -e $GROUND/up ]; do sleep 0.01; done; exit 1; }");
    stage.hook("10-slow", "[ $1 = thaw ] || { touch $GROUND/up; sleep 600; }");
    stage.open();
    let began = Instant::now();
    let reason = refusal(stage.freeze());
    assert!(began.elapsed() < Duration::from_secs(8), "the limit was waited for");
    assert!(reason.starts_with("10-bad freeze failed with exit status 1"), "{reason}");
    assert!(reason.contains("10-slow freeze was ended after"), "{reason}");
    assert_eq!(stage.thaw(), done());
    let mut log = stage.log();
    log.sort();
    assert_eq!(log, ["10-bad freeze", "10-bad thaw", "10-slow freeze", "10-slow thaw"]);
}

#[test]
fn a_failing_thaw_is_shouted_about_and_the_others_still_run() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    stage.hook("50-bad", "[ $1 = freeze ] || { echo 'still locked'; exit 1; }");
    stage.hook("90-tell.post-thaw", "kill -9 $$");
    stage.open();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done(), "the answer does not change");
    assert_eq!(stage.log()[2..], ["90-tell.post-thaw thaw", "50-bad thaw", "10-db thaw"]);
    stage.logs(Level::Error, "50-bad thaw failed with exit status 1");
    stage.logs(Level::Error, "output: still locked");
    stage.logs(Level::Error, "90-tell.post-thaw thaw was ended by SIGKILL");
    let reported = stage.reported();
    assert_eq!(
        reported[4..],
        [
            "90-tell.post-thaw thaw started",
            "90-tell.post-thaw thaw failed",
            "50-bad thaw started",
            "50-bad thaw failed",
            "10-db thaw started",
            "10-db thaw ended",
        ]
    );
}

#[test]
fn a_script_that_is_not_required_may_fail() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-nice-to-have", "exit 1");
    stage.hook("20-db", "");
    stage.open_with(&[("hook", serde_json::json!({ "10-nice-to-have": { "required": false } }))]);
    assert_eq!(stage.freeze(), done());
    stage.logs(Level::Warn, "10-nice-to-have freeze failed with exit status 1");
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["10-nice-to-have freeze", "20-db freeze", "20-db thaw", "10-nice-to-have thaw"]);
}

#[test]
fn a_script_that_could_not_even_be_started_fails_the_freeze_and_is_owed_nothing() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-ok", "");
    // A file of a format that no kernel knows: its first bytes promise a program.
    std::fs::write(stage.hook("20-lost", ""), "\x7fELF, or so it says\n").unwrap();
    stage.open();
    let reason = refusal(stage.freeze());
    assert!(reason.starts_with("20-lost freeze did not run: could not be executed: Exec format error"), "{reason}");
    assert_eq!(stage.thaw(), done());
    let reported = stage.reported();
    assert!(!reported.contains(&"20-lost thaw started".to_owned()));
    // Else the orchestrator would go on believing that it owes it a thaw.
    assert!(reported.contains(&"20-lost thaw ended".to_owned()));
    stage.the_scripts_did(&["10-ok freeze", "10-ok thaw"]);
}

#[test]
fn a_new_process_thaws_what_an_earlier_one_started_and_nothing_else() {
    let Some(mut stage) = Stage::new() else { return };
    for name in ["10-db", "20-web", "30-never", "90-tell.post-thaw"] {
        stage.hook(name, "[ $1 = freeze ] || note $HV_VSS_OUTCOME");
    }
    stage.open();
    assert_eq!(stage.freeze(), done());
    stage.restart();
    std::fs::remove_file(stage.path("log")).unwrap();

    stage.outcome_is(Outcome::Recovered);
    let reason = refusal(stage.thaw_owed(&["10-db", "20-web", "90-tell.post-thaw", "55-gone"]));
    assert!(reason.starts_with("still owed: 55-gone thaw did not run: "), "{reason}");
    stage.the_scripts_did(&[
        "90-tell.post-thaw thaw",
        "recovered",
        "20-web thaw",
        "recovered",
        "10-db thaw",
        "recovered",
    ]);
    stage.logs(Level::Error, "55-gone thaw did not run: ");
    refusal(stage.thaw());
    stage.the_scripts_did(&[]);
}

#[test]
fn what_will_run_is_announced_before_anything_runs() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    stage.hook("20-say.pre-freeze", "");
    stage.hook("90-tell.post-thaw", "");
    stage.open();
    assert_eq!(stage.check(), done());
    stage.the_scripts_did(&[]);
    let planned: Vec<_> = stage
        .worker
        .said
        .iter()
        .filter_map(|event| match event {
            hv_vss_wire::Event::Substep { name, phase, progress: hv_vss_wire::Progress::Planned } => {
                Some((name.as_str(), *phase))
            }
            _ => None,
        })
        .collect();
    use hv_vss_wire::Phase::{Freeze, Thaw};
    assert_eq!(
        planned,
        [("10-db", Freeze), ("10-db", Thaw), ("20-say.pre-freeze", Freeze), ("90-tell.post-thaw", Thaw)]
    );
}
