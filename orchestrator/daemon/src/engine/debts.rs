//! Debts: thaws of applications that have not run. A thaw that ran and failed is none; it is in the record's aftermath.
//!
//! A debt comes from a cycle whose thaw was not answered, or not begun: its worker died, could not be started, or had no descriptor left for
//! a script. Or an earlier daemon left it on record. It is tried again, only while the daemon is idle, until it has run or an operator writes
//! it off. Until then no freeze begins, unless its plugin is `required = false`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hv_vss_core::control::{DebtStatus, Reply};
use hv_vss_core::cycle::{Hold, Input, Kind, WorkerId};
use hv_vss_platform::clock::Monotonic;
use hv_vss_platform::process;
use hv_vss_wire::owed::{OWED_VERSION, Owed};
use hv_vss_wire::{Answer, Call, Outcome, Role, Step};

use super::roster::State;
use super::{Engine, Event, owed};
use crate::scribe::Job;
use crate::sleep::Later;

/// How often it is looked whether a predecessor's worker is gone, or a plugin is ready. No event tells the first: it is no child of ours.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// A debt is tried again after so long, and after twice as long each time it fails ...
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// ... but not less often than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// All debts.
#[derive(Default)]
pub(super) struct Debts {
    all: Vec<Debt>,
    next_look: Option<Later>,
}

struct Debt {
    record: Owed,
    /// Where it is on record; none: there is no state directory.
    path: Option<PathBuf>,
    outcome: Outcome,
    stands: Stands,
    /// How often it was tried in vain.
    tries: u32,
    /// Why it has not run.
    why: String,
}

/// How far a debt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// A predecessor's process is still at it.
    ItsWorkerLives,
    /// It is tried at this instant, or when the daemon is idle after it.
    Due(Monotonic),
    /// Its plugin's process is being started.
    Starting,
    /// The plugin is asked to thaw.
    Asked,
}

impl Debt {
    fn sentence(&self) -> String {
        let Owed { plugin, cycle, substeps, .. } = &self.record;
        let what =
            if substeps.is_empty() { "its thaw".to_owned() } else { format!("the thaw of {}", substeps.join(", ")) };
        let then = match self.stands {
            Stands::ItsWorkerLives | Stands::Asked => "it is at work; try again shortly".to_owned(),
            Stands::Due(_) | Stands::Starting => {
                format!("it is tried again until it has run; `vssctl forgive {plugin}` writes it off")
            }
        };
        format!("plugin {plugin} still owes {what} of cycle {cycle}: {}; {then}", self.why)
    }
}

fn pause(tries: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(16))).min(LONGEST_PAUSE)
}

