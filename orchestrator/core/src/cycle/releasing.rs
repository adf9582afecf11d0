//! The way out: filesystems one by one in the order in which they were frozen, then the applications in reverse. A process that does not answer
//! is killed; one that still owes a thaw is started anew and told. *Releasing* ends only when nothing is held any more.

use hv_vss_types::Verdict;
use hv_vss_wire::Outcome;

use super::run::{Life, THAW_TRIES};
use super::{
    Action, Actions, Cycle, Frozen, Hold, HolderId, Memory, PendingThaw, Releasing, RequestId, Run, State, StepEnd,
    Timer, Why, WorkerId,
};

impl Cycle {
    /// Lets go of everything in `run`. `thaw`: the THAW that asks for it, and whether it may count on all being held.
    pub(super) fn release(
        &mut self,
        run: Run,
        outcome: Outcome,
        why: Why,
        thaw: Option<PendingThaw>,
        actions: &mut Actions,
    ) {
        if thaw.is_some() {
            actions.push(Action::Arm(Timer::ThawAnswer));
        }
        // Only of a hold that is whole: where a worker died, filesystems are resumed already.
        let whole = matches!(self.state, State::Frozen(_)) && !matches!(why, Why::WorkerDied(_));
        let scanning = whole && run.filesystem_held();
        if scanning {
            actions.push(Action::ScanAgain);
        }
        let mut releasing = Releasing { run, outcome, why, thaw, apps_anyway: false, scanning, over: false };
        if releasing.run.filesystem_held() {
            actions.push(Action::Arm(Timer::AppsAnyway));
        }
        releasing.let_go_of_the_unfinished(actions);
        self.state = State::Releasing(releasing);
        self.release_on(actions);
    }

    /// Releases what was frozen and reported as good, without the host having asked for it.
    pub(super) fn lose(&mut self, outcome: Outcome, why: Why, actions: &mut Actions) {
        let State::Frozen(frozen) = &mut self.state else { return };
        if matches!(frozen.asker, super::Asker::Host(_)) {
            self.memory = Memory::Lost;
        }
        // It came, and the comparison that it waits for did not end well or not in time.
        let thaw = frozen.thaw.map(|request| PendingThaw { doubt: Some(why), ..PendingThaw::of(request, true) });
        let run = frozen.take(actions);
        self.release(run, outcome, why, thaw, actions);
    }

    pub(super) fn thawed(&mut self, holder: HolderId, end: StepEnd, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        let Some(Hold::Thawing(tries)) = releasing.run.hold(holder) else { return };
        match end {
            StepEnd::Done { held } => {
                releasing.run.set(holder, Hold::Released);
                if !held {
                    releasing.doubt(Why::LetGo(holder));
                }
            }
            // A filesystem whose plugin can't thaw it is freed by the end of its process, or told once more by the next one.
            // An application that refuses to thaw has had its say: the failure is recorded, the others go on.
            StepEnd::Refused | StepEnd::Failed if releasing.run.is_filesystem(holder) => {
                releasing.run.set(holder, Hold::Owed(tries + 1));
                releasing.kill_worker_of(holder, actions);
            }
            StepEnd::Refused | StepEnd::Failed => releasing.run.set(holder, Hold::Released),
        }
        self.release_on(actions);
    }

    pub(super) fn overdue(&mut self, holder: HolderId, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        if matches!(releasing.run.hold(holder), Some(Hold::Freezing | Hold::Thawing(_))) {
            releasing.kill_worker_of(holder, actions);
        }
    }

