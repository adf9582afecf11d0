//! The rows of the answers table, each told as a story. The walk in `closure` shows that nothing is forgotten; these show that what happens is
//! what was meant.

use super::*;

/// A guest whose plugins do as the story says.
struct Guest {
    cycle: Cycle,
    plan: Shape,
    names: Vec<&'static str>,
    /// What was done and not yet claimed by the story.
    done: Vec<String>,
    requests: u64,
    /// A look at the processes is answered by the story, not at once.
    maps: bool,
    /// What the comparison for a THAW finds.
    mounts_are_the_same: bool,
    /// The success of this request comes too late for the driver.
    late: Option<RequestId>,
}

impl Guest {
    /// Applications are named with their number (`10 postgres`), filesystems without; each has a worker of its own.
    fn with_steps<const N: usize>(steps: [&'static str; N]) -> Self {
        let holders = steps.iter().enumerate().map(|(at, step)| {
            let kind = match step.split_once(' ') {
                Some((number, _)) => Kind::App { number: number.parse().unwrap() },
                None => Kind::Filesystem { survives_exit: *step == "survivor" },
            };
            Holder { worker: WorkerId(at), kind }
        });
        let names = steps.iter().map(|step| step.rsplit(' ').next().unwrap()).collect();
        Self {
            cycle: Cycle::default(),
            plan: Shape(holders.collect()),
            names,
            done: Vec::new(),
            requests: 0,
            maps: false,
            mounts_are_the_same: true,
            late: None,
        }
    }

    fn once_frozen(mut self) -> Self {
        self.host_asks(Operation::Freeze);
        self.settles_down();
        assert!(matches!(self.cycle.state(), State::Frozen(_)), "{:?}", self.done);
        self.done.clear();
        self
    }

    fn host_asks(&mut self, operation: Operation) -> RequestId {
        let request = RequestId(self.requests);
        self.requests += 1;
        self.gets(Input::Host(request, operation));
        request
    }

    fn gets(&mut self, input: Input) {
        for action in self.cycle.handle(input) {
            let told = self.tell(&action);
            self.done.extend(told);
            match action {
                Action::Survey(_) => self.gets(Input::Surveyed(Some(self.plan.clone()))),
                Action::Note => self.gets(Input::Noted),
                Action::LastFlush => self.gets(Input::Flushed),
                Action::Scan if !self.maps => self.gets(Input::Scanned { clear: true }),
                Action::ScanAgain if !self.maps => self.gets(Input::ScannedAgain),
                Action::Silence => self.gets(Input::Silent),
                Action::Compare if self.is_frozen() => self.gets(Input::Compared { same: self.mounts_are_the_same }),
                Action::Answer(request, Verdict::Success, _) if self.late == Some(request) => {
                    self.gets(Input::AnswerLate(request, Operation::Thaw));
                }
                Action::GoOn => self.gets(Input::GoOn),
                _ => {}
            }
        }
    }

    /// The action in the story's words; bookkeeping is not told.
    fn tell(&self, action: &Action) -> Option<String> {
        let name = |id: &HolderId| self.names[id.0];
        let worker = |id: &WorkerId| self.names[id.0];
        Some(match action {
            Action::Answer(request, Verdict::Success, _) => format!("tell host success for {}", request.0),
            Action::Answer(request, Verdict::Fail, _) => format!("tell host fail for {}", request.0),
            Action::Freeze(id) => format!("freeze {}", name(id)),
            Action::Thaw(id, Outcome::Ok) => format!("thaw {}", name(id)),
            Action::Thaw(id, outcome) => format!("thaw {} ({outcome:?})", name(id)),
            Action::Cancel(id) => format!("cancel {}", name(id)),
            Action::Kill(id) => format!("kill {}", worker(id)),
            Action::Revive(id) => format!("revive {}", worker(id)),
            Action::Compare if self.is_frozen() => return None,
            Action::Compare => "compare mounts".to_owned(),
            Action::LookFor(id) => format!("look for {}", name(id)),
            Action::Rehearsed(verdict, _) => format!("rehearsed {verdict:?}"),
            Action::Ended(outcome, _) => format!("ended {outcome:?}"),
            Action::Exit => "exit".to_owned(),
            _ => return None,
        })
    }

    fn is_frozen(&self) -> bool {
        matches!(self.cycle.state(), State::Frozen(_))
    }

    fn holder(&self, who: &str) -> HolderId {
        HolderId(self.names.iter().position(|name| *name == who).unwrap())
    }

    fn says_done(&mut self, who: &str) {
        self.ends(who, StepEnd::Done { held: true });
    }

    fn says_no(&mut self, who: &str) {
        self.ends(who, StepEnd::Failed);
    }

    fn ends(&mut self, who: &str, end: StepEnd) {
        let holder = self.holder(who);
        let freezing = match &self.cycle.state {
            State::Freezing(state) => state.run.hold(holder) == Some(Hold::Freezing),
            State::Releasing(state) => state.run.hold(holder) == Some(Hold::Freezing),
            _ => false,
        };
        self.gets(if freezing { Input::Froze(holder, end) } else { Input::Thawed(holder, end) });
    }

    fn worker_dies(&mut self, who: &str) {
        self.gets(Input::WorkerGone(WorkerId(self.holder(who).0)));
    }

    fn worker_is_back(&mut self, who: &str) {
        self.gets(Input::WorkerReady(WorkerId(self.holder(who).0)));
    }

    fn time_is_up(&mut self, timer: Timer) {
        self.gets(Input::TimeUp(timer));
    }

    /// Everyone does at once what is asked until nothing more is.
    fn settles_down(&mut self) {
        let mut read = 0;
        while read < self.done.len() {
            let step = self.done[read].clone();
            read += 1;
            match step.split_whitespace().collect::<Vec<_>>()[..] {
                ["freeze" | "thaw", who, ..] => self.says_done(who),
                ["compare", "mounts"] => self.gets(Input::Compared { same: true }),
                _ => {}
            }
        }
    }

    #[track_caller]
    fn did<const N: usize>(&mut self, steps: [&str; N]) {
        assert_eq!(self.done, steps);
        self.done.clear();
    }
}

#[test]
fn a_backup_goes_in_by_number_and_out_filesystems_first() {
    let mut guest = Guest::with_steps(["10 postgres", "50 hooks", "usr", "root"]);
    guest.host_asks(Operation::Freeze);
    guest.did(["freeze postgres"]);
    guest.says_done("postgres");
    guest.did(["freeze hooks"]);
    guest.says_done("hooks");
    guest.did(["freeze usr"]);
    guest.says_done("usr");
    guest.did(["freeze root"]);
    guest.says_done("root");
    guest.did(["compare mounts"]);
    guest.gets(Input::Compared { same: true });
    guest.did(["tell host success for 0"]);

    guest.host_asks(Operation::Thaw);
    guest.did(["thaw usr"]);
    guest.says_done("usr");
    guest.did(["thaw root"]);
    guest.says_done("root");
    guest.did(["thaw hooks"]);
    guest.says_done("hooks");
    guest.did(["thaw postgres"]);
    guest.says_done("postgres");
    guest.did(["tell host success for 1", "ended Ok"]);
}

#[test]
fn applications_with_equal_numbers_are_asked_at_once_and_the_next_wait_for_all_of_them() {
    let mut guest = Guest::with_steps(["10 postgres", "10 redis", "20 hooks", "root"]);
    guest.host_asks(Operation::Freeze);
    guest.did(["freeze postgres", "freeze redis"]);
    guest.says_done("redis");
    guest.did([]);
    guest.says_done("postgres");
    guest.did(["freeze hooks"]);
}

#[test]
fn when_the_last_step_refuses_everything_already_frozen_is_released() {
    let mut guest = Guest::with_steps(["10 postgres", "50 hooks", "usr", "root"]);
    guest.host_asks(Operation::Freeze);
    for step in ["postgres", "hooks", "usr"] {
        guest.says_done(step);
    }
    guest.did(["freeze postgres", "freeze hooks", "freeze usr", "freeze root"]);

    // root can't be suspended. The host hears of it at once; only then is anything let go. root's plugin, too, gets the thaw of its freeze.
    guest.says_no("root");
    guest.did(["tell host fail for 0", "thaw usr (Aborted)"]);
    guest.settles_down();
    guest.did([]);
    guest.says_done("usr");
    guest.says_done("root");
    guest.says_done("hooks");
    guest.says_done("postgres");
    guest.did(["thaw root (Aborted)", "thaw hooks (Aborted)", "thaw postgres (Aborted)", "ended Aborted"]);

    // The host's THAW after a FREEZE it knows has failed is nothing to worry about.
    guest.host_asks(Operation::Thaw);
    guest.did(["tell host success for 1"]);
}

#[test]
fn a_freeze_that_runs_out_of_time_is_answered_before_the_hanging_step_is_killed() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]);
    guest.host_asks(Operation::Freeze);
    guest.did(["freeze postgres"]);
    guest.time_is_up(Timer::Answer);
    guest.did(["tell host fail for 0", "kill postgres"]);
    // It never heard a thaw, so its next process does.
    guest.worker_dies("postgres");
    guest.did(["revive postgres"]);
    guest.worker_is_back("postgres");
    guest.did(["thaw postgres (Aborted)"]);
    guest.says_done("postgres");
    guest.did(["ended Aborted"]);
}

