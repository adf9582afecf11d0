//! What a script finds when it starts: its environment, its input, its descriptors, its session, who it is.

mod stage;

use hv_vss_wire::{Level, Outcome};
use serde_json::{Value, json};
use stage::{SOON, Stage, done, mount, refusal};

/// Notes what a script is told, one file a phase.
const TELLS: &str = "env -u PWD -u OLDPWD -u SHLVL -u _ >$GROUND/env-$1; cat >$GROUND/in-$1";

#[test]
fn the_environment_is_exactly_what_is_promised() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-tells", TELLS);
    stage.open();
    assert_eq!(stage.freeze(), done());
    stage.outcome_is(Outcome::Expired);
    assert_eq!(stage.thaw(), done());
    for (phase, outcome) in [("freeze", "ok"), ("thaw", "expired")] {
        let mut lines = stage.lines(&format!("env-{phase}"));
        lines.sort();
        let family = lines.iter().position(|line| line.starts_with("HV_VSS_FAMILY=")).expect("the mark of its family");
        lines.remove(family);
        let expected = [
            "HOME=/root",
            "HV_VSS_CYCLE=cycle-7",
            &format!("HV_VSS_OUTCOME={outcome}"),
            &format!("HV_VSS_PHASE={phase}"),
            "HV_VSS_TIME_LEFT_MS=10000",
            "LOGNAME=root",
            "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
            "USER=root",
        ];
        assert_eq!(lines, expected);
    }
}

#[test]
fn the_input_is_one_json_object_with_the_mounts() {
    let Some(mut stage) = Stage::new() else { return };
    stage.with_mount(mount("/", 1));
    stage.with_mount(mount("/data with \"quotes\"", 2));
    stage.hook("10-tells", TELLS);
    stage.open();
    assert_eq!(stage.freeze(), done());
    let input = stage.lines("in-freeze");
    assert_eq!(input.len(), 1, "one line");
    let object: Value = serde_json::from_str(&input[0]).unwrap();
    assert_eq!(
        object,
        json!({
            "phase": "freeze",
            "cycle": "cycle-7",
            "outcome": "ok",
            "rehearsal": false,
            "time_left_ms": 10_000,
            "mounts": [
                { "fsid": "0101010101010101", "type": "ufs", "on": "/", "from": "/dev/md0", "read_only": false },
                { "fsid": "0202020202020202", "type": "ufs", "on": "/data with \"quotes\"", "from": "/dev/md0", "read_only": false },
            ],
        })
    );
}

#[test]
fn the_time_left_is_never_more_than_the_call_has() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-tells", "note $HV_VSS_TIME_LEFT_MS");
    stage.open();
    assert_eq!(stage.freeze_within(SOON / 4), done());
    let left: u64 = stage.log()[1].parse().unwrap();
    assert!(left <= 5_000 && left > 1_000, "{left} ms");
}

#[cfg(target_os = "linux")] // /proc
#[test]
fn a_script_has_no_descriptors_but_its_three_and_stands_alone() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook(
        "10-looks",
        "note $(umask) $PWD $(pwd -P)\nset -- $(ps -o sid=,pgid= -p $$)\n\
         [ $1 = $$ ] && [ $2 = $$ ] && note alone\nnote $(ulimit -c)\nexec ls /proc/self/fd",
    );
    stage.open();
    assert_eq!(stage.freeze(), done());
    // ls itself opens the directory that it lists; a shell would keep descriptors of its own.
    let numbers: Vec<String> = (0..4).map(|fd| format!("10-looks freeze: {fd}")).collect();
    assert_eq!(stage.logged(Level::Info), numbers);
    assert_eq!(stage.log()[1..], ["0077 / /", "alone", "0"]);
}

#[cfg(target_os = "linux")] // /proc
#[test]
fn signals_are_at_their_defaults() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-looks", "note $(grep -E '^Sig(Blk|Ign):' /proc/self/status | tr -s '\\t\\n' '  ')");
    stage.open();
    assert_eq!(stage.freeze(), done());
    let log = stage.log();
    let sets: Vec<&str> = log[1].split(' ').collect();
    assert_eq!([sets[0], sets[1], sets[2]], ["SigBlk:", "0000000000000000", "SigIgn:"]);
    // Two numbers belong to the C library, which does not let anybody touch them.
    let ignored = u64::from_str_radix(sets[3], 16).unwrap() & !(0b11 << 31);
    assert_eq!(ignored, 0, "{log:?}");
}

#[test]
fn a_hook_may_run_as_another_user_and_keeps_nothing_of_roots() {
    let Some(mut stage) = Stage::new() else { return };
    let file = stage.hook("10-who", "");
    // It can't write to the log of root's, so it says it on stdout.
    std::fs::write(&file, "#!/bin/sh\necho $(id -u) $(id -g) $(id -G) $USER $LOGNAME $HOME\n").unwrap();
    stage.open_with(&[("hook", json!({ "10-who": { "user": "nobody" } }))]);
    assert_eq!(stage.freeze(), done());
    let id = std::process::Command::new("sh")
        .args(["-c", "echo $(id -u nobody) $(id -g nobody) $(id -G nobody) nobody nobody"])
        .output()
        .unwrap();
    let expected = String::from_utf8(id.stdout).unwrap();
    stage.logs(Level::Info, &format!("10-who freeze: {}", expected.trim()));
    assert!(!expected.split(' ').any(|word| word == "0"), "nothing of root's: {expected}");
}

#[test]
fn an_unknown_user_is_found_out_by_the_check() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-who", "");
    stage.open_with(&[("hook", json!({ "10-who": { "user": "no_such_user" } }))]);
    let reason = refusal(stage.check());
    assert!(reason.contains("10-who is refused: there is no user no_such_user"), "{reason}");
}