    pub(super) fn worker_gone(&mut self, worker: WorkerId, actions: &mut Actions) {
        match &mut self.state {
            State::Freezing(freezing) if freezing.run.involves(worker) => {
                freezing.run.bury(worker);
                self.fail_freeze(Why::WorkerDied(worker), None, actions);
            }
            State::Frozen(frozen) if frozen.run.involves(worker) => {
                frozen.run.bury(worker);
                self.lose(Outcome::Aborted, Why::WorkerDied(worker), actions);
            }
            State::Releasing(releasing) if releasing.run.involves(worker) => {
                // It died while it was being started anew: the engine tries once more, or says that it is lost.
                if releasing.run.life(worker) == Life::Reviving {
                    return;
                }
                // What it held went with it, and nobody can say any more whether that was before the THAW came.
                if releasing.run.held_by_the_life_of(worker) {
                    releasing.doubt(Why::WorkerDied(worker));
                }
                releasing.run.bury(worker);
                self.release_on(actions);
            }
            _ => {}
        }
    }

    pub(super) fn worker_ready(&mut self, worker: WorkerId, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        if releasing.run.life(worker) == Life::Reviving {
            releasing.run.set_life(worker, Life::Alive);
            self.release_on(actions);
        }
    }

    /// A worker can't be started. What only it can release is tried again after a while; else its applications' thaws are given up.
    pub(super) fn worker_lost(&mut self, worker: WorkerId, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        if releasing.run.life(worker) == Life::Reviving {
            if releasing.run.alone_can_release(worker) {
                releasing.run.set_life(worker, Life::Resting);
                actions.push(Action::Arm(Timer::Revive));
            } else {
                releasing.run.set_life(worker, Life::Dead);
                releasing.run.give_up_apps_of(worker);
            }
            self.release_on(actions);
        }
    }

    pub(super) fn scanned_again(&mut self, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        if std::mem::take(&mut releasing.scanning) {
            self.release_on(actions);
        }
    }

    /// A worker that could not be started, or that died of what it was asked, has had its pause.
    pub(super) fn revive_again(&mut self, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        releasing.run.wake();
        self.release_on(actions);
    }

    pub(super) fn apps_anyway(&mut self, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        releasing.apps_anyway = true;
        self.release_on(actions);
    }

    /// The THAW is answered, unless a filesystem is still held: that is no failure as long as the host waits. A UFS stays frozen until its resume has
    /// looked at every cached vnode, and that takes as long as there are many (docs/freebsd-runs.md).
    pub(super) fn thaw_answer_is_due(&mut self, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        match &mut releasing.thaw {
            Some(thaw) if releasing.run.filesystem_held() && !thaw.for_filesystems => {
                thaw.for_filesystems = true;
                actions.push(Action::Arm(Timer::ThawAnswer));
            }
            _ => self.answer_thaw(actions),
        }
    }

    /// The THAW is answered with what is known by now.
    pub(super) fn answer_thaw(&mut self, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        let Some(thaw) = releasing.thaw.take() else { return };
        actions.push(Action::Disarm(Timer::ThawAnswer));
        let failure = if releasing.run.filesystem_held() {
            Some(Why::StillHeld)
        } else {
            thaw.doubt.filter(|_| thaw.all_were_held)
        };
        let (verdict, why) = match failure {
            Some(why) => {
                self.memory = Memory::Lost;
                (Verdict::Fail, why)
            }
            None => (Verdict::Success, Why::AsAsked),
        };
        actions.push(Action::Answer(thaw.request, verdict, why));
    }

    /// Takes every step of the release that can be taken now; ends it when nothing is held.
    pub(super) fn release_on(&mut self, actions: &mut Actions) {
        let State::Releasing(releasing) = &mut self.state else { return };
        if releasing.over {
            return;
        }
        releasing.thaw_filesystems(actions);
        if releasing.apps_anyway || !releasing.run.filesystem_held() {
            releasing.thaw_apps(actions);
        }
        releasing.revive_the_owing(actions);
        let waited_for = releasing.thaw.as_ref().is_some_and(|thaw| thaw.for_filesystems);
        let (anything, filesystem) = (releasing.run.anything_held(), releasing.run.filesystem_held());
        if !anything || (waited_for && !filesystem) {
            self.answer_thaw(actions);
        }
        let State::Releasing(releasing) = &mut self.state else { return };
        if !filesystem && std::mem::take(&mut releasing.run.log_is_held) {
            actions.push(Action::FreeLog);
        }
        if anything {
            return;
        }
        actions.push(Action::Disarm(Timer::AppsAnyway));
        actions.push(Action::Disarm(Timer::Revive));
        actions.push(Action::Ended(releasing.outcome, releasing.why));
        if self.waiting.is_some() {
            // The THAW that was just answered may have been too late for the driver; then the one that waits is no better.
            releasing.over = true;
            actions.push(Action::GoOn);
        } else {
            self.state = State::Idle;
            self.rest(actions);
        }
    }
}

