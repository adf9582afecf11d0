//! `vssctl app-watch`: two commands that stand in for an application, beside the real daemon.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, LIMIT, Signal, Stage, both_drivers};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Long beside what an event takes here, short beside a test.
const SOON: Duration = Duration::from_secs(10);

/// A running `vssctl app-watch`. Its commands write what they do to the scripts' log, as hooks do.
struct Watch {
    child: Child,
    told: Receiver<String>,
}

impl Watch {
    fn command(guest: &Guest, on_freeze: &str, max_hold: &str) -> Command {
        let log = guest.stage().script_log();
        let logs = |name: &str| format!("echo \"app $HV_VSS_PHASE {name}\" >> {}", log.display());
        let mut command = Command::new(guest.stage().daemon_program().with_file_name("vssctl"));
        command.args(["--json", "app-watch", "--node"]).arg(guest.stage().application_node());
        command.args(["--max-hold", max_hold, "--on-thaw", &logs("-")]);
        command.args(["--on-freeze", &format!("{}; {on_freeze}", logs("-"))]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command
    }

    #[track_caller]
    fn starts(guest: &Guest, on_freeze: &str, max_hold: &str) -> Self {
        let mut child = Self::command(guest, on_freeze, max_hold).spawn().expect("vssctl is built with the daemon");
        let told = lines(child.stdout.take().expect("piped"));
        let watch = Self { child, told };
        watch.tells("watching");
        watch
    }

    /// Claims that this is the next thing it says.
    #[track_caller]
    fn tells(&self, event: &str) {
        match self.told.recv_timeout(SOON) {
            Ok(line) => assert!(line.contains(&format!("\"event\":\"{event}\"")), "{event} was expected, not {line}"),
            Err(error) => panic!("{event} was expected, and it said nothing: {error}"),
        }
    }

    #[track_caller]
    fn gets(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), signal).expect("it is there");
    }

    #[track_caller]
    fn ends(&mut self) -> Option<i32> {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
    });
    told
}

fn exists_soon(path: &Path) {
    let deadline = Instant::now() + SOON;
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

both_drivers! {
    fn the_first_command_runs_before_the_filesystems_are_frozen_and_the_second_after_they_are_released(stage: Stage) {
        let guest = stage.disk("data").hook("50-hook", "").start();
        let watch = Watch::starts(&guest, "true", "60s");
        guest.host_may(Check);
        watch.tells("check");
        guest.host_may(Freeze);
        watch.tells("at_rest");
        guest.is_frozen();
        guest.scripts_ran(["app freeze", "50-hook freeze"]);
        guest.host_may(Thaw);
        watch.tells("at_work");
        guest.runs();
        assert_eq!(guest.script_lines().iter().filter(|line| line.starts_with("app thaw")).count(), 1);
    }

    fn a_command_that_fails_refuses_the_backup_and_what_it_began_is_undone(stage: Stage) {
        let guest = stage.disk("data").hook("50-hook", "").start();
        let watch = Watch::starts(&guest, "exit 3", "60s");
        guest.host_may_not(Freeze);
        watch.tells("refused");
        watch.tells("at_work");
        guest.scripts_ran(["app freeze", "app thaw"]);
        guest.runs();
    }

    fn a_command_that_takes_too_long_is_too_late_and_what_it_began_is_undone(stage: Stage) {
        let guest = stage.disk("data").start();
        // Our driver says so at the answer. That in base takes any answer and never tells more: the longest hold is what lets go.
        let watch = Watch::starts(&guest, &format!("sleep {}", LIMIT.as_secs_f64() + 0.5), "1s");
        guest.host_may_not(Freeze);
        watch.tells("at_rest");
        watch.tells("at_work");
        guest.scripts_ran(["app freeze", "app thaw"]);
        guest.runs();
    }

    fn held_too_long_it_goes_on_by_itself_and_the_worker_hears_of_it_at_the_thaw(stage: Stage) {
        let guest = stage.disk("data").start();
        let watch = Watch::starts(&guest, "true", "300ms");
        guest.host_may(Freeze);
        watch.tells("at_rest");
        watch.tells("at_work");
        guest.is_frozen();
        guest.scripts_ran(["app freeze", "app thaw"]);
        guest.host_may_not(Thaw);
        guest.runs();
        guest.scripts_ran(["app freeze", "app thaw"]);
    }

    /// Row 28 of docs/predecessor-bugs.md, for the applications' node.
    fn what_a_command_leaves_in_the_background_does_not_keep_a_dead_watch_registered(stage: Stage) {
        let guest = stage.disk("data").start();
        let pid = guest.stage().scratch("lingering");
        let watch = Watch::starts(&guest, &format!("sleep 100 >/dev/null 2>&1 & echo $! > {}", pid.display()), "60s");
        guest.host_may(Freeze);
        watch.tells("at_rest");
        guest.host_may(Thaw);
        watch.tells("at_work");
        let lingering = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        drop(watch);
        let deadline = Instant::now() + SOON;
        while guest.host().state().unwrap().driver.apps_open > 0 {
            assert!(Instant::now() < deadline, "the dead watch is still registered");
            std::thread::sleep(Duration::from_millis(5));
        }
        guest.process_is_there(lingering);
    }

    fn told_to_end_at_rest_it_lets_go_first(stage: Stage) {
        let guest = stage.disk("data").start();
        let mut watch = Watch::starts(&guest, "true", "60s");
        guest.host_may(Freeze);
        watch.tells("at_rest");
        watch.gets(Signal::SIGTERM);
        watch.tells("at_work");
        watch.tells("ended");
        assert_eq!(watch.ends(), Some(0));
        guest.scripts_ran(["app freeze", "app thaw"]);
        guest.host_may(Thaw);
        guest.runs();
    }

    fn told_to_end_at_work_it_ends_and_runs_nothing(stage: Stage) {
        let guest = stage.disk("data").start();
        let mut watch = Watch::starts(&guest, "true", "60s");
        watch.gets(Signal::SIGINT);
        watch.tells("ended");
        assert_eq!(watch.ends(), Some(0));
        guest.scripts_ran([]);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
    }

    fn told_to_end_while_coming_to_rest_it_refuses_and_lets_go(stage: Stage) {
        let guest = stage.disk("data").start();
        let (began, may_end) = (guest.stage().scratch("began"), guest.stage().scratch("may-end"));
        let body = format!(": > {}; until [ -e {} ]; do sleep 0.02; done", began.display(), may_end.display());
        let mut watch = Watch::starts(&guest, &body, "60s");
        let sent = guest.host_sends(Freeze);
        exists_soon(&began);
        watch.gets(Signal::SIGTERM);
        // It waits for its command; there is nothing to see of that it has heard.
        std::thread::sleep(Duration::from_millis(100));
        std::fs::write(&may_end, "").expect("the scratch directory can be written");
        guest.fails(sent);
        watch.tells("refused");
        watch.tells("at_work");
        watch.tells("ended");
        assert_eq!(watch.ends(), Some(0));
        guest.scripts_ran(["app freeze", "app thaw"]);
        guest.runs();
    }
}

/// With the driver in base, which lets one application have the node.
#[test]
fn a_second_one_on_the_driver_in_base_is_told_that_there_can_be_one() {
    Stage::take(hv_vss_stories::Kind::Base).into_iter().for_each(|stage| {
        let guest = stage.disk("data").start();
        let _first = Watch::starts(&guest, "true", "60s");
        let output = Watch::command(&guest, "true", "60s").stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("one with the driver in base"), "{said}");
    });
}
