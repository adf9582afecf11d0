//! Descriptors, processes or memory are short for a moment: a freeze is refused, and a thaw is tried again until it has run.
#![cfg(target_os = "linux")] // prlimit(1)

mod stage;

use std::process::Command;
use std::thread;
use std::time::Duration;

use hv_vss_wire::Level;
use stage::{Stage, done, refusal};

fn descriptors(stage: &Stage, most: u64) {
    let pid = stage.worker.pid().to_string();
    let limit = format!("--nofile={most}:");
    assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit(1)").success());
}

#[test]
fn with_few_descriptors_every_script_of_a_number_has_its_thaw() {
    let Some(mut stage) = Stage::new() else { return };
    let names: Vec<String> = (0..16).map(|at| format!("10-{at:02}")).collect();
    for name in &names {
        // Each leaves a child that keeps the script's output.
        stage.hook(name, "sleep 600 & echo $! >>$GROUND/pids");
    }
    descriptors(&stage, 64);
    stage.open();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    let mut log = stage.log();
    log.sort();
    let expected: Vec<String> =
        names.iter().flat_map(|name| [format!("{name} freeze"), format!("{name} thaw")]).collect();
    assert_eq!(log, expected);
    for pid in stage.lines("pids") {
        let _ = Command::new("kill").arg(pid).status();
    }
}

#[test]
fn a_thaw_waits_until_there_are_descriptors_again() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-a", "");
    stage.hook("20-b", "");
    stage.open();
    assert_eq!(stage.freeze(), done());
    descriptors(&stage, 4);
    let pid = stage.worker.pid().to_string();
    let later = thread::spawn(move || {
        thread::sleep(Duration::from_millis(400));
        assert!(Command::new("prlimit").args(["--pid", &pid, "--nofile=256:"]).status().unwrap().success());
    });
    assert_eq!(stage.thaw(), done());
    later.join().unwrap();
    stage.the_scripts_did(&["10-a freeze", "20-b freeze", "20-b thaw", "10-a thaw"]);
    stage.logs(Level::Warn, "can't be started yet and is tried again");
}

#[test]
fn a_thaw_for_which_no_descriptors_come_back_is_still_owed_and_runs_later() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-a", "");
    stage.open();
    assert_eq!(stage.freeze(), done());
    descriptors(&stage, 4);
    let reason = refusal(stage.thaw_within(Duration::from_secs(2), &[]));
    assert!(
        reason.starts_with("still owed: 10-a thaw did not run: ") && reason.contains("Too many open files"),
        "{reason}"
    );
    descriptors(&stage, 256);
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["10-a freeze", "10-a thaw"]);
}

#[test]
fn a_freeze_without_descriptors_is_refused_at_once() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-a", "");
    stage.open();
    assert_eq!(stage.check(), done());
    descriptors(&stage, 4);
    let reason = refusal(stage.freeze());
    assert!(reason.contains("Too many open files"), "{reason}");
    descriptors(&stage, 256);
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&[]);
}
