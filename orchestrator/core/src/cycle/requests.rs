//! The host's side: what each request hears in each state, and what outsiders (operator, watchdog, stop) may change. Together with `freezing`
//! and `releasing` this is the table of answers of ARCHITECTURE.md.

use hv_vss_types::{Operation, Verdict};
use hv_vss_wire::Outcome;

use super::{Action, Actions, Asker, Cycle, Memory, Purpose, RequestId, State, Timer, Why};

impl Cycle {
    pub(super) fn asked(&mut self, request: RequestId, operation: Operation, actions: &mut Actions) {
        if let Operation::Unknown(code) = operation {
            actions.push(Action::Answer(request, Verdict::Fail, Why::UnknownOperation(code)));
            return;
        }
        if self.stopping && operation != Operation::Thaw {
            actions.push(Action::Answer(request, Verdict::Fail, Why::Stopping));
            return;
        }
        match &self.state {
            State::Idle => self.asked_while_idle(request, operation, actions),
            State::Checking(check) => {
                match (*check, operation) {
                    // A request of the host goes before an operator's question.
                    (None, _) => {
                        self.give_up_check(Why::Overruled, actions);
                        self.asked_while_idle(request, operation, actions);
                    }
                    (Some(_), Operation::Thaw) => {
                        self.give_up_check(Why::ThawCame, actions);
                        self.asked_while_idle(request, operation, actions);
                    }
                    (Some(_), _) => actions.push(Action::Answer(request, Verdict::Fail, Why::Busy)),
                }
            }
            State::Freezing(freezing) => match (freezing.asker, operation) {
                (Asker::Rehearsal, _) => {
                    self.fail_freeze(Why::Overruled, None, actions);
                    self.wait_or_begin(request, operation, actions);
                }
                (Asker::Host(_), Operation::Thaw) => self.fail_freeze(Why::ThawCame, Some(request), actions),
                (Asker::Host(_), _) => actions.push(Action::Answer(request, Verdict::Fail, Why::Busy)),
            },
            State::Frozen(frozen) => match (frozen.asker, operation) {
                (Asker::Rehearsal, _) => {
                    self.lose(Outcome::Aborted, Why::Overruled, actions);
                    self.wait_or_begin(request, operation, actions);
                }
                (Asker::Host(_), Operation::Thaw) if frozen.thaw.is_none() => self.thaw_the_frozen(request, actions),
                (Asker::Host(_), _) => actions.push(Action::Answer(request, Verdict::Fail, Why::Busy)),
            },
            State::Releasing(_) => self.wait(request, operation, actions),
        }
    }

    fn asked_while_idle(&mut self, request: RequestId, operation: Operation, actions: &mut Actions) {
        match operation {
            Operation::Check => {
                self.state = State::Checking(Some(request));
                self.owe_answer(request, actions);
                actions.push(Action::Survey(Purpose::Check));
            }
            Operation::Freeze => {
                self.owe_answer(request, actions);
                self.begin_freeze(request, actions);
            }
            Operation::Thaw => {
                let (verdict, why) = match self.memory {
                    Memory::Unknown => (Verdict::Fail, Why::NeverAsked),
                    Memory::Clean => (Verdict::Success, Why::NothingHeld),
                    Memory::Lost => (Verdict::Fail, Why::Lost),
                };
                actions.push(Action::Answer(request, verdict, why));
            }
            Operation::Unknown(code) => {
                actions.push(Action::Answer(request, Verdict::Fail, Why::UnknownOperation(code)))
            }
        }
    }

    fn thaw_the_frozen(&mut self, request: RequestId, actions: &mut Actions) {
        let State::Frozen(frozen) = &mut self.state else { return };
        // What was mounted during the hold is in the host's images, and was never at rest.
        frozen.thaw = Some(request);
        actions.push(Action::Arm(Timer::ThawAnswer));
        actions.push(Action::Compare);
    }

    /// A check is over without findings: the host's is answered fail, an operator's is given up.
    fn give_up_check(&mut self, why: Why, actions: &mut Actions) {
        let State::Checking(check) = self.state else { return };
        actions.push(Action::AbandonSurvey);
        match check {
            Some(request) => self.answer_and_rest(request, Verdict::Fail, why, actions),
            None => {
                self.state = State::Idle;
                actions.push(Action::DropCheck(why));
                self.rest(actions);
            }
        }
    }

    /// An operator asks whether a backup would work: only while nothing is in work.
    pub(super) fn operator_check(&mut self, actions: &mut Actions) {
        if self.stopping || !self.is_idle() {
            actions.push(Action::RefuseCheck(if self.stopping { Why::Stopping } else { Why::Busy }));
            return;
        }
        self.state = State::Checking(None);
        actions.push(Action::Survey(Purpose::Outlook));
    }

    /// The engine has reported which of its answers came too late: a request that waits has its turn.
    pub(super) fn go_on_resting(&mut self, actions: &mut Actions) {
        if matches!(&self.state, State::Releasing(releasing) if releasing.over) {
            self.state = State::Idle;
            self.rest(actions);
        }
    }

    fn owe_answer(&mut self, request: RequestId, actions: &mut Actions) {
        actions.push(Action::Await(Some(request)));
        actions.push(Action::Arm(Timer::Answer));
    }