#[test]
fn a_second_freeze_while_frozen_is_refused_and_changes_nothing() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
    guest.host_asks(Operation::Freeze);
    guest.did(["tell host fail for 1"]);
    guest.host_asks(Operation::Check);
    guest.did(["tell host fail for 2"]);
    guest.host_asks(Operation::Thaw);
    guest.did(["thaw root"]);
}

#[test]
fn a_host_that_never_thaws_is_answered_fail_until_it_freezes_anew() {
    let mut guest = Guest::with_steps(["root"]).once_frozen();
    guest.time_is_up(Timer::Watchdog);
    guest.did(["thaw root (Expired)"]);
    guest.says_done("root");
    guest.did(["ended Expired"]);
    for late in [1, 2] {
        guest.host_asks(Operation::Thaw);
        guest.did([format!("tell host fail for {late}").as_str()]);
    }
    // A CHECK is about the next backup, not about this one.
    guest.host_asks(Operation::Check);
    guest.did(["tell host success for 3"]);
    guest.host_asks(Operation::Thaw);
    guest.did(["tell host fail for 4"]);
    let mut guest = guest.once_frozen();
    guest.host_asks(Operation::Thaw);
    guest.settles_down();
    guest.did(["thaw root", "tell host success for 6", "ended Ok"]);
}

