//! The way in: survey, note, applications by number, last flush, look for mapped files, filesystems one by one, compare, answer. The first thing that goes wrong
//! answers the host at once; only then is what was held let go.

use hv_vss_types::Verdict;
use hv_vss_wire::Outcome;

use super::run::Life;
use super::{
    Action, Actions, Asker, Cycle, Freezing, Frozen, Hold, HolderId, Memory, PendingThaw, Purpose, RequestId, Run,
    Shape, Stage, State, StepEnd, Timer, Why,
};

impl Cycle {
    pub(super) fn begin_freeze(&mut self, request: RequestId, actions: &mut Actions) {
        self.memory = Memory::Clean;
        self.start_freezing(Asker::Host(request), Purpose::Freeze, actions);
    }

    pub(super) fn rehearse(&mut self, actions: &mut Actions) {
        if self.stopping || !self.is_idle() {
            actions.push(Action::Rehearsed(Verdict::Fail, if self.stopping { Why::Stopping } else { Why::Busy }));
            return;
        }
        actions.push(Action::Await(None));
        actions.push(Action::Arm(Timer::Answer));
        self.start_freezing(Asker::Rehearsal, Purpose::Rehearsal, actions);
    }

    fn start_freezing(&mut self, asker: Asker, purpose: Purpose, actions: &mut Actions) {
        self.state = State::Freezing(Freezing { asker, stage: Stage::Surveying, run: Run::empty() });
        actions.push(Action::Hush);
        actions.push(Action::Survey(purpose));
    }

    pub(super) fn surveyed(&mut self, shape: Option<Shape>, actions: &mut Actions) {
        match (&mut self.state, shape) {
            (State::Checking(request), plan) => {
                let (verdict, why) = match plan {
                    Some(_) => (Verdict::Success, Why::AsAsked),
                    None => (Verdict::Fail, Why::Refused),
                };
                match *request {
                    Some(request) => self.answer_and_rest(request, verdict, why, actions),
                    None => {
                        self.state = State::Idle;
                        actions.push(Action::Outlook);
                        self.rest(actions);
                    }
                }
            }
            (State::Freezing(freezing), Some(shape)) if freezing.stage == Stage::Surveying => {
                freezing.run = Run::new(shape);
                freezing.stage = Stage::Noting;
                actions.push(Action::Note);
            }
            (State::Freezing(freezing), None) if freezing.stage == Stage::Surveying => {
                self.fail_freeze(Why::Refused, None, actions)
            }
            _ => {}
        }
    }

    pub(super) fn noted(&mut self, actions: &mut Actions) {
        let State::Freezing(freezing) = &mut self.state else { return };
        if freezing.stage == Stage::Noting {
            actions.push(Action::FlushBeside);
            freezing.ask_apps_above(None, actions);
        }
    }

    pub(super) fn froze(&mut self, holder: HolderId, end: StepEnd, actions: &mut Actions) {
        match &mut self.state {
            State::Freezing(freezing) if freezing.run.hold(holder) == Some(Hold::Freezing) => match end {
                StepEnd::Done { .. } => {
                    freezing.run.set(holder, Hold::Held);
                    freezing.go_on(actions);
                }
                StepEnd::Refused if freezing.run.is_filesystem(holder) => {
                    freezing.run.set(holder, Hold::Owed(0));
                    freezing.stage = Stage::Looking(holder);
                    actions.push(Action::LookFor(holder));
                }
                StepEnd::Refused | StepEnd::Failed => {
                    freezing.run.set(holder, Hold::Owed(0));
                    self.fail_freeze(Why::StepFailed(holder), None, actions);
                }
            },
            // It was cancelled, or the freeze failed elsewhere meanwhile: whatever it managed to hold, its thaw is owed.
            State::Releasing(releasing) if releasing.run.hold(holder) == Some(Hold::Freezing) => {
                releasing.run.set(holder, Hold::Owed(0));
                self.release_on(actions);
            }
            _ => {}
        }
    }

    pub(super) fn flushed(&mut self, actions: &mut Actions) {
        let State::Freezing(freezing) = &mut self.state else { return };
        if freezing.stage == Stage::LastFlush {
            freezing.stage = Stage::Silencing;
            actions.push(Action::Arm(Timer::Silence));
            actions.push(Action::Silence);
        }
    }

    /// No observer writes any more, or none is waited for any longer. The kernel begins no suspension in the midst of a write, so going on is safe.
    pub(super) fn silent(&mut self, actions: &mut Actions) {
        let State::Freezing(freezing) = &mut self.state else { return };
        if freezing.stage == Stage::Silencing {
            actions.push(Action::Disarm(Timer::Silence));
            freezing.stage = Stage::Scanning;
            actions.push(Action::Scan);
        }
    }

    pub(super) fn scanned(&mut self, clear: bool, actions: &mut Actions) {
        let State::Freezing(freezing) = &mut self.state else { return };
        match (freezing.stage, clear) {
            (Stage::Scanning, true) => {
                if freezing.run.each().any(|(_, holder, _)| holder.is_filesystem()) {
                    freezing.run.log_is_held = true;
                    actions.push(Action::HoldLog);
                }
                freezing.ask_next_filesystem(actions);
            }
            (Stage::Scanning, false) => self.fail_freeze(Why::Mapped, None, actions),
            _ => {}
        }
    }

