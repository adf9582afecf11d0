//! Telling observers how cycles ended: only while the engine is idle, each the latest record, and never so that anybody waits for one.
//!
//! An observer may be at work when a FREEZE comes. It is told to give up when that begins, and has the time that surveys, applications and the
//! last flush take anyway. Who is still at work when the first filesystem is to be suspended is killed first: what it writes would be cut in the
//! midst by the suspension, and in every backup. The freeze goes on as soon as the process is gone, and after [`SILENCE`] in any case.

use std::collections::BTreeMap;
use std::time::Duration;

use hv_vss_wire::{Answer, Call, Outcome, Step};
use serde::Serialize;

use super::roster::{Plugin, State, Whose};
use super::{Engine, Event};
use hv_vss_core::cycle::{Input, Point, WorkerId};
use hv_vss_core::record::{CycleResult, Kind, Record};

/// How long a freeze waits at the most for killed observers to be gone. One that is stuck in the kernel, in a write to a disk that does not answer, can't
/// go before that is done; the kernel lets no suspension begin in the midst of a write, so going on is safe.
pub(super) const SILENCE: Duration = Duration::from_millis(250);
/// A record longer than this, in bytes of JSON, is told without its steps: a message to a plugin has an end.
const LONGEST: usize = 256 << 10;

/// Who is told what.
#[derive(Default)]
pub(super) struct Observers {
    at_work: BTreeMap<WorkerId, AtWork>,
    /// For each the latest record that it has not heard of.
    waiting: BTreeMap<WorkerId, Told>,
    /// The cycle that an observer was told of when it died: it is not told of that again.
    died_of: BTreeMap<WorkerId, String>,
}

struct AtWork {
    generation: u64,
    call: u64,
    told: Told,
    /// It was told to give up, since a freeze came: it is told once more afterwards.
    hushed: bool,
}

#[derive(Clone)]
struct Told {
    record: Record,
    again: bool,
}

/// What an observer reads.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    record: &'a Record,
    daemon_version: &'static str,
    state: &'static str,
    again: bool,
    /// The result with all that qualifies it, as every surface shows it.
    summary: String,
    /// An administrator has to look.
    trouble: bool,
}

impl Engine {
    /// A cycle or a CHECK is over: whoever observes is to hear of it, in place of what it has not heard of yet.
    pub(super) fn tell_observers_of(&mut self, record: &Record) {
        let workers: Vec<WorkerId> =
            self.roster.each().filter(|(_, plugin)| plugin.observes()).map(|(worker, _)| worker).collect();
        for worker in workers {
            if self.observers.waiting.get(&worker).is_some_and(|waiting| !record.displaces(&waiting.record)) {
                continue;
            }
            let told = Told { record: record.clone(), again: false };
            if let Some(earlier) = self.observers.waiting.insert(worker, told) {
                tracing::info!(
                    "observer {} was busy and is not told of cycle {}, only of {}",
                    self.roster.name(worker),
                    earlier.record.cycle,
                    record.cycle
                );
            }
            self.roster.want_started(worker);
        }
    }

    /// One that was just started is told of the latest cycle, which an earlier process may not have lived to deal with.
    pub(super) fn observer_ready(&mut self, worker: WorkerId) {
        if self.observers.waiting.contains_key(&worker) {
            return;
        }
        let Some(record) = self.worth_telling() else { return };
        if self.observers.died_of.get(&worker) != Some(&record.cycle) {
            let told = Told { record: record.clone(), again: true };
            self.observers.waiting.insert(worker, told);
        }
    }

    /// The backup that did not go well, else the latest backup or CHECK.
    fn worth_telling(&self) -> Option<&Record> {
        let troubled =
            |record: &&Record| record.ending.is_trouble() && record.ending.result != Some(CycleResult::Refused);
        self.latest(Kind::Backup).filter(troubled).or_else(|| self.latest_of_the_host())
    }

    /// Starts and tells, if nothing is in work.
    pub(super) fn see_to_observers(&mut self) {
        if !self.cycle.is_idle() {
            return;
        }
        if !self.exit {
            self.roster.start_wanted();
        }
        if self.observers.waiting.is_empty() {
            return;
        }
        let ready = |(worker, plugin): (WorkerId, &Plugin)| {
            let (handle, _) = plugin.ready().filter(|_| !self.is_at_work(worker))?;
            Some((worker, handle.clone()))
        };
        let ready: Vec<_> = self.roster.each().filter_map(ready).collect();
        for (worker, handle) in ready {
            let Some(told) = self.observers.waiting.remove(&worker) else { continue };
            let (cycle, record) = (told.record.cycle.clone(), self.message(told.clone()));
            let deadline = self.clock.now() + self.limits.observer_limit;
            let step = Step { cycle, outcome: Outcome::Ok, deadline, mounts: Vec::new() };
            let pending = handle.call(Call::Ended { step, record }, Some(deadline));
            let generation = self.roster.get(worker).map_or(0, |plugin| plugin.generation);
            self.observers.at_work.insert(worker, AtWork { generation, call: pending.id, told, hushed: false });
            let sender = self.sender.clone();
            tokio::task::spawn_local(async move {
                let answer = pending.answer().await;
                let _ = sender.send(Event::Observed(worker, generation, answer));
            });
        }
    }

    fn message(&self, told: Told) -> String {
        let Told { mut record, again } = told;
        let state = self.standing();
        let daemon_version = env!("CARGO_PKG_VERSION");
        let text = |record: &Record| {
            // A record is made of text and numbers: there is nothing in it that JSON could not take.
            serde_json::to_string(&Message {
                record,
                daemon_version,
                state,
                again,
                summary: record.ending.summary(),
                trouble: record.ending.is_trouble(),
            })
            .unwrap_or_default()
        };
        let whole = text(&record);
        if whole.len() <= LONGEST {
            return whole;
        }
        record.steps.clear();
        text(&record)
    }