#[test]
fn a_process_that_died_in_the_hold_unnoticed_until_the_thaw_makes_the_backup_a_failure() {
    // Its filesystems run as soon as it is dead; its death may be heard of only behind the THAW.
    for who in ["root", "postgres"] {
        let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
        guest.host_asks(Operation::Thaw);
        guest.worker_dies(who);
        while !guest.cycle.is_idle() {
            guest.settles_down();
            guest.done.retain(|did| did.starts_with("tell") || did.starts_with("revive"));
            if guest.done.last().is_some_and(|did| did.starts_with("revive")) {
                guest.worker_is_back(who);
            }
        }
        assert!(guest.done.contains(&"tell host fail for 1".to_owned()), "{who}: {:?}", guest.done);
    }
}

#[test]
fn a_process_that_dies_again_while_it_is_started_is_not_started_once_more_by_the_machine() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
    guest.worker_dies("postgres");
    guest.says_done("root");
    guest.did(["thaw root (Aborted)", "revive postgres"]);
    // The engine knows whether there is to be another try.
    guest.worker_dies("postgres");
    guest.did([]);
    guest.gets(Input::WorkerLost(WorkerId(0)));
    guest.did(["ended Aborted"]);
}

#[test]
fn a_thaw_that_this_process_has_no_freeze_for_is_answered_fail() {
    let mut guest = Guest::with_steps(["root"]);
    guest.host_asks(Operation::Thaw);
    guest.did(["tell host fail for 0"]);
}

#[test]
fn the_death_of_any_worker_while_frozen_releases_everything_and_the_thaw_hears_of_it() {
    let mut guest = Guest::with_steps(["10 postgres", "usr", "root"]).once_frozen();
    guest.worker_dies("postgres");
    // No program is started while a filesystem is suspended.
    guest.did(["thaw usr (Aborted)"]);
    guest.says_done("usr");
    guest.says_done("root");
    guest.did(["thaw root (Aborted)", "revive postgres"]);
    guest.worker_is_back("postgres");
    guest.says_done("postgres");
    guest.did(["thaw postgres (Aborted)", "ended Aborted"]);
    guest.host_asks(Operation::Thaw);
    guest.did(["tell host fail for 1"]);
}

