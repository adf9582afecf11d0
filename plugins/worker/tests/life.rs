//! A plugin's life in its worker, from loading to the end, and what happens when the orchestrator is late, dead or talks nonsense.

mod stage;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_platform::mounts::Mount;
use hv_vss_wire::{Answer, Call, Claim, Event, Level, Outcome, Phase, Progress, Role, Step, encode};
use hv_vss_worker::conformance::subject::Ended;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stage::*;

#[test]
fn a_whole_life_is_one_call_after_the_other_and_ends_with_exit_code_0() {
    let plugin = plugin_with(&["-DNUMBER=20"]);
    let mut stage = Stage::around(&plugin, &[]);
    let about = stage.loaded();
    assert_eq!((about.name.as_str(), about.version.as_str(), about.abi), ("mischief", "1.0", 1));
    assert_eq!((about.application, about.filesystem, about.number), (true, false, Some(20)));

    assert_eq!(stage.open(&[]), done());
    assert_eq!(stage.check(), done());
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.worker.call(Call::Close, SOON), done());
    assert!(stage.ends_well());
    assert_eq!(stage.calls(), ["open -", "check ok", "freeze ok", "thaw ok", "close -"]);
}

#[test]
fn nothing_is_asked_of_a_plugin_before_open_or_after_an_open_that_was_refused() {
    let mut stage = Stage::with(&[]);
    assert_eq!(broken(stage.check()), "the plugin has not been opened");
    assert_eq!(stage.open(&[("colour", "red")]), refused("unknown setting colour = \"red\""));
    assert_eq!(broken(stage.freeze()), "the plugin could not be opened");
    assert_eq!(broken(stage.open(&[])), "the plugin could not be opened");
    assert_eq!(stage.calls(), [""; 0]);
}

#[test]
fn refusals_and_failures_keep_their_sentence() {
    for call in ["check", "freeze", "thaw"] {
        let ask = |stage: &mut Stage| match call {
            "check" => stage.check(),
            "freeze" => stage.freeze(),
            _ => stage.thaw(),
        };
        assert_eq!(ask(&mut Stage::that_does("refuse", call)), refused("the queue is not empty"));
        assert_eq!(
            ask(&mut Stage::that_does("refuse-silently", call)),
            refused(&format!("{call} refused and gave no reason"))
        );
        assert_eq!(broken(ask(&mut Stage::that_does("break", call))), "lost my mind");
    }
}

#[test]
fn a_second_freeze_is_refused_and_changes_nothing() {
    let mut stage = Stage::with(&[]);
    stage.open(&[]);
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.freeze(), refused("it is already frozen"));
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.calls(), ["open -", "freeze ok", "thaw ok"]);
}

#[test]
fn thaw_twice_and_without_a_freeze_is_done_each_time() {
    let mut stage = Stage::with(&[]);
    stage.open(&[]);
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.thaw(), done());
}

#[test]
fn what_an_earlier_process_owes_reaches_the_plugin() {
    let mut stage = Stage::with(&[]);
    stage.open(&[]);
    let step = Step { outcome: Outcome::Recovered, ..step() };
    let owed = vec!["10-a.sh".to_owned(), "20-b.sh".to_owned()];
    assert_eq!(stage.worker.call(Call::Thaw { step, role: Role::Application, owed, rehearsal: false }, SOON), done());
    assert_eq!(stage.calls(), ["open -", "thaw recovered owed:10-a.sh owed:20-b.sh"]);
}

#[test]
fn at_the_expiry_it_lets_go_by_itself_says_so_and_the_late_thaw_hears_it() {
    let mut stage = Stage::with(&[]);
    stage.open(&[]);
    let expiry = clock::now() + Duration::from_millis(150);
    let freeze = Call::Freeze { step: step(), role: Role::Application, expiry, only: None, rehearsal: false };
    assert_eq!(stage.worker.call(freeze, SOON), done());
    let says_so = |event: &Event| *event == Event::LetGo;
    while !stage.worker.said.iter().any(says_so) {
        assert!(matches!(stage.worker.event(expiry + SOON), Ok(Some(_))), "it never let go: {:?}", stage.worker.said);
    }
    assert!(clock::now() >= expiry, "let go too early");
    assert_eq!(stage.calls(), ["open -", "freeze ok", "thaw expired"]);

    assert_eq!(stage.thaw(), done_but_not_held());
    // It was told; a thaw once more finds nothing that did not hold.
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.freeze(), done(), "the next cycle works");
}

#[test]
fn it_lets_go_at_the_expiry_even_when_the_orchestrator_reads_nothing() {
    // A stopped orchestrator: the plugin floods the log until the socket is full, and nobody empties it.
    let mut stage = Stage::that_does("flood", "freeze");
    stage.worker.ask(app_freeze(Duration::from_millis(300)));
    becomes_true("the plugin's thaw is called at the expiry", || {
        stage.calls().last().is_some_and(|l| l == "thaw expired")
    });
}

