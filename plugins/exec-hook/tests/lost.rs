//! Exit status 79: a thaw script says that its application was not at rest for the whole hold.

mod stage;

use hv_vss_wire::{Answer, Level};
use stage::{Ended, Stage, done, refusal};

#[test]
fn exit_status_79_of_a_thaw_is_told_as_a_hold_that_was_lost() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-a", "");
    stage.hook("30-mariadb", "[ $1 = freeze ] || { echo 'the lock was lost before the thaw'; exit 79; }");
    stage.open();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), Ended::Answered(Answer::Done { claims: vec![], held: false }));
    stage.logs(Level::Error, "30-mariadb thaw: its application was not at rest for the whole hold (exit status 79)");
    stage.logs(Level::Error, "the hold was lost before the thaw: 30-mariadb thaw");
    stage.the_scripts_did(&["10-a freeze", "30-mariadb freeze", "30-mariadb thaw", "10-a thaw"]);
}

#[test]
fn exit_status_79_of_a_freeze_is_a_failure_like_any_other() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-a", "[ $1 = thaw ] || exit 79");
    stage.open();
    assert!(refusal(stage.freeze()).starts_with("10-a freeze failed with exit status 79"));
    assert_eq!(stage.thaw(), done());
}