#[test]
fn a_suspension_that_outlives_its_process_is_released_by_the_next_one() {
    let mut guest = Guest::with_steps(["10 postgres", "survivor", "root"]).once_frozen();
    guest.worker_dies("survivor");
    guest.did(["thaw root (Aborted)", "revive survivor"]);
    guest.says_done("root");
    guest.worker_is_back("survivor");
    guest.did(["thaw survivor (Aborted)"]);
    guest.says_done("survivor");
    guest.did(["thaw postgres (Aborted)"]);
}

#[test]
fn a_filesystem_whose_process_had_to_be_started_anew_goes_before_those_it_lies_on_are_done() {
    let mut guest = Guest::with_steps(["survivor", "home", "root"]).once_frozen();
    guest.host_asks(Operation::Thaw);
    guest.did(["thaw survivor"]);
    guest.worker_dies("survivor");
    guest.did(["thaw home", "revive survivor"]);
    // A umount of it may wait, and home is not done before that has ended.
    guest.worker_is_back("survivor");
    guest.did(["thaw survivor"]);
    guest.says_done("survivor");
    guest.did([]);
    guest.says_done("home");
    guest.did(["thaw root"]);
}

#[test]
fn an_outer_filesystem_waits_for_an_inner_one_of_another_process() {
    let mut guest = Guest::with_steps(["image", "home", "root"]).once_frozen();
    guest.host_asks(Operation::Thaw);
    guest.did(["thaw image"]);
    guest.time_is_up(Timer::ThawAnswer);
    guest.did([]);
    // Its process is killed, which resumes it. If that is stuck, too, the others do not wait for it without end.
    guest.gets(Input::Overdue(HolderId(0)));
    guest.did(["kill image"]);
    guest.time_is_up(Timer::AppsAnyway);
    guest.did(["thaw home"]);
}

#[test]
fn a_thaw_in_the_middle_of_a_freeze_fails_the_freeze_and_succeeds_once_all_is_released() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]);
    guest.host_asks(Operation::Freeze);
    guest.says_done("postgres");
    guest.did(["freeze postgres", "freeze root"]);
    guest.host_asks(Operation::Thaw);
    guest.did(["tell host fail for 0", "cancel root"]);
    guest.says_done("root");
    guest.did(["thaw root (Aborted)"]);
    guest.says_done("root");
    guest.says_done("postgres");
    guest.did(["thaw postgres (Aborted)", "tell host success for 1", "ended Aborted"]);
}

#[test]
fn a_thaw_is_answered_fail_if_a_filesystem_is_not_released_in_time() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
    guest.host_asks(Operation::Thaw);
    // The host still waits: what is not released yet is no failure yet.
    guest.time_is_up(Timer::ThawAnswer);
    guest.did(["thaw root"]);
    guest.time_is_up(Timer::ThawAnswer);
    guest.did(["tell host fail for 1"]);
    // A script may block in exec until the release: the applications are let go regardless, and the hanging worker is killed.
    guest.time_is_up(Timer::AppsAnyway);
    guest.did(["thaw postgres"]);
    guest.gets(Input::Overdue(HolderId(1)));
    guest.did(["kill root"]);
    guest.worker_dies("root");
    guest.says_done("postgres");
    guest.did(["ended Ok"]);
}

#[test]
fn a_filesystem_that_is_released_slowly_is_waited_for_and_no_application_beside_it() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
    guest.host_asks(Operation::Thaw);
    guest.time_is_up(Timer::ThawAnswer);
    guest.did(["thaw root"]);
    guest.says_done("root");
    guest.did(["thaw postgres", "tell host success for 1"]);
    guest.says_done("postgres");
    guest.did(["ended Ok"]);
}

#[test]
fn an_application_that_was_not_at_rest_fails_a_cycle_whose_thaw_was_answered() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
    guest.host_asks(Operation::Thaw);
    guest.says_done("root");
    guest.time_is_up(Timer::ThawAnswer);
    guest.did(["thaw root", "thaw postgres", "tell host success for 1"]);
    guest.gets(Input::Thawed(HolderId(0), StepEnd::Done { held: false }));
    guest.did(["ended Aborted"]);
}

