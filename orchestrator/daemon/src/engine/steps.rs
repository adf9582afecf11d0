//! The calls that belong to holders: which is under way for whom, and which processes are being started to pay what is owed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hv_vss_platform::mounts;
use hv_vss_wire::{Answer, Call, Outcome, Role, Step};

use super::{Engine, Event};
use crate::sleep::Later;
use hv_vss_core::cycle::{Hold, HolderId, Input, Kind, StepEnd, WorkerId};
use hv_vss_core::deadline::Budget;
use hv_vss_core::record::{StepMark, What};

/// A call of a holder. Never used twice, so that a late answer can't be taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepId(u64);

/// The calls under way.
#[derive(Default)]
pub(super) struct Steps {
    next: u64,
    current: HashMap<HolderId, UnderWay>,
    reviving: HashSet<WorkerId>,
    /// Which of a plugin's processes was asked to freeze.
    froze_in: HashMap<WorkerId, u64>,
}

struct UnderWay {
    step: StepId,
    call: u64,
    mark: Option<StepMark>,
    /// Its own limit, if it has one.
    limit: Option<Later>,
}

impl Steps {
    pub(super) fn holder_of(&self, step: StepId) -> Option<HolderId> {
        self.current.iter().find(|(_, under_way)| under_way.step == step).map(|(holder, _)| *holder)
    }

    pub(super) fn is_reviving(&self, worker: WorkerId) -> bool {
        self.reviving.contains(&worker)
    }

    pub(super) fn reviving(&mut self, worker: WorkerId) {
        self.reviving.insert(worker);
    }

    pub(super) fn revived(&mut self, worker: WorkerId) {
        self.reviving.remove(&worker);
    }

    pub(super) fn generation_of_freeze(&self, worker: WorkerId) -> Option<u64> {
        self.froze_in.get(&worker).copied()
    }

    /// A new cycle begins.
    pub(super) fn clear(&mut self) {
        self.current.clear();
        self.reviving.clear();
        self.froze_in.clear();
    }
}

impl Engine {
    pub(super) fn call_freeze(&mut self, holder: HolderId) {
        let Some((worker, role, mounts)) = self.part_of(holder) else { return };
        let what = if role == Role::Filesystem { What::FreezeFilesystem } else { What::FreezeApp };
        let Some(budget) = self.current.budget else { return };
        if let Some(plugin) = self.roster.get(worker) {
            self.steps.froze_in.insert(worker, plugin.generation);
        }
        let step = Step { cycle: self.current.id.clone(), outcome: Outcome::Ok, deadline: budget.answer.0, mounts };
        let only = self.rehearsal.as_ref().and_then(|wish| wish.only.clone());
        self.call(
            holder,
            worker,
            what,
            Call::Freeze { step, role, expiry: budget.expiry, only, rehearsal: self.rehearsal.is_some() },
        );
    }

    pub(super) fn call_thaw(&mut self, holder: HolderId, outcome: Outcome) {
        let Some((worker, role, mounts)) = self.part_of(holder) else { return };
        let (what, limit) = match role {
            Role::Filesystem => {
                (What::ThawFilesystem, self.limits.filesystem_thaw(self.clock.now(), self.thaw_under_way().as_ref()))
            }
            Role::Application => (What::ThawApp, self.limits.thaw_limit),
        };
        let owed = match self.roster.get(worker) {
            // Another process of this plugin was asked to freeze: this one has to be told what it started.
            Some(plugin) if self.steps.generation_of_freeze(worker) != Some(plugin.generation) => plugin.owed.clone(),
            _ => Vec::new(),
        };
        let deadline = self.clock.now() + limit;
        let step = Step { cycle: self.current.id.clone(), outcome, deadline, mounts };
        let rehearsal = self.rehearsal.is_some();
        self.call(holder, worker, what, Call::Thaw { step, role, owed, rehearsal });
        self.expect_end(holder, limit);
    }

    /// The time of the THAW that is to be answered; none: what is released is so for another reason.
    pub(super) fn thaw_under_way(&self) -> Option<Budget> {
        self.thaw.filter(|budget| self.requests.values().any(|open| open.budget == *budget))
    }

    /// The holder is asked to give up; from now on its time is that of a thaw.
    pub(super) fn cancel(&mut self, holder: HolderId) {
        let Some(call) = self.steps.current.get(&holder).map(|under_way| under_way.call) else { return };
        if let Some((worker, ..)) = self.part_of(holder)
            && let Some((handle, _)) = self.roster.get(worker).and_then(super::roster::Plugin::ready)
        {
            handle.cancel(call);
        }
        self.expect_end(holder, self.limits.thaw_answer_after);
    }