#[test]
fn when_the_orchestrator_dies_everything_is_let_go_as_recovered_and_the_process_ends() {
    let mut stage = Stage::with(&["-DROLES=3", "-DFLAGS=1"]);
    stage.open(&[]);
    let freeze = |role, mounts: Vec<Mount>| Call::Freeze {
        step: Step { mounts, ..step() },
        role,
        expiry: clock::now() + Duration::from_secs(60),
        only: None,
        rehearsal: false,
    };
    assert_eq!(stage.worker.call(freeze(Role::Application, vec![]), SOON), done());
    assert_eq!(stage.worker.call(freeze(Role::Filesystem, vec![mount("/a/b", 2)]), SOON), done());
    assert_eq!(stage.worker.call(freeze(Role::Filesystem, vec![mount("/a", 1)]), SOON), done());
    stage.worker.hang_up();
    assert!(stage.ends_well());
    let calls = stage.calls();
    assert_eq!(calls[4..], ["thaw recovered /a/b", "thaw recovered /a", "thaw recovered"]);
}

#[test]
fn when_the_orchestrator_dies_during_a_freeze_the_freeze_is_given_up_and_thawed() {
    let mut stage = Stage::that_does("wait-until-cancelled", "freeze");
    stage.worker.ask(app_freeze(Duration::from_secs(60)));
    becomes_true("the freeze has begun", || stage.calls().len() == 2);
    stage.worker.hang_up();
    assert!(stage.ends_well());
    assert_eq!(stage.calls(), ["open -", "freeze ok", "thaw recovered"]);
}

#[test]
fn a_freeze_that_failed_is_thawed_as_well_when_the_orchestrator_dies() {
    let mut stage = Stage::that_does("refuse", "freeze");
    assert_eq!(stage.freeze(), refused("the queue is not empty"));
    stage.worker.hang_up();
    assert!(stage.ends_well());
    assert_eq!(stage.calls(), ["open -", "freeze ok", "thaw recovered"]);
}

#[test]
fn a_call_that_hangs_when_the_orchestrator_dies_ends_with_its_process() {
    // The plugin does not look at cancelled(), so it does not notice; and nobody is left to kill it.
    let mut stage = Stage::that_does("loop", "freeze");
    let step = Step { deadline: clock::now() + Duration::from_millis(200), ..step() };
    let expiry = clock::now() + Duration::from_secs(60);
    stage.worker.ask(Call::Freeze { step, role: Role::Application, expiry, only: None, rehearsal: false });
    becomes_true("the freeze has begun", || stage.calls().len() == 2);
    stage.worker.hang_up();
    let status = stage.worker.ended(clock::now() + SOON).expect("it ends");
    assert_eq!(status.signal(), Some(Signal::SIGALRM as i32));
}

#[test]
fn an_idle_worker_ends_at_once_when_the_orchestrator_dies() {
    let mut stage = Stage::with(&[]);
    stage.open(&[]);
    stage.worker.hang_up();
    assert!(stage.ends_well());
    assert_eq!(stage.calls(), ["open -"]);
}

#[test]
fn a_freeze_that_nobody_waits_for_any_more_does_not_begin() {
    let mut stage = Stage::that_does("wait-until-cancelled", "check");
    stage.worker.ask(Call::Check(step()));
    stage.worker.ask(app_freeze(Duration::from_secs(60)));
    becomes_true("the check has begun", || stage.calls().len() == 2);
    stage.worker.hang_up();
    assert!(stage.ends_well());
    assert_eq!(stage.calls(), ["open -", "check ok"]);
}

#[test]
fn cancel_reaches_the_call_at_work_and_its_answer_still_comes() {
    let mut stage = Stage::that_does("wait-until-cancelled", "freeze");
    let id = stage.worker.ask(app_freeze(Duration::from_secs(60)));
    becomes_true("the freeze has begun", || stage.calls().len() == 2);
    stage.worker.ask(Call::Cancel { call_id: id });
    let answer = stage.worker.answer(id, clock::now() + SOON);
    assert_eq!(answer, refused("given up, with time left: yes"));
    assert_eq!(stage.thaw(), done());
}

#[test]
fn a_freeze_cancelled_before_its_turn_does_not_begin() {
    let mut stage = Stage::that_does("wait-until-cancelled", "check");
    let check = stage.worker.ask(Call::Check(step()));
    let freeze = stage.worker.ask(app_freeze(Duration::from_secs(60)));
    stage.worker.ask(Call::Cancel { call_id: freeze });
    stage.worker.ask(Call::Cancel { call_id: check });
    let answer = stage.worker.answer(freeze, clock::now() + SOON);
    assert_eq!(answer, refused("given up before the freeze had begun"));
    assert_eq!(stage.calls(), ["open -", "check ok"]);
}

#[test]
fn the_deadline_tells_a_patient_plugin_to_give_up() {
    let mut stage = Stage::that_does("wait-until-cancelled", "check");
    let step = Step { deadline: clock::now() + Duration::from_millis(50), ..step() };
    assert_eq!(stage.worker.call(Call::Check(step), SOON), refused("given up, with time left: no"));
}