#[test]
fn slow_applications_do_not_change_a_thaws_answer() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
    guest.host_asks(Operation::Thaw);
    guest.says_done("root");
    guest.time_is_up(Timer::ThawAnswer);
    guest.did(["thaw root", "thaw postgres", "tell host success for 1"]);
    guest.says_no("postgres");
    guest.did(["ended Ok"]);
}

#[test]
fn a_holder_that_let_go_before_the_thaw_makes_the_backup_a_failure() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
    guest.host_asks(Operation::Thaw);
    guest.ends("root", StepEnd::Done { held: false });
    guest.did(["thaw root", "thaw postgres (Expired)"]);
    guest.says_done("postgres");
    guest.did(["tell host fail for 1", "ended Expired"]);
}

#[test]
fn a_check_that_comes_while_releasing_waits_for_its_turn() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
    guest.host_asks(Operation::Thaw);
    guest.says_done("root");
    guest.time_is_up(Timer::ThawAnswer);
    guest.host_asks(Operation::Check);
    guest.did(["thaw root", "thaw postgres", "tell host success for 1"]);
    guest.says_done("postgres");
    guest.did(["ended Ok", "tell host success for 2"]);
}

#[test]
fn a_request_that_waits_too_long_for_the_release_is_answered_fail() {
    let mut guest = Guest::with_steps(["10 postgres"]).once_frozen();
    guest.time_is_up(Timer::Watchdog);
    guest.host_asks(Operation::Freeze);
    guest.time_is_up(Timer::Answer);
    guest.did(["thaw postgres (Expired)", "tell host fail for 1"]);
}

#[test]
fn a_real_request_ends_a_rehearsal_and_is_served_after_it() {
    let mut guest = Guest::with_steps(["10 postgres"]);
    guest.gets(Input::Rehearse);
    guest.host_asks(Operation::Freeze);
    guest.did(["freeze postgres", "rehearsed Fail", "cancel postgres"]);
    guest.says_no("postgres");
    guest.says_done("postgres");
    guest.did(["thaw postgres (Aborted)", "ended Aborted", "freeze postgres"]);
}

#[test]
fn a_rehearsal_leaves_no_trace_in_what_a_thaw_hears() {
    let mut guest = Guest::with_steps(["root"]);
    guest.gets(Input::Rehearse);
    guest.settles_down();
    guest.done.clear();
    guest.host_asks(Operation::Thaw);
    guest.says_done("root");
    guest.did(["thaw root (Aborted)", "ended Aborted", "tell host fail for 0"]);
}

#[test]
fn a_stop_while_frozen_releases_everything_and_then_ends() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]).once_frozen();
    guest.gets(Input::Stop);
    guest.settles_down();
    guest.did(["thaw root (Aborted)", "thaw postgres (Aborted)", "ended Aborted", "exit"]);
}

#[test]
fn an_operation_from_the_future_is_answered_fail_and_changes_nothing() {
    let mut guest = Guest::with_steps(["root"]).once_frozen();
    guest.host_asks(Operation::Unknown(77));
    guest.did(["tell host fail for 1"]);
    assert!(matches!(guest.cycle.state(), State::Frozen(_)));
}

#[test]
fn an_answer_that_the_driver_found_too_late_undoes_the_freeze() {
    let mut guest = Guest::with_steps(["root"]).once_frozen();
    guest.gets(Input::AnswerLate(RequestId(0), Operation::Freeze));
    guest.says_done("root");
    guest.did(["thaw root (Aborted)", "ended Aborted"]);
}

#[test]
fn a_mapped_file_fails_a_freeze_before_the_first_filesystem() {
    let mut guest = Guest::with_steps(["10 postgres", "root"]);
    guest.maps = true;
    guest.host_asks(Operation::Freeze);
    guest.says_done("postgres");
    guest.did(["freeze postgres"]);
    guest.gets(Input::Scanned { clear: false });
    guest.says_done("postgres");
    guest.did(["tell host fail for 0", "thaw postgres (Aborted)", "ended Aborted"]);
}

