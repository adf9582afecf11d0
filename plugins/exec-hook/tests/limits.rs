//! What a script can't do: outlast its limit, leave somebody behind who does, hold up the cycle, flood the log.

mod stage;

use std::time::{Duration, Instant};

use hv_vss_platform::clock;
use hv_vss_wire::{Call, Level};
use serde_json::json;
use stage::{SOON, Stage, becomes_true, done, lives, refusal};

/// A script body that leaves descendants of every kind, notes their numbers, and hangs: a child, a grandchild, one in a session of its own, one
/// whose parents have ended, and all of them deaf to anything but SIGKILL.
const HYDRA: &str = r#"[ $1 = freeze ] || exit 0
trap "" TERM HUP INT PIPE
sleep 600 & echo $! >>$GROUND/pids
(trap "" TERM HUP; sleep 600 & echo $! >>$GROUND/pids; wait) &
apart 'trap "" TERM HUP; echo $$ >>'$GROUND'/pids; sleep 600' &
(apart 'trap "" TERM HUP; echo $$ >>'$GROUND'/pids; exec sleep 600' & exit 0)
echo $$ >>$GROUND/pids
while [ $(wc -l <$GROUND/pids) -lt 5 ]; do sleep 0.01; done
echo hanging
sleep 600"#;

#[track_caller]
fn all_five_are_dead(stage: &Stage) {
    let pids = stage.lines("pids");
    assert_eq!(pids.len(), 5, "all were there: {pids:?}");
    becomes_true("every process of the script is gone", || pids.iter().all(|pid| !lives(pid)));
}

#[test]
fn at_its_limit_a_script_is_killed_with_all_that_descends_from_it() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-hydra", HYDRA);
    stage.open_with(&[("limit", json!("1500ms"))]);
    let began = Instant::now();
    let reason = refusal(stage.freeze());
    assert!(began.elapsed() >= Duration::from_millis(1000), "it had its time");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let limit = "10-hydra freeze did not end within its limit of 1.5s (`limit` in [plugin.exec_hook]); it was ended";
    assert!(reason.starts_with(limit), "{reason}");
    assert!(reason.ends_with("; output: hanging"), "{reason}");
    assert_eq!(stage.thaw(), done());
    all_five_are_dead(&stage);
    stage.the_scripts_did(&["10-hydra freeze", "10-hydra thaw"]);
}

#[test]
fn a_hook_may_have_a_limit_of_its_own() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-slow", "sleep 600");
    stage.open_with(&[("hook", json!({ "10-slow": { "limit": "200ms" } }))]);
    let reason = refusal(stage.freeze());
    let limit = "within its limit of 200.0ms (`limit` in [plugin.exec_hook.hook.\"10-slow\"])";
    assert!(reason.contains(limit), "{reason}");
}

#[test]
fn no_limit_goes_beyond_the_calls_deadline() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-hydra", HYDRA);
    stage.open_with(&[("limit", json!("1h"))]);
    let deadline = Duration::from_secs(2);
    let began = Instant::now();
    let reason = refusal(stage.freeze_within(deadline));
    assert!(began.elapsed() < deadline, "answered after {:?}, when the worker would have been killed", began.elapsed());
    assert!(reason.contains("that were left for it of its limit of 3600.0s"), "{reason}");
    assert_eq!(stage.thaw(), done());
    all_five_are_dead(&stage);
}

#[test]
fn a_freeze_that_is_given_up_kills_its_scripts_at_once() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-hydra", HYDRA);
    stage.hook("20-never", "");
    stage.open();
    let freeze = stage.freeze_call(SOON);
    let id = stage.worker.ask(freeze);
    becomes_true("all of the script's processes are up", || stage.lines("pids").len() == 5);
    let began = Instant::now();
    stage.worker.ask(Call::Cancel { call_id: id });
    let reason = refusal(stage.worker.answer(id, clock::now() + SOON));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(reason.contains("since the freeze was given up"), "{reason}");
    assert_eq!(stage.thaw(), done());
    all_five_are_dead(&stage);
    stage.the_scripts_did(&["10-hydra freeze", "10-hydra thaw"]);
}

#[test]
fn when_the_orchestrator_dies_the_scripts_at_work_are_killed_and_thawed() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-hydra", &format!("note $HV_VSS_OUTCOME\n{HYDRA}"));
    stage.open();
    let freeze = stage.freeze_call(SOON);
    stage.worker.ask(freeze);
    becomes_true("all of the script's processes are up", || stage.lines("pids").len() == 5);
    stage.worker.hang_up();
    assert!(stage.worker.ended(clock::now() + SOON).is_some_and(|status| status.success()));
    all_five_are_dead(&stage);
    stage.the_scripts_did(&["10-hydra freeze", "ok", "10-hydra thaw", "recovered"]);
}

/// Else its thaw, run by the next process, could come before its freeze has ended.
#[test]
fn a_script_does_not_outlive_the_process_that_runs_it() {
    for user in ["root", "nobody"] {
        let Some(mut stage) = Stage::new() else { return };
        let pid = stage.path("pid");
        std::fs::write(&pid, "").unwrap();
        stage::mode(&pid, 0o666);
        let body = format!("[ $1 = thaw ] || {{ echo $$ >{}; while :; do sleep 0.1; done; }}", pid.display());
        stage.hook("10-slow", &body);
        stage.open_with(&[("hook", json!({ "10-slow": { "user": user } }))]);
        let freeze = stage.freeze_call(SOON);
        stage.worker.ask(freeze);
        becomes_true("the script is at work", || !stage.lines("pid").is_empty());
        let script = stage.lines("pid").concat();
        assert!(lives(&script));
        stage.worker.kill();
        becomes_true("the script is gone", || !lives(&script));
    }
}

