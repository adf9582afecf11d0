//! A process that a script started, and that has ended, is reaped at once: while scripts run, while held, and while idle. rc.subr stops a service by
//! kill(2) and waits while `kill -0` succeeds.

mod stage;

use std::process::Command;

use stage::{Stage, becomes_true, done};

/// Stops a service before the freeze and starts it after the thaw, as service(8) does.
const SERVICE: &str = r#"
if [ $1 = freeze ]; then
    [ -s $GROUND/pid ] || exit 0
    pid=$(cat $GROUND/pid)
    kill $pid
    while kill -0 $pid 2>/dev/null; do sleep 0.01; done
else
    sleep 600 >/dev/null 2>&1 &
    echo $! >$GROUND/pid
fi"#;

/// Whether kill(2) with signal 0 succeeds, as it does for a dead process that was not reaped.
fn answers(pid: &str) -> bool {
    Command::new("sh").args(["-c", &format!("kill -0 {pid} 2>/dev/null")]).status().expect("sh(1)").success()
}

fn kill(pid: &str) {
    assert!(Command::new("kill").arg(pid).status().expect("kill(1)").success());
}

#[test]
fn a_service_is_stopped_and_started_by_hooks_backup_after_backup() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-svc", SERVICE);
    stage.open_with(&[("limit", "5s".into())]);
    for _ in 0..3 {
        assert_eq!(stage.freeze(), done());
        assert_eq!(stage.thaw(), done());
    }
    kill(&stage.lines("pid").concat());
}

#[test]
fn a_service_that_is_stopped_between_backups_is_gone_at_once() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-svc", SERVICE);
    stage.open();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    let pid = stage.lines("pid").concat();
    kill(&pid);
    becomes_true("it no longer answers kill -0", || !answers(&pid));
}

#[test]
fn a_process_in_the_background_that_ends_while_held_is_gone_at_once() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-lock", "[ $1 = thaw ] || { sleep 600 & echo $! >$GROUND/pid; }");
    stage.open();
    assert_eq!(stage.freeze(), done());
    let pid = stage.lines("pid").concat();
    kill(&pid);
    becomes_true("it no longer answers kill -0", || !answers(&pid));
    assert_eq!(stage.thaw(), done());
}
