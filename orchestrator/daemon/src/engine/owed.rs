//! What applications are owed across deaths: noted before the first of them is asked, forgotten when all have let go, and seen to at the start
//! of a daemon whose predecessor died in between.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hv_vss_platform::process;
use hv_vss_wire::owed::{MOST_BYTES, OWED_VERSION, Owed};
use hv_vss_wire::{Answer, Call, Outcome, Role, Step};

use super::{Engine, Event};
use crate::scribe::Job;
use crate::sleep;
use hv_vss_core::cycle::WorkerId;
use hv_vss_core::in_work::{IN_WORK_VERSION, InWork, Worker};

/// How often a daemon looks whether its predecessor's workers are gone. It has nothing else to wait for: they are not its children.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// The name of the note of the cycle in work, in the state directory.
const IN_WORK: &str = "in-work.json";

/// What an earlier daemon left behind.
#[derive(Debug)]
pub(super) struct Debt {
    record: Owed,
    path: PathBuf,
    stands: Stands,
}

/// How far an old debt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// The process that owes it is still at it.
    ItsWorkerLives,
    /// The plugin is asked to let go.
    Asked,
}

impl Engine {
    /// Where a plugin's record lies.
    pub(super) fn owed_path(state: &Path, plugin: &str) -> PathBuf {
        state.join(format!("owed-{plugin}.json"))
    }

    /// Writes down what this cycle will owe; the cycle goes on when that is done.
    pub(super) fn note(&mut self) {
        let mounts = self.current.plan.frozen_mounts();
        let records = self.current.plan.apps.iter().filter_map(|app| {
            let state = self.state.as_ref()?;
            let plugin = self.roster.get(app.worker)?;
            let (handle, _) = plugin.ready()?;
            let record = Owed {
                version: OWED_VERSION,
                cycle: self.current.id.clone(),
                boot: self.boot.clone(),
                plugin: plugin.name.clone(),
                pid: handle.pid,
                process_began: process::start_time(handle.pid),
                substeps: plugin.planned.clone(),
                mounts: mounts.clone(),
            };
            // It is made of text and numbers: there is nothing in it that JSON could not take.
            Some((Self::owed_path(state, &plugin.name), record.to_bytes().ok()?))
        });
        let mut notes: Vec<_> = records.collect();
        notes.extend(self.note_of_the_cycle());
        self.current.noted = notes.iter().map(|(path, _)| path.clone()).collect();
        let (sender, serial) = (self.sender.clone(), self.serial);
        let done = Box::new(move || drop(sender.send(Event::Noted(serial))));
        self.scribe.write(Job::Note { notes, done });
    }

    fn note_of_the_cycle(&self) -> Option<(PathBuf, Vec<u8>)> {
        let record = self.current.recorder.as_ref()?.so_far();
        let worker = |step: &hv_vss_core::plan::Filesystem| {
            let plugin = self.roster.get(step.worker)?;
            let (handle, _) = plugin.ready()?;
            Some(Worker { plugin: plugin.name.clone(), pid: handle.pid, began: process::start_time(handle.pid) })
        };
        let mut filesystem_workers: Vec<Worker> = self.current.plan.filesystems.iter().filter_map(worker).collect();
        filesystem_workers.dedup();
        let note = InWork {
            version: IN_WORK_VERSION,
            cycle: record.cycle.clone(),
            kind: record.kind,
            boot: self.boot.clone(),
            began_ms: record.began_ms,
            filesystem_workers,
        };
        Some((self.state.as_ref()?.join(IN_WORK), serde_json::to_vec(&note).ok()?))
    }

    /// A predecessor that ended in a cycle left a note of it: the history gets the row that it was not able to write.
    fn find_the_cycle_of_a_predecessor(&mut self) {
        let Some(path) = self.state.as_ref().map(|state| state.join(IN_WORK)) else { return };
        let found = match hv_vss_trust::read_within(&path, MOST_BYTES) {
            Ok(None) => return,
            Ok(Some(bytes)) => InWork::parse(&bytes),
            Err(error) => Err(error.to_string()),
        };
        match found {
            // One of another boot came out of a backup, or the machine was reset.
            Ok(note) if note.boot != self.boot => {}
            Ok(note) if self.history.records().any(|record| record.cycle == note.cycle) => {}
            Ok(note) => {
                let record = note.died();
                tracing::error!("cycle {}: {}", record.cycle, record.ending.summary());
                self.tally.count(&record);
                self.tell_observers_of(&record);
                self.keep(record);
            }
            Err(why) => tracing::error!(
                "can't read {}, the note of a cycle that an earlier daemon did not end: {why}; it is removed",
                path.display()
            ),
        }
        self.scribe.write(Job::Forget(vec![path]));
    }