#[test]
fn a_thaw_that_hangs_leaves_the_others_their_time() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-db", "");
    stage.hook("20-web", "");
    stage.hook("90-hangs", "[ $1 = freeze ] || sleep 600");
    stage.open_with(&[("limit", json!("1h"))]);
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw_within(Duration::from_secs(3), &[]), done());
    stage.logs(Level::Error, "90-hangs thaw did not end within ");
    stage.the_scripts_did(&[
        "10-db freeze",
        "20-web freeze",
        "90-hangs freeze",
        "90-hangs thaw",
        "20-web thaw",
        "10-db thaw",
    ]);
}

#[test]
fn a_script_that_ignores_its_input_or_closes_all_its_pipes_is_waited_for_all_the_same() {
    let Some(mut stage) = Stage::new() else { return };
    // More mounts than a pipe holds: whoever writes them without waiting must not stop.
    for id in 0..=255 {
        stage.with_mount(stage::mount(&format!("/{}", "x".repeat(600)), id));
    }
    stage.hook("10-lingers", "exec <&- >&- 2>&-; sleep 0.4; note \"$NAME over\"");
    stage.hook("20-ignores", "");
    stage.hook("30-reads", "[ $1 = thaw ] || note $(wc -c)");
    stage.open();
    assert_eq!(stage.freeze(), done());
    let log = stage.log();
    assert_eq!(log[..4], ["10-lingers freeze", "10-lingers over", "20-ignores freeze", "30-reads freeze"]);
    assert!(log[4].parse::<usize>().unwrap() > 256 * 600, "the whole message arrived: {log:?}");
}

#[test]
fn a_flood_of_output_slows_nothing_down_and_fills_no_log() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook(
        "10-floods",
        "echo begin; head -c 50000000 /dev/zero | tr '\\0' 'x'; echo; printf 'end\\033[31m\\n'; exit 1",
    );
    stage.open();
    let reason = refusal(stage.freeze());
    assert!(reason.ends_with("end\\u{1b}[31m"), "{reason}");
    let logged = stage.logged(Level::Debug);
    let bytes: usize = logged.iter().map(String::len).sum();
    assert!(bytes < 20_000, "{bytes} bytes in the log");
    stage.logs(Level::Warn, "10-floods freeze: begin");
    stage.logs(Level::Warn, "bytes more are not shown]");
    assert!(logged.iter().all(|line| !line.contains('\u{1b}')));
}

#[test]
fn a_script_that_floods_while_it_hangs_is_killed_at_its_limit_too() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-floods", "yes");
    stage.open_with(&[("limit", json!("300ms"))]);
    let reason = refusal(stage.freeze());
    assert!(reason.starts_with("10-floods freeze did not end within its limit of 300.0ms"), "{reason}");
}

#[test]
fn a_script_has_time_to_tidy_up_before_it_is_killed() {
    let Some(mut stage) = Stage::new() else { return };
    let body = "trap 'note \"$1 tidied up\"; exit 1' TERM\nsleep 600";
    stage.hook("10-tidy", body);
    stage.open_with(&[("limit", json!("1s"))]);
    refusal(stage.freeze());
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["10-tidy freeze", "freeze tidied up", "10-tidy thaw", "thaw tidied up"]);
}

#[test]
fn a_failed_freeze_is_answered_before_the_other_scripts_have_ended() {
    let Some(mut stage) = Stage::new() else { return };
    // Deaf to SIGTERM: it goes on until SIGKILL.
    let deaf = "[ $1 = thaw ] || { trap '' TERM; echo $$ >$GROUND/pid; while :; do sleep 0.05; done; }";
    stage.hook("10-deaf", deaf);
    stage.hook("10-fails", "[ $1 = thaw ] || { while [ ! -s $GROUND/pid ]; do sleep 0.01; done; exit 1; }");
    stage.open();
    let reason = refusal(stage.freeze());
    assert!(reason.contains("10-fails freeze failed with exit status 1"), "{reason}");
    let pid = stage.lines("pid").concat();
    assert!(lives(&pid), "the answer did not wait for its end");
    assert_eq!(stage.thaw(), done());
    assert!(!lives(&pid), "its thaw did");
    let mut log = stage.log();
    log.sort();
    assert_eq!(log, ["10-deaf freeze", "10-deaf thaw", "10-fails freeze", "10-fails thaw"]);
}

#[test]
fn a_service_that_a_hanging_thaw_has_started_stays() {
    let Some(mut stage) = Stage::new() else { return };
    let body = "[ $1 = freeze ] && exit\napart 'echo $$ >'$GROUND'/service; exec sleep 600' &\nsleep 600 & echo $! >$GROUND/child\nsleep 600";
    stage.hook("10-web", body);
    stage.open_with(&[("limit", json!("600ms"))]);
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    let service = stage.lines("service").concat();
    assert!(lives(&service), "it has left the script's process group");
    becomes_true("the script's own process group has ended", || !lives(&stage.lines("child").concat()));
    stage.logs(Level::Error, "10-web thaw did not end within its limit of 600.0ms");
    stage.logs(Level::Error, "and 1 process that it had started goes on");
    assert!(std::process::Command::new("kill").arg(service).status().unwrap().success());
}