#[test]
fn a_freeze_past_its_deadline_or_expiry_does_not_begin() {
    let mut stage = Stage::with(&[]);
    stage.open(&[]);
    let late = Step { deadline: clock::now(), ..step() };
    let expiry = clock::now() + SOON;
    let freeze = Call::Freeze { step: late, role: Role::Application, expiry, only: None, rehearsal: false };
    assert_eq!(stage.worker.call(freeze, SOON), refused("out of time before the freeze had begun"));
    assert_eq!(stage.worker.call(app_freeze(Duration::ZERO), SOON), refused("out of time before the freeze had begun"));
    assert_eq!(stage.calls(), ["open -"]);
}

#[test]
fn a_request_of_an_unknown_kind_is_answered_broken_and_the_next_one_works() {
    let mut stage = Stage::with(&[]);
    stage.open(&[]);
    stage.worker.send_raw(&encode(&serde_json::json!({"id": 99, "call": "dance"})).unwrap());
    let why = broken(stage.worker.answer(99, clock::now() + SOON));
    assert!(why.starts_with("the worker does not know this request: ") && why.contains("dance"), "{why}");
    assert_eq!(stage.check(), done());
}

#[test]
fn garbage_makes_it_let_go_and_end() {
    for garbage in [&b"\xff\xff\xff\xff garbage"[..], b"\x05\0\0\0helloand more", b"\x02\0\0\0{}"] {
        let mut stage = Stage::with(&[]);
        stage.open(&[]);
        assert_eq!(stage.freeze(), done());
        stage.worker.send_raw(garbage);
        assert!(stage.ends_well(), "after {garbage:?}");
        assert_eq!(stage.calls(), ["open -", "freeze ok", "thaw recovered"]);
    }
}

#[test]
fn a_role_it_does_not_have_is_answered_broken() {
    let mut stage = Stage::with(&[]);
    stage.open(&[]);
    let freeze = Call::Freeze {
        step: step(),
        role: Role::Filesystem,
        expiry: clock::now() + SOON,
        only: None,
        rehearsal: false,
    };
    assert!(broken(stage.worker.call(freeze, SOON)).contains("no such role"));
    // It has no role in this, so whatever it would say is nobody's.
    let claim = Call::Claim { step: step(), mounts: vec![mount("/a", 1)] };
    let nobody = Answer::Done { claims: vec![Claim::NotMine], held: true };
    assert_eq!(stage.worker.call(claim, SOON), Ended::Answered(nobody));
}

#[test]
fn each_mount_gets_its_claim_with_the_reason_in_order() {
    let mut stage = Stage::with(&["-DROLES=1"]);
    stage.open(&[]);
    let of_type = |fstype: &str, read_only| Mount { fstype: fstype.into(), read_only, ..mount("/a", 1) };
    let mounts = vec![of_type("mine", false), of_type("veto", false), of_type("x", true), of_type("x", false)];
    let Ended::Answered(Answer::Done { claims, .. }) = stage.worker.call(Call::Claim { step: step(), mounts }, SOON)
    else {
        panic!("no claims")
    };
    let reason = |fstype: &str| format!("{fstype} from /dev/md0");
    assert_eq!(
        claims,
        [Claim::Freeze, Claim::Veto { reason: reason("veto") }, Claim::Ignore { reason: reason("x") }, Claim::NotMine]
    );
}

#[test]
fn what_the_plugin_says_arrives_before_its_answer() {
    let mut stage = Stage::that_does("talk", "freeze");
    stage.worker.said.clear();
    assert_eq!(stage.freeze(), done());
    let substep = |progress| Event::Substep { name: "10-a.sh".into(), phase: Phase::Freeze, progress };
    assert_eq!(
        stage.worker.said[..5],
        [
            substep(Progress::Planned),
            substep(Progress::Started),
            substep(Progress::Ended { failure: Some("exit code 3".into()) }),
            Event::Log { level: Level::Warn, text: "two lines".into() },
            Event::Log { level: Level::Error, text: String::new() },
        ]
    );
}

#[test]
fn a_hold_that_the_plugin_lost_is_answered_as_not_held() {
    let mut stage = Stage::that_does("lose", "thaw");
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done_but_not_held());
}

#[test]
fn signals_that_reach_every_process_do_not_end_a_worker_that_holds_something() {
    let mut stage = Stage::with(&[]);
    stage.open(&[]);
    assert_eq!(stage.freeze(), done());
    let pid = Pid::from_raw(stage.worker.pid().try_into().unwrap());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
        kill(pid, signal).unwrap();
    }
    assert_eq!(stage.check(), done());
    assert_eq!(stage.thaw(), done());
    kill(pid, Signal::SIGKILL).unwrap();
    let status = stage.worker.ended(clock::now() + SOON).expect("SIGKILL ends it");
    assert_eq!(status.signal(), Some(9));
}

#[test]
fn without_a_socket_it_says_who_starts_it_and_exits_with_64() {
    let program = env!("CARGO_BIN_EXE_hv_vss_worker");
    let run = |arguments: &[&str]| std::process::Command::new(program).args(arguments).output().unwrap();
    let output = run(&["serve", "/nonexistent.so"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by hv_vss_daemon"), "{output:?}");
    let output = run(&["dance"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: hv_vss_worker inspect FILE"), "{output:?}");
}
