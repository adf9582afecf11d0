//! What a script leaves in the background: after success it is left alone, keeps its pipes until the thaw has ended, and is buried by us.

mod stage;

use std::process::Command;
use std::time::Duration;

use stage::{Stage, becomes_true, done, lives, refusal};

/// A script that leaves a child in the background, which writes to its inherited stdout all the time, as a database client that holds a lock may.
const HOLDER: &str = r#"
if [ $1 = freeze ]; then
    (while :; do echo still holding; echo x >>$GROUND/beats; sleep 0.02; done) &
    echo $! >$GROUND/pid
else
    # It must have lived and been able to write until now.
    kill -0 $(cat $GROUND/pid) && note alive
    kill $(cat $GROUND/pid)
fi"#;

/// Leaves a child in a session of its own.
const LEAVES: &str = "apart 'echo $$ >'$GROUND'/pid; exec sleep 600' & while [ ! -s $GROUND/pid ]; do sleep 0.01; done";

fn pid(stage: &Stage) -> String {
    stage.lines("pid").concat()
}

#[test]
fn a_background_child_outlives_its_script_and_can_write_until_the_thaw() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-holder", HOLDER);
    // The ones after it must not disturb it either.
    stage.hook("20-next", "");
    stage.open();
    assert_eq!(stage.freeze(), done());
    let child = pid(&stage);
    let beats = stage.lines("beats").len();
    becomes_true("it goes on writing to the pipe", || stage.lines("beats").len() > beats + 10);
    assert!(lives(&child));
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["10-holder freeze", "20-next freeze", "20-next thaw", "10-holder thaw", "alive"]);
    becomes_true("it has ended", || !lives(&child));
}

#[test]
fn a_background_child_that_has_filled_its_pipe_is_read_again_during_the_thaw() {
    let Some(mut stage) = Stage::new() else { return };
    // It blocks in a write while frozen, since nobody reads then; the thaw waits until it has got through.
    stage.hook(
        "10-talker",
        "if [ $1 = freeze ]; then\n(sleep 0.1; head -c 300000 /dev/zero; touch $GROUND/through) &\nelse\n\
         while [ ! -e $GROUND/through ]; do sleep 0.01; done\nfi",
    );
    stage.open();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    assert!(stage.path("through").exists());
    let failed: Vec<_> = stage.reported().into_iter().filter(|line| line.ends_with("failed")).collect();
    assert_eq!(failed, [""; 0]);
}

#[test]
fn a_script_is_over_when_it_has_ended_whoever_holds_its_pipes() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-leaves", "sleep 600 & echo $! >$GROUND/pid");
    stage.open();
    assert_eq!(stage.freeze_within(Duration::from_secs(10)), done());
    assert!(lives(&pid(&stage)), "and it is not killed either");
    assert!(Command::new("kill").arg(pid(&stage)).status().unwrap().success());
}

#[test]
fn what_a_failed_freeze_left_behind_is_killed_and_holds_nothing() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-half", &format!("[ $1 = thaw ] && exit\n{LEAVES}\nexit 1"));
    stage.open();
    refusal(stage.freeze());
    becomes_true("its background child is gone", || !lives(&pid(&stage)));
}

#[test]
fn what_a_thaw_starts_is_left_alone_even_if_the_thaw_then_fails() {
    let Some(mut stage) = Stage::new() else { return };
    // Such as a database server that was started again.
    stage.hook("10-server.post-thaw", &format!("exec >/dev/null 2>&1\n{LEAVES}\nexit 1"));
    stage.open();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    assert!(lives(&pid(&stage)));
    assert!(Command::new("kill").arg(pid(&stage)).status().unwrap().success());
}

#[test]
fn nobody_stays_a_zombie() {
    let Some(mut stage) = Stage::new() else { return };
    // Orphans of scripts are inherited by the worker, which must bury them.
    stage.hook("10-orphans", "for i in 1 2 3 4 5; do sh -c 'sleep 0.05 & exit 0'; done");
    stage.open();
    for _ in 0..5 {
        assert_eq!(stage.freeze(), done());
        assert_eq!(stage.thaw(), done());
    }
    let worker = stage.worker.pid().to_string();
    becomes_true("the worker has no children left", || {
        assert_eq!(stage.check(), done());
        let ps = Command::new("ps").args(["-ax", "-o", "ppid="]).output().unwrap();
        !String::from_utf8(ps.stdout).unwrap().lines().any(|parent| parent.trim() == worker)
    });
}

#[test]
fn what_a_thaw_starts_keeps_a_working_output_while_its_plugin_is_idle() {
    let Some(mut stage) = Stage::new() else { return };
    // More than a pipe has room for, and after its script has ended.
    let service = "i=0; while [ $i -lt 300 ]; do head -c 1000 /dev/zero || exit; i=$((i + 1)); echo x >>$GROUND/beats; sleep 0.003; done";
    stage.hook("10-svc.post-thaw", &format!("({service}) & echo $! >$GROUND/pid"));
    stage.open();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    becomes_true("it has written all that it had to", || stage.lines("beats").len() == 300);
    becomes_true("it has ended", || !lives(&pid(&stage)));
}
