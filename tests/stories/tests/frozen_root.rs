//! The daemon freezes the very root it lives on: its program, libraries, plugins, configuration, hooks, log, state, pid file and control socket all lie
//! there, and so does the log of the syslogd it logs to.
//!
//! `HV_VSS_ROOT_HOLD_S` and `HV_VSS_ROOT_ROUNDS` make it longer: `make soak` does.

use std::fs;
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::small_root::SmallRoot;
use hv_vss_stories::{Answered, Signal, Stage, both_drivers};
use hv_vss_testbed::needs;

/// Between two of the host's questions while all is frozen.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(400);
/// An answer that takes longer has waited for something.
const AT_ONCE: Duration = Duration::from_millis(1500);

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not \"{text}\"")))
}

/// How long the root stays frozen in each round.
fn hold() -> Duration {
    Duration::from_secs(number("HV_VSS_ROOT_HOLD_S", 3))
}

fn system(stage: Stage) -> SmallRoot {
    SmallRoot::start(stage, hold() + Duration::from_secs(30))
}

#[track_caller]
fn came_at_once(answered: &Answered) {
    assert!(answered.took < AT_ONCE, "the answer took {:?}", answered.took);
}

/// Claims that the daemon owns no more than after its first round, or doesn't in a moment: a flush may still be on its way out.
#[track_caller]
fn nothing_piles_up(system: &SmallRoot, first: (usize, usize), round: u64) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let now = system.belongings();
        if now.0 <= first.0 && now.1 <= first.1 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "descriptors and processes: {first:?} after the first round, {now:?} after round {round}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything is there again: writers write, the hook has run, the daemon logs and answers.
#[track_caller]
fn is_well(system: &SmallRoot) {
    system.runs();
    came_at_once(&system.host_may(Check));
}

both_drivers! {
    /// Row 7: the log, too, is on the filesystem that is frozen.
    fn a_daemon_on_the_root_it_has_frozen_answers_the_host_all_the_while(stage: Stage) {
        needs!(Busybox);
        let system = system(stage);
        let rounds = number("HV_VSS_ROOT_ROUNDS", 1);
        let (mut ran, mut belongings) = (Vec::new(), None);
        for round in 1..=rounds {
            let frozen = Instant::now();
            system.host_may(Freeze);
            system.is_frozen();
            system.syslogd_is_stuck();
            while frozen.elapsed() < hold() {
                came_at_once(&system.host_may_not(Check));
                came_at_once(&system.host_may_not(Freeze));
                let status = system.status();
                assert!(status.contains(r#""state":"frozen""#), "{status}");
                system.is_frozen();
                std::thread::sleep(BETWEEN_QUESTIONS);
            }
            came_at_once(&system.host_may(Thaw));
            is_well(&system);
            ran.extend(["freeze ok", "thaw ok"]);
            system.hook_ran(&ran);
            // What was said meanwhile was kept, and is in the log now.
            system.logs(&["hv_vss_daemon", "CHECK", "FAIL"]);
            system.logs(&["hv_vss_daemon", "FREEZE", "FAIL"]);
            nothing_piles_up(&system, *belongings.get_or_insert_with(|| system.belongings()), round);
        }
        let history = fs::read_to_string(system.file("var/db/hv_vss/history.jsonl")).unwrap();
        assert!(history.lines().count() >= usize::try_from(rounds).unwrap(), "{history}");
        assert!(!system.file("var/db/hv_vss/owed-exec_hook.json").exists(), "nothing is owed");
    }

    fn an_operators_shell_thaws_the_root_with_one_line_of_built_ins(stage: Stage) {
        needs!(Busybox);
        let mut system = system(stage);
        let mut shell = system.shell();
        system.host_may(Freeze);
        system.syslogd_is_stuck();
        system.is_frozen();
        shell.line("exec 9</var/run/hv_vss_daemon.pid; read p <&9; kill -USR1 $p");
        is_well(&system);
        system.hook_ran(&["freeze ok", "thaw aborted"]);
        system.logs(&["hv_vss_daemon", "operator"]);
        // The shell is none the worse for it.
        shell.line("echo well > /tmp/shell");
        let said = || fs::read_to_string(system.file("tmp/shell")).is_ok_and(|text| text == "well\n");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !said() {
            assert!(Instant::now() < deadline, "the shell hangs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn a_termination_thaws_the_root_and_ends_the_daemon(stage: Stage) {
        needs!(Busybox);
        let mut system = system(stage);
        system.host_may(Freeze);
        system.syslogd_is_stuck();
        system.is_frozen();
        system.daemon_gets(Signal::SIGTERM);
        assert_eq!(system.daemon_ends(), Some(0));
        system.runs();
        system.hook_ran(&["freeze ok", "thaw aborted"]);
        system.logs(&["hv_vss_daemon", "told to stop"]);
        assert!(!system.file("var/run/hv_vss_daemon.pid").exists(), "its pid file is gone");
        assert!(!system.file("var/db/hv_vss/owed-exec_hook.json").exists(), "nothing is owed");
    }

    fn a_daemon_that_is_killed_lets_go_of_the_root_it_lives_on(stage: Stage) {
        needs!(Busybox);
        let mut system = system(stage);
        system.host_may(Freeze);
        system.syslogd_is_stuck();
        system.is_frozen();
        system.daemon_gets(Signal::SIGKILL);
        assert_eq!(system.daemon_ends(), None);
        system.runs();
        system.hook_ran(&["freeze ok", "thaw recovered"]);
    }
}