impl Engine {
    /// Finds what an earlier daemon left.
    pub(super) fn find_debts(&mut self) {
        self.find_the_cycle_of_a_predecessor();
        let Some(state) = &self.state else { return };
        let Ok(entries) = std::fs::read_dir(state) else { return };
        let records = entries.filter_map(Result::ok).map(|entry| entry.path());
        let records: Vec<PathBuf> = records
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                name.starts_with("owed-") && name.ends_with(".json")
            })
            .collect();
        for path in records {
            // What it says decides which scripts are run, if only scripts of root's.
            let record = hv_vss_trust::regular_file(&path, None).map_err(|distrust| distrust.to_string());
            match record.and_then(|trusted| owed::read(&trusted).map_err(|error| error.to_string())) {
                Ok(Some(record)) => self.found_debt(path, record),
                Ok(None) => {}
                Err(why) => tracing::error!(
                    "can't read {}, which says what an earlier freeze owes: {why}; remove it once all hooks are thawed",
                    path.display()
                ),
            }
        }
        self.look_after_debts();
    }

    fn found_debt(&mut self, path: PathBuf, record: Owed) {
        let (plugin, cycle) = (&record.plugin, &record.cycle);
        let outcome = if record.boot == self.boot {
            tracing::warn!("an earlier daemon died in cycle {cycle}; plugin {plugin} still owes a thaw");
            Outcome::Recovered
        } else {
            let runs = self.config.plugin(plugin).run_after_restore == Some(true);
            let then = if runs { "its thaw hooks are run" } else { "its hooks are not run (run_after_restore)" };
            tracing::warn!(
                "this machine was started from the backup of cycle {cycle}, or was reset during or shortly after it; for plugin {plugin}: {then}"
            );
            if !runs {
                self.scribe.write(Job::Forget(vec![path]));
                return;
            }
            Outcome::Restored
        };
        self.debts.all.push(Debt {
            record,
            path: Some(path),
            outcome,
            stands: Stands::ItsWorkerLives,
            tries: 0,
            why: "an earlier daemon ended before it had run".to_owned(),
        });
    }

    /// A cycle has ended, and this thaw has not run.
    pub(super) fn owe(&mut self, plugin: &str, substeps: Vec<String>, why: &str, outcome: Outcome) {
        let record = Owed {
            version: OWED_VERSION,
            cycle: self.current.id.clone(),
            boot: self.boot.clone(),
            plugin: plugin.to_owned(),
            // No process is at it.
            pid: 0,
            process_began: None,
            substeps,
            mounts: self.current.plan.frozen_mounts(),
        };
        let path = self.state.as_ref().map(|state| Self::owed_path(state, plugin));
        let stands = Stands::Due(self.clock.now() + FIRST_PAUSE);
        let debt = Debt { record, path, outcome, stands, tries: 1, why: why.to_owned() };
        tracing::error!("{}", debt.sentence());
        self.debts.all.retain(|other| other.record.plugin != plugin);
        self.debts.all.push(debt);
        self.record_debt(self.debts.all.len() - 1);
        self.look_after_debts();
    }

    /// A plugin's process could not be started again, and these of its applications have not been thawed.
    pub(super) fn note_the_lost(&mut self, worker: WorkerId) {
        // It is tried again.
        if self.cycle.run().is_some_and(|run| run.alone_can_release(worker)) {
            return;
        }
        let holds = |hold| matches!(hold, Hold::Freezing | Hold::Held | Hold::Owed(_) | Hold::Thawing(_));
        let run = self.cycle.run().into_iter().flat_map(hv_vss_core::cycle::Run::each);
        let lost: Vec<_> = run
            .filter(|(_, holder, hold)| {
                holder.worker == worker && matches!(holder.kind, Kind::App { .. }) && holds(*hold)
            })
            .map(|(id, ..)| id)
            .collect();
        for holder in lost {
            self.current.unthawed.entry(holder).or_insert_with(|| "its process could not be started again".to_owned());
        }
    }

    pub(super) fn is_record_of_a_debt(&self, path: &Path) -> bool {
        self.debts.all.iter().any(|debt| debt.path.as_deref() == Some(path))
    }

    fn record_debt(&mut self, at: usize) {
        let Some(Debt { record, path: Some(path), .. }) = self.debts.all.get(at) else { return };
        // It is made of text and numbers: there is nothing in it that JSON could not take.
        let Ok(bytes) = record.to_bytes() else { return };
        self.scribe.write(Job::Note { notes: vec![(path.clone(), bytes)], done: Box::new(|| ()) });
    }

    /// A script's thaw has run: whatever becomes of the others, this one is not owed any more.
    pub(super) fn debt_substep_ended(&mut self, worker: WorkerId, script: &str) {
        let plugin = self.roster.name(worker).to_owned();
        let Some(at) = self.debts.all.iter().position(|debt| debt.record.plugin == plugin) else { return };
        let substeps = &mut self.debts.all[at].record.substeps;
        let before = substeps.len();
        substeps.retain(|owed| owed != script);
        if substeps.len() != before {
            self.record_debt(at);
        }
    }

    /// Takes each debt as far as it can be taken now, and comes back when there is more to do.
    pub(super) fn look_after_debts(&mut self) {
        let now = self.clock.now();
        let mut at = 0;
        let mut next: Option<Monotonic> = None;
        while at < self.debts.all.len() {
            let before = self.debts.all.len();
            let again = self.look_after_debt(at, now);
            next = match (next, again) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            // One that is settled is gone from its place.
            at += usize::from(self.debts.all.len() == before);
        }
        self.debts.next_look = next.map(|at| {
            let sender = self.sender.clone();
            Later::at(self.clock.clone(), at, move || drop(sender.send(Event::LookAfterDebts)))
        });
    }

    /// When to look at it again; none: an event will tell.
    fn look_after_debt(&mut self, at: usize, now: Monotonic) -> Option<Monotonic> {
        match self.debts.all[at].stands {
            Stands::ItsWorkerLives => self.look_after_the_predecessors(at, now),
            Stands::Asked => None,
            Stands::Due(due) if now < due => Some(due),
            // A cycle that is in work goes on.
            Stands::Due(_) if !self.cycle.is_idle() => Some(now + FIRST_PAUSE),
            Stands::Due(_) | Stands::Starting => self.try_debt(at, now),
        }
    }

    fn look_after_the_predecessors(&mut self, at: usize, now: Monotonic) -> Option<Monotonic> {
        let debt = &self.debts.all[at];
        let lives = debt.outcome == Outcome::Recovered
            && debt.record.process_began.is_some()
            && process::start_time(debt.record.pid) == debt.record.process_began;
        if lives {
            return Some(now + BETWEEN_LOOKS);
        }
        // It kept the record up to date until its end.
        match debt.path.as_deref().map(owed::read) {
            Some(Ok(Some(left))) => self.debts.all[at].record = left,
            Some(Ok(None)) => {
                self.debt_is_settled(at, None);
                return None;
            }
            Some(Err(_)) | None => {}
        }
        self.debts.all[at].stands = Stands::Due(now);
        self.look_after_debt(at, now)
    }

    /// Asks the plugin, or starts its process first.
    fn try_debt(&mut self, at: usize, now: Monotonic) -> Option<Monotonic> {
        let name = self.debts.all[at].record.plugin.clone();
        let found = self.roster.each().find(|(_, plugin)| plugin.name == name).map(|(worker, _)| worker);
        let Some(worker) = found else {
            return Some(self.postpone(at, "the plugin was disabled or removed since; put it back"));
        };
        let plugin = self.roster.get(worker)?;
        if let Some((handle, _)) = plugin.ready() {
            let handle = handle.clone();
            self.ask_for_debt(at, worker, &handle);
            return None;
        }
        match &plugin.state {
            State::Starting(..) => {
                self.debts.all[at].stands = Stands::Starting;
                Some(now + BETWEEN_LOOKS)
            }
            // It was started for this, and did not come up.
            State::Absent(why) if self.debts.all[at].stands == Stands::Starting => {
                let why = format!("its process {why}");
                Some(self.postpone(at, &why))
            }
            _ => {
                self.roster.start(worker);
                self.debts.all[at].stands = Stands::Starting;
                Some(now + BETWEEN_LOOKS)
            }
        }
    }

    fn ask_for_debt(&mut self, at: usize, worker: WorkerId, handle: &crate::child::Handle) {
        let Debt { record, outcome, .. } = &self.debts.all[at];
        tracing::warn!("cycle {}: plugin {} is told to let go ({outcome:?})", record.cycle, record.plugin);
        let deadline = self.clock.now() + self.limits.thaw_limit;
        let step = Step { cycle: record.cycle.clone(), outcome: *outcome, deadline, mounts: record.mounts.clone() };
        let call = Call::Thaw { step, role: Role::Application, owed: record.substeps.clone(), rehearsal: false };
        let pending = handle.call(call, Some(deadline));
        self.debts.all[at].stands = Stands::Asked;
        let sender = self.sender.clone();
        tokio::task::spawn_local(async move {
            let answer = pending.answer().await;
            let _ = sender.send(Event::DebtAnswered(worker, answer));
        });
    }

    pub(super) fn debt_answered(&mut self, worker: WorkerId, answer: Option<Answer>) {
        let plugin = self.roster.name(worker).to_owned();
        let asked = |debt: &Debt| debt.record.plugin == plugin && debt.stands == Stands::Asked;
        let Some(at) = self.debts.all.iter().position(asked) else { return };
        self.families.are_no_longer_ours(worker, answer.is_some());
        let all_ran = self.debts.all[at].record.substeps.is_empty();
        match answer {
            Some(Answer::Done { .. }) => self.debt_is_settled(at, None),
            // It has run, and failed.
            Some(Answer::Refused { reason } | Answer::Broken { reason }) if all_ran => {
                self.debt_is_settled(at, Some(&reason));
            }
            Some(Answer::Refused { reason } | Answer::Broken { reason }) => drop(self.postpone(at, &reason)),
            None => drop(self.postpone(at, "its process ended before it had answered")),
        }
        self.look_after_debts();
    }

    /// When it is tried again.
    fn postpone(&mut self, at: usize, why: &str) -> Monotonic {
        let now = self.clock.now();
        let debt = &mut self.debts.all[at];
        debt.tries += 1;
        let due = now + pause(debt.tries);
        debt.stands = Stands::Due(due);
        // The same again and again would fill the log.
        if debt.why != why || debt.tries.is_power_of_two() {
            debt.why = why.to_owned();
            tracing::error!("{}", debt.sentence());
        }
        self.record_debt(at);
        due
    }

    fn debt_is_settled(&mut self, at: usize, failure: Option<&str>) {
        let Debt { record, path, .. } = self.debts.all.remove(at);
        let Owed { plugin, cycle, .. } = record;
        match failure {
            None => tracing::info!("cycle {cycle}: plugin {plugin} has let go of what it still owed"),
            Some(why) => {
                tracing::error!("cycle {cycle}: the thaw that plugin {plugin} still owed has run and failed: {why}")
            }
        }
        self.scribe.write(Job::Forget(path.into_iter().collect()));
    }

    /// An operator writes a debt off.
    pub(super) fn forgive(&mut self, plugin: &str) -> Reply {
        let Some(at) =
            self.debts.all.iter().position(|debt| hv_vss_core::config::same_name(&debt.record.plugin, plugin))
        else {
            let owing: Vec<&str> = self.debts.all.iter().map(|debt| debt.record.plugin.as_str()).collect();
            let owing =
                if owing.is_empty() { "nothing is owed".to_owned() } else { format!("{} does", owing.join(", ")) };
            return Reply::Refused { reason: format!("plugin {plugin} owes no thaw; {owing}") };
        };
        if self.debts.all[at].stands == Stands::Asked {
            let reason = format!("plugin {plugin} is at its thaw now; ask again when it has ended");
            return Reply::Refused { reason };
        }
        let Debt { record, path, .. } = self.debts.all.remove(at);
        tracing::warn!(
            "cycle {}: an operator has written off what plugin {} still owed ({})",
            record.cycle,
            record.plugin,
            record.substeps.join(", ")
        );
        self.scribe.write(Job::Forget(path.into_iter().collect()));
        // Its process would go on with it by itself.
        let its = self.roster.each().find(|(_, known)| known.name == record.plugin);
        if let Some((handle, _)) = its.and_then(|(_, plugin)| plugin.ready()) {
            handle.kill("what it owed was written off");
        }
        Reply::Done
    }

    /// Why no freeze may begin yet.
    pub(super) fn debts_in_the_way(&self) -> Vec<String> {
        let required = |debt: &&Debt| self.config.plugin(&debt.record.plugin).required != Some(false);
        self.debts.all.iter().filter(required).map(Debt::sentence).collect()
    }

    /// Is a thaw that is still owed at work?
    pub(super) fn is_at_a_debt(&self) -> Option<&str> {
        let asked = |debt: &&Debt| debt.stands == Stands::Asked;
        self.debts.all.iter().find(asked).map(|debt| debt.record.plugin.as_str())
    }

    pub(super) fn debt_status(&self) -> Vec<DebtStatus> {
        let now = self.clock.now();
        let status = |debt: &Debt| DebtStatus {
            plugin: debt.record.plugin.clone(),
            cycle: debt.record.cycle.clone(),
            parts: debt.record.substeps.clone(),
            why: debt.why.clone(),
            next_ms: match debt.stands {
                Stands::Due(at) => Some(u64::try_from(now.until(at).as_millis()).unwrap_or(u64::MAX)),
                Stands::Starting => Some(0),
                Stands::ItsWorkerLives | Stands::Asked => None,
            },
            required: self.config.plugin(&debt.record.plugin).required != Some(false),
        };
        self.debts.all.iter().map(status).collect()
    }

    /// A plugin's process can't be started in this cycle: what it alone could thaw stays owed.
    pub(super) fn worker_is_lost(&mut self, worker: WorkerId) {
        self.note_the_lost(worker);
        self.inputs.push_back(Input::WorkerLost(worker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_is_tried_after_a_second_and_at_least_every_five_minutes() {
        let seconds: Vec<u64> = (1..12).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