    /// Everything has let go: nothing is owed.
    pub(super) fn forget_note(&mut self) {
        let noted = std::mem::take(&mut self.current.noted);
        if !noted.is_empty() {
            self.scribe.write(Job::Forget(noted));
        }
    }

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
            match record.and_then(|trusted| read(&trusted).map_err(|error| error.to_string())) {
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
        if record.boot == self.boot {
            tracing::warn!("an earlier daemon died in cycle {cycle}; plugin {plugin} still owes a thaw");
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
        }
        self.debts.push(Debt { record, path, stands: Stands::ItsWorkerLives });
    }

    /// Asks the plugins whose old worker is gone, and waits for the others.
    pub(super) fn look_after_debts(&mut self) {
        let mut waits = false;
        for at in 0..self.debts.len() {
            let debt = &self.debts[at];
            if debt.stands != Stands::ItsWorkerLives {
                continue;
            }
            let this_boot = debt.record.boot == self.boot;
            let lives = this_boot
                && debt.record.process_began.is_some()
                && process::start_time(debt.record.pid) == debt.record.process_began;
            if lives {
                waits = true;
                continue;
            }
            let plugin = debt.record.plugin.clone();
            if !self.roster.each().any(|(_, known)| known.name == plugin) {
                // Nobody will ever pay it, and backups must not wait for that.
                self.debt_is_paid(&plugin, Some("it was disabled or removed since".to_owned()));
                return self.look_after_debts();
            }
            // It kept the record up to date until its end.
            match read(&debt.path) {
                Ok(Some(left)) => self.debts[at].record = left,
                Ok(None) => {
                    self.debt_is_paid(&self.debts[at].record.plugin.clone(), None);
                    return self.look_after_debts();
                }
                Err(_) => {}
            }
            let outcome = if this_boot { Outcome::Recovered } else { Outcome::Restored };
            waits |= !self.ask_for_debt(at, outcome);
        }
        if waits {
            let (sender, clock, at) = (self.sender.clone(), self.clock.clone(), self.clock.now() + BETWEEN_LOOKS);
            tokio::task::spawn_local(async move {
                sleep::until(&clock, at).await;
                let _ = sender.send(Event::LookAfterDebts);
            });
        }
    }

    /// False when the plugin is not ready yet.
    fn ask_for_debt(&mut self, at: usize, outcome: Outcome) -> bool {
        let Debt { record, .. } = &self.debts[at];
        let plugin = self.roster.each().find(|(_, plugin)| plugin.name == record.plugin);
        let Some((worker, handle)) = plugin.and_then(|(worker, plugin)| Some((worker, plugin.ready()?.0.clone())))
        else {
            return false;
        };
        tracing::warn!("cycle {}: plugin {} is told to let go ({outcome:?})", record.cycle, record.plugin);
        let deadline = self.clock.now() + self.limits.thaw_limit;
        let step = Step { cycle: record.cycle.clone(), outcome, deadline, mounts: record.mounts.clone() };
        let call = Call::Thaw { step, role: Role::Application, owed: record.substeps.clone() };
        let pending = handle.call(call, Some(deadline));
        self.debts[at].stands = Stands::Asked;
        let sender = self.sender.clone();
        tokio::task::spawn_local(async move {
            let answer = pending.answer().await;
            let _ = sender.send(Event::DebtAnswered(worker, answer));
        });
        true
    }

    pub(super) fn debt_answered(&mut self, worker: WorkerId, answer: Option<Answer>) {
        let plugin = self.roster.name(worker).to_owned();
        let trouble = match answer {
            Some(Answer::Done { .. }) => None,
            Some(Answer::Refused { reason } | Answer::Broken { reason }) => Some(reason),
            None => Some("its process ended".to_owned()),
        };
        self.debt_is_paid(&plugin, trouble);
    }

    fn debt_is_paid(&mut self, plugin: &str, trouble: Option<String>) {
        let Some(at) = self.debts.iter().position(|debt| debt.record.plugin == plugin) else { return };
        let debt = self.debts.remove(at);
        match trouble {
            None => {
                tracing::info!("cycle {}: plugin {plugin} has let go of what an earlier daemon left", debt.record.cycle)
            }
            Some(why) => tracing::error!(
                "cycle {}: plugin {plugin} did not let go of what an earlier daemon left: {why}; see to {} by hand",
                debt.record.cycle,
                debt.record.substeps.join(", ")
            ),
        }
        self.scribe.write(Job::Forget(vec![debt.path]));
    }

    /// Why no freeze may begin yet.
    pub(super) fn debts_in_the_way(&self) -> Vec<String> {
        let sentence = |debt: &Debt| {
            format!(
                "plugin {} is still letting go of what cycle {} of an earlier daemon left; try again shortly",
                debt.record.plugin, debt.record.cycle
            )
        };
        self.debts.iter().map(sentence).collect()
    }
}

fn read(path: &Path) -> io::Result<Option<Owed>> {
    let bytes = hv_vss_trust::read_within(path, MOST_BYTES)?;
    bytes.map(|bytes| Owed::parse(&bytes)).transpose()
}