#[test]
fn filesystems_are_released_only_after_the_second_look_and_a_death_does_not_wait_for_one() {
    let mut guest = Guest::with_steps(["usr", "root"]).once_frozen();
    guest.maps = true;
    guest.host_asks(Operation::Thaw);
    guest.did([]);
    guest.gets(Input::ScannedAgain);
    guest.did(["thaw usr"]);

    let mut guest = Guest::with_steps(["usr", "root"]).once_frozen();
    guest.maps = true;
    guest.worker_dies("root");
    guest.did(["thaw usr (Aborted)"]);
}

#[test]
fn a_thaw_that_waits_behind_one_whose_answer_was_late_fails() {
    let mut guest = Guest::with_steps(["root"]).once_frozen();
    let first = guest.host_asks(Operation::Thaw);
    guest.did(["thaw root"]);
    guest.host_asks(Operation::Thaw);
    guest.late = Some(first);
    guest.says_done("root");
    // The host has heard that the first one failed; the engine finds that out while it performs.
    guest.did(["tell host success for 1", "ended Ok", "tell host fail for 2"]);
    assert!(guest.cycle.is_idle());
}

#[test]
fn mounts_that_changed_in_the_hold_fail_the_thaw_after_everything_is_thawed() {
    let mut guest = Guest::with_steps(["root"]).once_frozen();
    guest.mounts_are_the_same = false;
    guest.host_asks(Operation::Thaw);
    guest.did(["thaw root (Aborted)"]);
    guest.says_done("root");
    guest.did(["tell host fail for 1", "ended Aborted"]);
    guest.host_asks(Operation::Thaw);
    guest.did(["tell host fail for 2"]);
}

#[test]
fn a_filesystem_that_refuses_since_it_was_unmounted_is_no_failure() {
    for (unmounted, then) in [(true, "freeze root"), (false, "tell host fail for 0")] {
        let mut guest = Guest::with_steps(["data", "root"]);
        guest.host_asks(Operation::Freeze);
        guest.did(["freeze data"]);
        guest.ends("data", StepEnd::Refused);
        guest.did(["look for data"]);
        guest.gets(Input::Looked { unmounted });
        assert_eq!(guest.done[0], then);
    }
}

#[test]
fn a_freeze_waits_for_observers_and_no_longer_than_their_timer() {
    let goes_on: [fn(&mut Guest); 2] = [|guest| guest.gets(Input::Silent), |guest| guest.time_is_up(Timer::Silence)];
    for goes_on in goes_on {
        let mut guest = Guest::with_steps(["root"]);
        guest.cycle.handle(Input::Host(RequestId(0), Operation::Freeze));
        guest.cycle.handle(Input::Surveyed(Some(guest.plan.clone())));
        guest.cycle.handle(Input::Noted);
        assert!(guest.cycle.handle(Input::Flushed).contains(&Action::Silence));
        assert_eq!(guest.cycle.point(), Point::Silencing);
        goes_on(&mut guest);
        guest.did(["freeze root"]);
    }
}

#[test]
fn a_worker_that_alone_can_release_something_is_tried_again_after_a_pause() {
    let mut guest = Guest::with_steps(["survivor"]).once_frozen();
    guest.worker_dies("survivor");
    guest.did(["revive survivor"]);
    for _ in 0..2 {
        guest.gets(Input::WorkerLost(WorkerId(0)));
        guest.did([]);
        guest.time_is_up(Timer::Revive);
        guest.did(["revive survivor"]);
    }
    guest.worker_is_back("survivor");
    guest.says_done("survivor");
    assert!(guest.cycle.is_idle());
}

#[test]
fn an_operators_check_gives_way_to_the_host_and_leaves_nothing() {
    let mut cycle = Cycle::default();
    assert_eq!(cycle.handle(Input::OperatorCheck), [Action::Survey(Purpose::Outlook)]);
    assert_eq!(cycle.handle(Input::OperatorCheck), [Action::RefuseCheck(Why::Busy)]);
    let done = cycle.handle(Input::Host(RequestId(0), Operation::Check));
    assert_eq!(done[..2], [Action::AbandonSurvey, Action::DropCheck(Why::Overruled)]);
    assert!(done.contains(&Action::Survey(Purpose::Check)));
    cycle.handle(Input::Surveyed(None));
    cycle.handle(Input::OperatorCheck);
    assert_eq!(cycle.handle(Input::Surveyed(None)), [Action::Outlook]);
    assert!(cycle.is_idle());
}