    /// After a rehearsal was cut short: if nothing was held, the request is served at once.
    fn wait_or_begin(&mut self, request: RequestId, operation: Operation, actions: &mut Actions) {
        if self.is_idle() {
            self.asked_while_idle(request, operation, actions);
        } else {
            self.wait(request, operation, actions);
        }
    }

    /// One request may wait for the end of *releasing*. A THAW takes the place of a CHECK or FREEZE, as it does in the driver.
    fn wait(&mut self, request: RequestId, operation: Operation, actions: &mut Actions) {
        if let Some((earlier, waits)) = self.waiting {
            if operation != Operation::Thaw || waits == Operation::Thaw {
                actions.push(Action::Answer(request, Verdict::Fail, Why::Busy));
                return;
            }
            actions.push(Action::Answer(earlier, Verdict::Fail, Why::ThawCame));
        }
        self.waiting = Some((request, operation));
        self.owe_answer(request, actions);
    }

    /// *Idle* has been reached: whoever waited has its turn, or the daemon ends.
    pub(super) fn rest(&mut self, actions: &mut Actions) {
        if let Some((request, operation)) = self.waiting.take() {
            actions.push(Action::Disarm(Timer::Answer));
            if self.stopping && operation != Operation::Thaw {
                actions.push(Action::Answer(request, Verdict::Fail, Why::Stopping));
            } else {
                self.asked_while_idle(request, operation, actions);
            }
        }
        if self.stopping && self.is_idle() {
            actions.push(Action::Exit);
        }
    }

    pub(super) fn answer_and_rest(&mut self, request: RequestId, verdict: Verdict, why: Why, actions: &mut Actions) {
        self.state = State::Idle;
        actions.push(Action::Disarm(Timer::Answer));
        actions.push(Action::Answer(request, verdict, why));
        self.rest(actions);
    }

    pub(super) fn time_up(&mut self, timer: Timer, actions: &mut Actions) {
        match (timer, &self.state) {
            (Timer::Answer, State::Checking(_)) => self.give_up_check(Why::OutOfTime, actions),
            (Timer::Answer, State::Freezing(_)) => self.fail_freeze(Why::OutOfTime, None, actions),
            (Timer::Answer, State::Releasing(_)) => {
                if let Some((request, _)) = self.waiting.take() {
                    actions.push(Action::Answer(request, Verdict::Fail, Why::StillHeld));
                }
            }
            (Timer::Silence, State::Freezing(_)) => self.silent(actions),
            (Timer::Revive, State::Releasing(_)) => self.revive_again(actions),
            (Timer::ThawAnswer, State::Frozen(frozen)) if frozen.thaw.is_some() => {
                self.lose(Outcome::Aborted, Why::OutOfTime, actions)
            }
            (Timer::ThawAnswer, State::Releasing(_)) => self.thaw_answer_is_due(actions),
            (Timer::AppsAnyway, State::Releasing(_)) => self.apps_anyway(actions),
            (Timer::Watchdog, State::Frozen(_)) => self.lose(Outcome::Expired, Why::Expired, actions),
            (Timer::Hold, State::Frozen(frozen)) if frozen.asker == Asker::Rehearsal => {
                self.lose(Outcome::Ok, Why::AsAsked, actions)
            }
            _ => {}
        }
    }

    /// The host has heard a failure. So a freeze is over, and its THAW will find nothing wrong; a backup whose THAW is late has failed, and no
    /// later THAW makes it good.
    pub(super) fn answer_late(&mut self, request: RequestId, operation: Operation, actions: &mut Actions) {
        match (&self.state, operation) {
            (State::Frozen(frozen), Operation::Freeze) if frozen.asker == Asker::Host(request) => {
                let its_thaw_is_here = frozen.thaw.is_some();
                self.lose(Outcome::Aborted, Why::TooLate, actions);
                if !its_thaw_is_here {
                    self.memory = Memory::Clean;
                }
            }
            (State::Idle | State::Releasing(_), Operation::Thaw) => self.memory = Memory::Lost,
            _ => {}
        }
    }

    pub(super) fn operator_thaw(&mut self, actions: &mut Actions) {
        match &self.state {
            State::Freezing(_) => self.fail_freeze(Why::Operator, None, actions),
            State::Frozen(_) => self.lose(Outcome::Aborted, Why::Operator, actions),
            State::Idle | State::Checking(_) | State::Releasing(_) => {}
        }
    }

    pub(super) fn stop(&mut self, actions: &mut Actions) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        match &self.state {
            State::Idle => actions.push(Action::Exit),
            State::Checking(_) => self.give_up_check(Why::Stopping, actions),
            State::Freezing(_) => self.fail_freeze(Why::Stopping, None, actions),
            State::Frozen(_) => self.lose(Outcome::Aborted, Why::Stopping, actions),
            State::Releasing(_) => {
                if let Some((request, operation)) = self.waiting.filter(|(_, operation)| *operation != Operation::Thaw)
                {
                    debug_assert!(operation != Operation::Thaw);
                    self.waiting = None;
                    actions.push(Action::Disarm(Timer::Answer));
                    actions.push(Action::Answer(request, Verdict::Fail, Why::Stopping));
                }
            }
        }
    }
}