    /// The latest backup or CHECK.
    fn latest_of_the_host(&self) -> Option<&Record> {
        self.history.records().rev().find(|record| matches!(record.kind, Kind::Backup | Kind::Check))
    }

    /// How the next backup looks from here, in a word.
    fn standing(&self) -> &'static str {
        let last = self.latest_of_the_host();
        if !self.debts_in_the_way().is_empty() {
            "owes"
        } else if last.is_some_and(|record| record.ending.result == Some(CycleResult::Refused))
            || self.roster.unreadable().is_some()
            || self.roster.missing().next().is_some()
        {
            "refusing"
        } else {
            "idle"
        }
    }

    /// An observer has dealt with a record, or not.
    pub(super) fn observed(&mut self, worker: WorkerId, generation: u64, answer: Option<Answer>) {
        if self.observers.at_work.get(&worker).is_none_or(|at_work| at_work.generation != generation) {
            return;
        }
        // Its process died: that is told by an event of its own.
        let Some(answer) = answer else { return };
        let Some(AtWork { told, hushed, .. }) = self.observers.at_work.remove(&worker) else { return };
        let cycle = told.record.cycle.clone();
        if hushed && !matches!(answer, Answer::Done { .. }) {
            self.tell_once_more(worker, told);
        }
        let name = self.roster.name(worker);
        match answer {
            Answer::Done { .. } => tracing::debug!("observer {name} was told of cycle {cycle}"),
            Answer::Refused { reason } => tracing::warn!("observer {name}, told of cycle {cycle}: {reason}"),
            Answer::Broken { reason } => tracing::error!("observer {name}, told of cycle {cycle}, is broken: {reason}"),
        }
        if self.is_silent_now() {
            self.input(Input::Silent);
        }
    }

    /// An observer's process is gone. Nobody's backup is another for it.
    pub(super) fn observer_gone(&mut self, worker: WorkerId, how: String) {
        let told = self.observers.at_work.remove(&worker);
        let of = told
            .as_ref()
            .map_or_else(String::new, |at_work| format!(" while it was told of cycle {}", at_work.told.record.cycle));
        tracing::error!("observer {} {how}{of}", self.roster.name(worker));
        self.roster.gone(worker, how);
        match told {
            // It was killed for the freeze, and not for what it was told.
            Some(AtWork { told, hushed: true, .. }) => self.tell_once_more(worker, told),
            Some(AtWork { told, .. }) => drop(self.observers.died_of.insert(worker, told.record.cycle)),
            None => {}
        }
        self.restart_later(worker);
        if self.is_silent_now() {
            self.input(Input::Silent);
        }
    }

    /// A freeze interrupted it: unless something waits that displaces it, it is told of the same record afterwards.
    fn tell_once_more(&mut self, worker: WorkerId, told: Told) {
        if self.observers.waiting.get(&worker).is_none_or(|waiting| !waiting.record.displaces(&told.record)) {
            self.observers.waiting.insert(worker, told);
            self.roster.want_started(worker);
        }
    }

    /// A freeze begins: observers at work are to give up, and none begins.
    pub(super) fn hush_observers(&mut self) {
        let workers: Vec<WorkerId> =
            self.observers.at_work.keys().copied().filter(|worker| self.is_at_work(*worker)).collect();
        for worker in workers {
            let ready = self.roster.get(worker).and_then(Plugin::ready).map(|(handle, _)| handle.clone());
            if let (Some(handle), Some(at_work)) = (ready, self.observers.at_work.get_mut(&worker)) {
                at_work.hushed = true;
                handle.cancel(at_work.call);
            }
        }
    }

    /// The last thing before the first suspend: observers still at work are killed.
    pub(super) fn silence_observers(&mut self) {
        for worker in self.noisy() {
            tracing::warn!(
                "cycle {}: observer {} is still at work and is killed, so that nothing writes when the first filesystem is suspended",
                self.current.id,
                self.roster.name(worker)
            );
            self.roster.kill(worker, "a freeze came and it did not end what it was at");
        }
        if self.is_silent_now() {
            self.inputs.push_back(Input::Silent);
        }
    }

    /// Does a freeze wait for observers, and is none at work any more?
    fn is_silent_now(&self) -> bool {
        self.cycle.point() == Point::Silencing && self.noisy().is_empty()
    }

    /// The freeze no longer waits for killed observers.
    pub(super) fn complain_of_the_noisy(&self) {
        let names: Vec<&str> = self.noisy().into_iter().map(|worker| self.roster.name(worker)).collect();
        tracing::error!(
            "cycle {}: observer {} was killed and is not gone, so it waits for a disk; the freeze goes on without it",
            self.current.id,
            names.join(", ")
        );
    }

    /// Observers that may write: those being told, and those still opening.
    fn noisy(&self) -> Vec<WorkerId> {
        let noisy = |worker: WorkerId, plugin: &Plugin| {
            self.is_at_work(worker) || (plugin.observes() && matches!(plugin.state, State::Starting(..)))
        };
        self.roster.each().filter(|(worker, plugin)| noisy(*worker, plugin)).map(|(worker, _)| worker).collect()
    }

    /// Is its current process at work?
    fn is_at_work(&self, worker: WorkerId) -> bool {
        let generation = self.roster.get(worker).map(|plugin| plugin.generation);
        self.observers.at_work.get(&worker).is_some_and(|at_work| Some(at_work.generation) == generation)
    }

    /// Looks whose file was replaced, and who has died; to be called while nothing is in work.
    pub(super) fn renew_observers(&mut self) {
        self.roster.drop_replaced(Whose::Observers);
    }
}