impl PendingThaw {
    /// `all_were_held`: it may count on that.
    pub(super) fn of(request: RequestId, all_were_held: bool) -> Self {
        Self { request, doubt: None, all_were_held, for_filesystems: false }
    }
}

impl Frozen {
    /// The run, with the timers of the hold stopped.
    pub(super) fn take(&mut self, actions: &mut Actions) -> Run {
        actions.push(Action::Disarm(Timer::Watchdog));
        if self.asker == super::Asker::Rehearsal {
            actions.push(Action::Disarm(Timer::Hold));
        }
        std::mem::replace(&mut self.run, Run::empty())
    }
}

impl Releasing {
    /// Whoever was never asked owes nothing; whoever is still at its freeze is asked to give up.
    fn let_go_of_the_unfinished(&mut self, actions: &mut Actions) {
        let all: Vec<_> = self.run.each().collect();
        for (id, _, hold) in all {
            match hold {
                Hold::Untouched => self.run.set(id, Hold::Released),
                Hold::Freezing if self.why == Why::OutOfTime => self.kill_worker_of(id, actions),
                Hold::Freezing => actions.push(Action::Cancel(id)),
                Hold::Held | Hold::Owed(_) | Hold::Thawing(_) | Hold::Released => {}
            }
        }
    }

    /// The next filesystem in freezing order, inner before outer, one after the other.
    ///
    /// A umount(8) of a frozen filesystem waits with the covered directory's vnode locked. The resume of the filesystem below wants that vnode
    /// while it has the lock that every resume needs: outer first, nothing is ever resumed again (FreeBSD 14, seen).
    ///
    /// A filesystem whose process is stuck in its death, or is being started anew, does not hold up those it lies on. When its process is back
    /// it is thawed at once, even beside one of them, which may be waiting for just this one.
    fn thaw_filesystems(&mut self, actions: &mut Actions) {
        if self.scanning {
            return;
        }
        let filesystems: Vec<_> = self.run.each().filter(|(_, holder, _)| holder.is_filesystem()).collect();
        for (id, holder, hold) in filesystems {
            match (hold, self.run.life(holder.worker)) {
                (Hold::Released | Hold::Untouched, _)
                | (_, Life::Dying | Life::Dead | Life::Resting | Life::Reviving) => {}
                (Hold::Held, Life::Alive) => return self.thaw(id, 0, actions),
                (Hold::Owed(tries), Life::Alive) => return self.thaw(id, tries, actions),
                (Hold::Freezing | Hold::Thawing(_), Life::Alive) => return,
            }
        }
    }

    /// The applications with the highest number that still hold, all at once; lower numbers when those are done.
    fn thaw_apps(&mut self, actions: &mut Actions) {
        for number in self.run.app_numbers().into_iter().rev() {
            let mut busy = false;
            for id in self.run.apps_with(number) {
                let Some((hold, worker)) = self.run.hold(id).zip(self.run.worker_of(id)) else { continue };
                match (hold, self.run.life(worker)) {
                    (Hold::Released | Hold::Untouched, _) => continue,
                    (Hold::Owed(tries), _) if tries >= THAW_TRIES => {
                        self.run.set(id, Hold::Released);
                        continue;
                    }
                    (Hold::Held, Life::Alive) => self.thaw(id, 0, actions),
                    (Hold::Owed(tries), Life::Alive) => self.thaw(id, tries, actions),
                    _ => {}
                }
                busy = true;
            }
            if busy {
                return;
            }
        }
    }