    /// A filesystem that was unmounted between plan and freeze is no failure: nothing of it is in the backup, unless it comes back, which the
    /// comparisons would see.
    pub(super) fn looked(&mut self, unmounted: bool, actions: &mut Actions) {
        let State::Freezing(freezing) = &mut self.state else { return };
        let Stage::Looking(holder) = freezing.stage else { return };
        if unmounted {
            freezing.run.set(holder, Hold::Held);
            freezing.ask_next_filesystem(actions);
        } else {
            self.fail_freeze(Why::StepFailed(holder), None, actions);
        }
    }

    pub(super) fn compared(&mut self, same: bool, actions: &mut Actions) {
        if let State::Frozen(frozen) = &mut self.state {
            match (frozen.thaw, same) {
                (Some(thaw), true) => {
                    let run = frozen.take(actions);
                    self.release(run, Outcome::Ok, Why::AsAsked, Some(PendingThaw::of(thaw, true)), actions);
                }
                (Some(_), false) => self.lose(Outcome::Aborted, Why::MountsChanged, actions),
                (None, _) => {}
            }
            return;
        }
        let State::Freezing(freezing) = &mut self.state else { return };
        if freezing.stage != Stage::Comparing {
            return;
        }
        if !same {
            self.fail_freeze(Why::MountsChanged, None, actions);
            return;
        }
        let asker = freezing.asker;
        let run = std::mem::replace(&mut freezing.run, Run::empty());
        self.state = State::Frozen(Frozen { asker, run, thaw: None });
        actions.push(Action::Disarm(Timer::Answer));
        match asker {
            Asker::Host(request) => actions.push(Action::Answer(request, Verdict::Success, Why::AsAsked)),
            Asker::Rehearsal => {
                actions.push(Action::Rehearsed(Verdict::Success, Why::AsAsked));
                actions.push(Action::Arm(Timer::Hold));
            }
        }
        actions.push(Action::Arm(Timer::Watchdog));
    }

    /// The host hears of the failure first; then everything that was touched is let go. `thaw` is the THAW that cut the freeze short.
    pub(super) fn fail_freeze(&mut self, why: Why, thaw: Option<RequestId>, actions: &mut Actions) {
        let State::Freezing(freezing) = &mut self.state else { return };
        actions.push(Action::Disarm(Timer::Answer));
        match freezing.asker {
            Asker::Host(request) => actions.push(Action::Answer(request, Verdict::Fail, why)),
            Asker::Rehearsal => actions.push(Action::Rehearsed(Verdict::Fail, why)),
        }
        if freezing.stage == Stage::Silencing {
            actions.push(Action::Disarm(Timer::Silence));
        }
        if freezing.stage == Stage::Surveying && why != Why::Refused {
            actions.push(Action::AbandonSurvey);
        }
        let run = std::mem::replace(&mut freezing.run, Run::empty());
        self.release(run, Outcome::Aborted, why, thaw.map(|request| PendingThaw::of(request, false)), actions);
    }
}

impl Freezing {
    /// Goes on once everyone asked so far is at rest.
    fn go_on(&mut self, actions: &mut Actions) {
        if self.run.each().any(|(_, _, hold)| hold == Hold::Freezing) {
            return;
        }
        match self.stage {
            Stage::Apps(number) => self.ask_apps_above(Some(number), actions),
            Stage::Filesystems => self.ask_next_filesystem(actions),
            Stage::Surveying
            | Stage::Noting
            | Stage::LastFlush
            | Stage::Silencing
            | Stage::Scanning
            | Stage::Looking(_)
            | Stage::Comparing => {}
        }
    }

    fn ask_apps_above(&mut self, done: Option<u8>, actions: &mut Actions) {
        match self.run.app_numbers().into_iter().find(|number| done.is_none_or(|done| *number > done)) {
            Some(number) => {
                self.stage = Stage::Apps(number);
                for app in self.run.apps_with(number) {
                    self.ask(app, actions);
                }
            }
            None => {
                self.stage = Stage::LastFlush;
                actions.push(Action::LastFlush);
            }
        }
    }

    fn ask_next_filesystem(&mut self, actions: &mut Actions) {
        let next = self.run.each().find(|(_, holder, hold)| holder.is_filesystem() && *hold == Hold::Untouched);
        match next {
            Some((filesystem, ..)) => {
                self.stage = Stage::Filesystems;
                self.ask(filesystem, actions);
            }
            None => {
                self.stage = Stage::Comparing;
                actions.push(Action::Compare);
            }
        }
    }

    fn ask(&mut self, holder: HolderId, actions: &mut Actions) {
        debug_assert!(self.run.worker_of(holder).is_some_and(|worker| self.run.life(worker) == Life::Alive));
        self.run.set(holder, Hold::Freezing);
        actions.push(Action::Freeze(holder));
    }
}