    fn call(&mut self, holder: HolderId, worker: WorkerId, what: What, call: Call) {
        let name = self.words().holder(holder);
        let mark = self.current.recorder.as_mut().map(|recorder| recorder.step(what, name, self.clock.now()));
        let Some((handle, _)) = self.roster.get(worker).and_then(super::roster::Plugin::ready) else {
            // Its end was told before this step was begun, and will not be told again.
            self.inputs.push_back(Input::WorkerGone(worker));
            return;
        };
        let pending = handle.call(call, None);
        self.steps.next += 1;
        let step = StepId(self.steps.next);
        self.steps.current.insert(holder, UnderWay { step, call: pending.id, mark, limit: None });
        let sender = self.sender.clone();
        tokio::task::spawn_local(async move {
            let answer = pending.answer().await;
            let _ = sender.send(Event::StepEnded(step, answer));
        });
    }

    fn expect_end(&mut self, holder: HolderId, limit: Duration) {
        let Some(under_way) = self.steps.current.get_mut(&holder) else { return };
        let (sender, step) = (self.sender.clone(), under_way.step);
        let at = self.clock.now() + limit;
        under_way.limit = Some(Later::at(self.clock.clone(), at, move || drop(sender.send(Event::Overdue(step)))));
    }

    pub(super) fn step_ended(&mut self, step: StepId, answer: Option<Answer>) {
        let Some(holder) = self.steps.holder_of(step) else { return };
        let Some(under_way) = self.steps.current.remove(&holder) else { return };
        let freezing = self.cycle.run().and_then(|run| run.hold(holder)) == Some(Hold::Freezing);
        let (end, failure) = match answer {
            Some(Answer::Done { held, .. }) => (Some(StepEnd::Done { held }), None),
            Some(Answer::Refused { reason }) => (Some(StepEnd::Refused), Some(reason)),
            Some(Answer::Broken { reason }) => (Some(StepEnd::Failed), Some(reason)),
            // Its process died; that is an input of its own.
            None => (None, Some("its plugin's process ended".to_owned())),
        };
        if let (Some(recorder), Some(mark)) = (&mut self.current.recorder, under_way.mark) {
            recorder.ended(mark, self.clock.now(), failure.clone());
        }
        let (name, done) = (self.words().holder(holder), if freezing { "freeze" } else { "thaw" });
        match &failure {
            None => tracing::debug!("cycle {}: {done} of {name} is done", self.current.id),
            Some(failure) => tracing::error!("cycle {}: {done} of {name} failed: {failure}", self.current.id),
        }
        if !freezing {
            self.see_what_a_thaw_left(holder, end, failure.as_deref());
        }
        if let Some(failure) = failure {
            self.current.sayings.insert(holder, failure);
        }
        if let Some(end) = end {
            self.input(if freezing { Input::Froze(holder, end) } else { Input::Thawed(holder, end) });
        }
    }

    fn see_what_a_thaw_left(&mut self, holder: HolderId, end: Option<StepEnd>, failure: Option<&str>) {
        let Some((worker, role, _)) = self.part_of(holder) else { return };
        if role == Role::Application {
            self.families.are_no_longer_ours(worker, end.is_some());
        }
        match (end, role) {
            (Some(StepEnd::Done { held }), role) => self.thaw_answered(holder, role, held),
            // The cycle waits until its process is gone, and it is thawed by that.
            (_, Role::Filesystem) => {}
            (Some(StepEnd::Refused | StepEnd::Failed), Role::Application) => {
                self.thaw_failed(holder, failure.unwrap_or_default())
            }
            (None, Role::Application) => self.thaw_unanswered(holder, failure.unwrap_or_default()),
        }
    }

    /// Is a filesystem gone from the mount table? Then the plan does without it.
    pub(super) fn finds_it_unmounted(&mut self, holder: HolderId) -> bool {
        let Some((_, Role::Filesystem, frozen)) = self.part_of(holder) else { return false };
        let Ok(table) = mounts::read_bare(&self.mount_source()) else { return false };
        let unmounted = frozen.iter().all(|gone| table.mounts.iter().all(|mount| mount.fsid != gone.fsid));
        // One that is being unmounted is there for as long as that takes.
        if table.hidden > 0 || !unmounted {
            return false;
        }
        frozen.iter().for_each(|gone| self.current.plan.is_gone(gone.fsid));
        true
    }

    /// Is one of its freezes under way?
    pub(super) fn is_freezing(&self, worker: WorkerId) -> bool {
        let under_way = |holder: &HolderId| self.cycle.run().and_then(|run| run.hold(*holder)) == Some(Hold::Freezing);
        self.steps
            .current
            .keys()
            .filter(|holder| under_way(holder))
            .any(|holder| self.part_of(*holder).is_some_and(|(whose, ..)| whose == worker))
    }

    /// Who does a holder's steps, in which role, and for which mounts.
    pub(super) fn part_of(&self, holder: HolderId) -> Option<(WorkerId, Role, Vec<mounts::Mount>)> {
        let shape = self.current.plan.shape();
        let which = shape.0.get(holder.0)?;
        let part = match which.kind {
            Kind::App { .. } => (which.worker, Role::Application, self.current.plan.frozen_mounts()),
            Kind::Filesystem { .. } => {
                let at = holder.0.checked_sub(self.current.plan.apps.len())?;
                (which.worker, Role::Filesystem, vec![self.current.plan.filesystems.get(at)?.mount.clone()])
            }
        };
        Some(part)
    }
}
