//! Hostile plugins, one test each: what they do harms their own process at most, is answered with one clear sentence, and the next worker of the
//! same plugin works.

mod stage;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_wire::{Answer, Call, Event};
use hv_vss_worker::conformance::subject::Ended;
use stage::*;

/// The name of a call, and how to make it.
type Make = (&'static str, fn(&mut Stage) -> Ended);

/// The calls of a plugin's life.
const CALLS: [Make; 5] = [
    ("open", |stage| stage.open(&[])),
    ("check", Stage::check),
    ("freeze", Stage::freeze),
    ("thaw", Stage::thaw),
    ("close", |stage| stage.worker.call(Call::Close, SOON)),
];

/// Makes the plugin misbehave in each call of its life in turn, in a worker of its own, and gives what came of it.
#[track_caller]
fn in_each_call(what: &str, mut judge: impl FnMut(&str, &mut Stage, Ended)) {
    for (call, make) in CALLS {
        let mut stage = Stage::with(&[]);
        let opened = stage.open(&[("in", call), ("do", what)]);
        if call == "open" {
            judge(call, &mut stage, opened);
            continue;
        }
        assert_eq!(opened, done());
        let ended = make(&mut stage);
        judge(call, &mut stage, ended);
    }
    // The plugin's file is as good as before: a new worker of it goes through a whole cycle.
    let mut next = Stage::with(&[]);
    for (call, make) in CALLS {
        assert_eq!(make(&mut next), done(), "{call} in the next worker");
    }
}

#[test]
fn a_plugin_that_crashes_in_any_call_ends_its_own_process_only() {
    in_each_call("crash", |call, _, ended| {
        assert_eq!(ended, Ended::Died("its process was ended by SIGSEGV".into()), "in {call}");
    });
}

#[test]
fn a_plugin_that_calls_exit_in_any_call_ends_its_own_process_only() {
    in_each_call("exit", |call, _, ended| {
        assert_eq!(ended, Ended::Died("its process ended by itself, with exit code 0".into()), "in {call}");
    });
}

#[test]
fn a_plugin_that_loops_is_killed_from_outside() {
    for call in ["check", "freeze", "thaw"] {
        let mut stage = Stage::that_does("loop", call);
        let id = match call {
            "check" => stage.worker.ask(Call::Check(step())),
            "freeze" => stage.worker.ask(app_freeze(Duration::from_secs(60))),
            _ => stage.worker.ask(app_thaw()),
        };
        assert_eq!(stage.worker.answer(id, clock::now() + Duration::from_millis(100)), Ended::TimedOut, "{call}");
        stage.worker.kill();
        assert!(matches!(stage.worker.answer(id, clock::now() + SOON), Ended::Died(_)), "{call}");
    }
}

#[test]
fn a_plugin_that_blocks_every_signal_is_killed_all_the_same() {
    let mut stage = Stage::that_does("block-signals", "freeze");
    assert_eq!(stage.freeze(), done());
    stage.worker.kill();
    let status = stage.worker.ended(clock::now() + SOON).expect("it is gone");
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn a_garbage_code_is_named_in_the_answer() {
    in_each_call("garbage-code", |call, stage, ended| {
        if call == "close" {
            // It returns nothing, so it can't return garbage.
            assert_eq!(ended, done());
            return;
        }
        assert_eq!(broken(ended), format!("{call} returned 12345, which is no result"));
        assert!(stage.worker.ended(clock::now()).is_none(), "the worker lives on after {call}");
    });
}

#[test]
fn a_garbage_claim_is_named_in_the_answer() {
    let mut stage = Stage::with(&["-DROLES=1"]);
    stage.open(&[("in", "claim"), ("do", "garbage-code")]);
    let call = Call::Claim { step: step(), mounts: vec![mount("/a", 1)] };
    assert_eq!(broken(stage.worker.call(call, SOON)), "claim returned 12345, which is no claim");
}

#[test]
fn a_plugin_that_writes_past_its_reason_buffer_is_found_out() {
    for (call, make) in &CALLS[1..4] {
        let mut stage = Stage::that_does("overrun", call);
        assert_eq!(broken(make(&mut stage)), format!("it wrote past the end of its reason buffer in {call}"));
    }
}

#[test]
fn a_plugin_that_keeps_pointers_finds_nothing_there_that_matters() {
    let mut stage = Stage::that_does("keep-pointers", "check");
    assert_eq!(stage.check(), done());
    // The second check reads through the pointer kept from the first: it may read garbage or die of it. Nobody else does.
    match stage.check() {
        Ended::Answered(_) => assert_eq!(stage.freeze(), done()),
        Ended::Died(_) => assert_eq!(Stage::with(&[]).open(&[]), done()),
        Ended::TimedOut => panic!("it hangs"),
    }
}

#[test]
fn an_application_plugin_may_have_threads_but_a_filesystem_plugin_is_refused_with_them() {
    let mut application = Stage::with(&[]);
    assert_eq!(application.open(&[("in", "open"), ("do", "thread")]), done());
    assert_eq!(application.freeze(), done());
    assert_eq!(application.thaw(), done());

    let mut filesystem = Stage::with(&["-DROLES=1"]);
    let why = broken(filesystem.open(&[("in", "open"), ("do", "thread")]));
    assert_eq!(why, "the plugin started a thread, and no process with threads may suspend a filesystem");
}

#[test]
fn a_filesystem_plugin_that_keeps_a_disk_file_open_is_refused_and_the_file_is_named() {
    let mut stage = Stage::with(&["-DROLES=1"]);
    let why = broken(stage.open(&[("in", "open"), ("do", "keep-file-open")]));
    assert!(why.contains("keeps files open: /etc/passwd (descriptor "), "{why}");
}

#[test]
fn loading_a_plugin_leaves_no_disk_file_open() {
    // Opened as a filesystem plugin, the worker itself looks: dlopen and all that came before have closed what they opened.
    let mut stage = Stage::with(&["-DROLES=1"]);
    assert_eq!(stage.open(&[]), done());
}

#[test]
fn a_child_that_a_plugin_forked_does_not_keep_the_conversation_open() {
    // Without exec the child has a copy of the socket; the process's end must be seen all the same, by whoever waits for the process.
    let mut stage = Stage::that_does("fork", "freeze");
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.worker.call(Call::Close, SOON), done());
    assert!(stage.ends_well());
}

#[test]
fn a_plugin_that_closes_all_descriptors_ends_its_own_conversation() {
    in_each_call("close-descriptors", |call, stage, ended| {
        assert!(matches!(ended, Ended::Died(_)), "in {call}: {ended:?}");
        assert!(stage.worker.ended(clock::now() + SOON).is_some(), "the process ends after {call}");
        if call == "freeze" {
            // What it had begun is let go before the end.
            assert_eq!(stage.calls().last().map(String::as_str), Some("thaw recovered"));
        }
    });
}

#[test]
fn a_plugin_that_allocates_without_end_meets_its_own_limit() {
    let plugin = plugin_with(&[]);
    let mut stage = Stage::around(&plugin, &["--memory", "128M"]);
    stage.loaded();
    assert_eq!(stage.open(&[("in", "freeze"), ("do", "allocate")]), done());
    assert_eq!(stage.freeze(), Ended::Died("its process was ended by SIGSEGV".into()));
}

#[test]
fn a_plugin_that_prints_or_floods_the_log_is_answered_in_time() {
    assert_eq!(Stage::that_does("print", "freeze").freeze(), done());
    let mut stage = Stage::that_does("flood", "freeze");
    assert_eq!(stage.freeze(), done());
    // The first ones, and one that counts the others: the orchestrator has a backup to take meanwhile.
    let lines = stage.worker.said.iter().filter(|event| matches!(event, Event::Log { .. })).count();
    assert!(lines <= 2001, "{lines} log lines in one call");
    let counted = |event: &Event| matches!(event, Event::Log { text, .. } if text.ends_with("lines were dropped, since too many came at once"));
    assert!(stage.worker.said.iter().any(counted));
}

#[test]
fn a_plugin_that_changes_directory_and_umask_changes_its_own_only() {
    let mut stage = Stage::that_does("chdir-umask", "freeze");
    let here = std::env::current_dir().unwrap();
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    assert_eq!(std::env::current_dir().unwrap(), here);
}

#[test]
fn a_constructor_that_crashes_exits_or_hangs_is_only_a_worker_that_never_said_loaded() {
    for (constructor, how) in [
        ("-DCONSTRUCTOR=abort()", "its process was ended by SIGABRT"),
        ("-DCONSTRUCTOR=_exit(7)", "its process ended by itself, with exit code 7"),
    ] {
        let mut stage = Stage::around(&plugin_with(&[constructor]), &[]);
        assert_eq!(stage.worker.event(clock::now() + SOON), Err(how.into()));
    }
    let mut stage = Stage::around(&plugin_with(&["-DCONSTRUCTOR=for(;;)pause()"]), &[]);
    assert_eq!(stage.worker.event(clock::now() + Duration::from_millis(200)), Ok(None));
    stage.worker.kill();
}

#[test]
fn an_answer_is_kept_when_the_log_was_flooded_before_it_by_a_plugin_that_then_refuses() {
    let mut stage = Stage::that_does("flood", "every");
    assert_eq!(stage.check(), done());
    assert_eq!(stage.worker.call(Call::Check(step()), SOON), Ended::Answered(Answer::done()));
}
