//! The notes in the state directory: what applications will be owed, written before the first of them is asked, and the cycle in work. They are removed
//! when the cycle has ended; what is still owed then, or was left by an earlier daemon, is in `debts.rs`.

use std::io;
use std::path::{Path, PathBuf};

use hv_vss_platform::process;
use hv_vss_wire::owed::{MOST_BYTES, OWED_VERSION, Owed};

use super::{Engine, Event};
use crate::scribe::Job;
use hv_vss_core::in_work::{IN_WORK_VERSION, InWork, Worker};

/// The name of the note of the cycle in work, in the state directory.
const IN_WORK: &str = "in-work.json";

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
    pub(super) fn find_the_cycle_of_a_predecessor(&mut self) {
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

    /// The cycle is over. What is still owed keeps its record.
    pub(super) fn forget_note(&mut self) {
        let mut noted = std::mem::take(&mut self.current.noted);
        noted.retain(|path| !self.is_record_of_a_debt(path));
        if !noted.is_empty() {
            self.scribe.write(Job::Forget(noted));
        }
    }
}

pub(super) fn read(path: &Path) -> io::Result<Option<Owed>> {
    let bytes = hv_vss_trust::read_within(path, MOST_BYTES)?;
    bytes.map(|bytes| Owed::parse(&bytes)).transpose()
}