    fn thaw(&mut self, id: HolderId, tries: u8, actions: &mut Actions) {
        // A suspension that outlives its process is tried for as long as it takes: the count only has to stay finite.
        self.run.set(id, Hold::Thawing(tries.min(THAW_TRIES)));
        actions.push(Action::Thaw(id, self.outcome));
    }

    /// Dead workers that still owe a thaw are started anew, but no program is started while a filesystem that they may need is suspended:
    /// one that only a new process can release comes first, applications wait until none is left.
    fn revive_the_owing(&mut self, actions: &mut Actions) {
        let filesystem_held = self.run.filesystem_held();
        let owing: Vec<_> = self.run.each().filter(|(_, _, hold)| matches!(hold, Hold::Owed(_))).collect();
        for (_, holder, _) in owing {
            let may_start = holder.survives_exit() || !filesystem_held;
            if !may_start || self.run.life(holder.worker) != Life::Dead {
                continue;
            }
            if self.run.is_tired(holder.worker) && self.run.alone_can_release(holder.worker) {
                self.run.set_life(holder.worker, Life::Resting);
                actions.push(Action::Arm(Timer::Revive));
            } else {
                if self.run.alone_can_release(holder.worker) {
                    self.run.count_revival(holder.worker);
                }
                self.run.set_life(holder.worker, Life::Reviving);
                actions.push(Action::Revive(holder.worker));
            }
        }
    }

    fn kill_worker_of(&mut self, id: HolderId, actions: &mut Actions) {
        let Some(worker) = self.run.worker_of(id) else { return };
        if self.run.life(worker) == Life::Alive {
            self.run.set_life(worker, Life::Dying);
            actions.push(Action::Kill(worker));
        }
    }

    /// Something had let go before the THAW came: the backup is not what the host believes.
    fn doubt(&mut self, why: Why) {
        match &mut self.thaw {
            Some(thaw) if thaw.all_were_held => {
                thaw.doubt.get_or_insert(why);
                self.outcome = Outcome::Expired;
                self.why = why;
            }
            // The THAW of a FREEZE that was cut short: nothing was promised.
            Some(_) => {}
            // The answer has gone, and the result is still open. A holder that was not at rest makes it a failure; a process that ends after
            // the answer does not.
            None if self.outcome == Outcome::Ok && matches!(why, Why::LetGo(_)) => {
                self.outcome = Outcome::Aborted;
                self.why = why;
            }
            None => {}
        }
    }
}

impl Run {
    /// Does this process hold a filesystem that its death lets go, or an application that has not been told to go on?
    fn held_by_the_life_of(&self, worker: WorkerId) -> bool {
        self.each().filter(|(_, holder, _)| holder.worker == worker).any(|(_, holder, hold)| {
            match holder.is_filesystem() {
                true => !holder.survives_exit() && !matches!(hold, Hold::Untouched | Hold::Released),
                false => hold == Hold::Held,
            }
        })
    }

    /// A worker's process is gone. The kernel has released its filesystems, unless they are of the kind that outlives it; its applications
    /// were never told to go on.
    fn bury(&mut self, worker: WorkerId) {
        self.set_life(worker, Life::Dead);
        let its_own: Vec<_> = self.each().filter(|(_, holder, _)| holder.worker == worker).collect();
        for (id, holder, hold) in its_own {
            let gone_with_it = holder.is_filesystem() && !holder.survives_exit();
            let after = match hold {
                Hold::Untouched | Hold::Released => hold,
                _ if gone_with_it => Hold::Released,
                Hold::Freezing | Hold::Held => Hold::Owed(0),
                Hold::Thawing(tries) => Hold::Owed(tries.saturating_add(1).min(THAW_TRIES)),
                Hold::Owed(tries) => Hold::Owed(tries),
            };
            self.set(id, after);
        }
    }

    fn give_up_apps_of(&mut self, worker: WorkerId) {
        let apps: Vec<_> =
            self.each().filter(|(_, holder, _)| holder.worker == worker && !holder.is_filesystem()).collect();
        for (id, ..) in apps {
            self.set(id, Hold::Released);
        }
    }
}
