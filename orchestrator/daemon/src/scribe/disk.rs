//! Jobs, performed. What a disk refuses is said once, until it takes it again.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hv_vss_core::history::{self, History, MOST_BYTES};
use hv_vss_core::record::Record;
use hv_vss_trust::Holder;

use super::Job;

/// A history is compacted when its file is longer than this, in bytes, and twice as long as after the last time.
const COMPACTED_FROM: u64 = 1 << 20;

/// The disk as its thread sees it.
#[derive(Default)]
pub(super) struct Disk {
    note_refused: bool,
    forgetting_refused: bool,
    history_refused: bool,
    publishing_refused: bool,
    /// Records that are paid and could not be removed: a later daemon would pay them once more.
    unforgotten: Vec<PathBuf>,
    /// Cycles that could not be added to the history.
    unwritten: Vec<Arc<Record>>,
    /// How long the history's file was after it was compacted.
    compacted: u64,
}

impl Disk {
    pub(super) fn perform(&mut self, job: Job) {
        match job {
            Job::Note { notes, done } => {
                for (path, note) in notes {
                    let written = in_its_directory(&path, || hv_vss_trust::replace(&path, &note, 0o600));
                    if written.is_ok() {
                        self.unforgotten.retain(|other| *other != path);
                    }
                    said_once(&mut self.note_refused, written, |error| {
                        format!(
                            "can't note in {} what a freeze will owe: {error}; the backup goes on, but if this daemon and its plugins end in it, some hooks may not be run",
                            path.display()
                        )
                    });
                }
                done();
            }
            Job::Forget(paths) => {
                for path in paths {
                    let forgotten = hv_vss_trust::remove(&path);
                    if forgotten.is_err() {
                        self.unforgotten.push(path.clone());
                    }
                    said_once(&mut self.forgetting_refused, forgotten, |error| {
                        format!(
                            "can't remove {}: {error}; unless it can be later, its hooks will be run once more at the next start",
                            path.display()
                        )
                    });
                }
            }
            Job::History(path, records, whole) => {
                self.unwritten.extend(records);
                let written = in_its_directory(&path, || self.add_to_history(&path, &whole));
                if written.is_ok() {
                    self.unwritten.clear();
                }
                // No more than a history has.
                let excess = self.unwritten.len().saturating_sub(history::KEPT);
                self.unwritten.drain(..excess);
                let compacted = written.and_then(|length| self.compact(&path, length));
                said_once(&mut self.history_refused, compacted, |error| {
                    format!("can't write the history {}: {error}; it is kept in memory", path.display())
                });
            }
            Job::Publish(path, text) => {
                // The collector's directory is often the collector's own, and who has it could lead us anywhere.
                let written =
                    hv_vss_trust::place(&path, Holder::Anyone).map_err(|distrust| distrust.to_string()).and_then(
                        |path| hv_vss_trust::replace(&path, text.as_bytes(), 0o644).map_err(|error| error.to_string()),
                    );
                said_once(&mut self.publishing_refused, written, |why| {
                    format!("can't write {}: {why}", path.display())
                });
            }
        }
    }

    pub(super) fn forget_what_could_not_be(&mut self) {
        self.unforgotten.retain(|path| hv_vss_trust::remove(path).is_err());
    }

    /// A file that is not there is written whole, or not at all.
    fn add_to_history(&self, path: &Path, whole: &History) -> io::Result<u64> {
        if !path.try_exists()? {
            let text = whole.text()?;
            return hv_vss_trust::replace(path, text.as_bytes(), 0o600).map(|()| text.len() as u64);
        }
        let lines: Vec<String> =
            self.unwritten.iter().map(|record| history::line(record)).collect::<io::Result<_>>()?;
        hv_vss_trust::append(path, lines.concat().as_bytes())
    }

    /// Leaves the latest cycles in a file that has grown long.
    fn compact(&mut self, path: &Path, length: u64) -> io::Result<()> {
        if length < COMPACTED_FROM.max(self.compacted * 2).min(MOST_BYTES * 3 / 4) {
            return Ok(());
        }
        let bytes = hv_vss_trust::read_within(path, MOST_BYTES * 4)?.unwrap_or_default();
        let text = History::parse(&String::from_utf8_lossy(&bytes)).text()?;
        hv_vss_trust::replace(path, text.as_bytes(), 0o600)?;
        self.compacted = text.len() as u64;
        Ok(())
    }
}

/// Writes a file of the state directory. One that has vanished (another /var is mounted) is made anew.
fn in_its_directory<T>(path: &Path, write: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match (write(), path.parent()) {
        (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
            crate::state::directory(directory).map_err(io::Error::other)?;
            write()
        }
        (result, _) => result,
    }
}

fn said_once<E: fmt::Display>(warned: &mut bool, result: Result<(), E>, sentence: impl FnOnce(E) -> String) {
    match result {
        Ok(()) => *warned = false,
        Err(error) if !*warned => {
            *warned = true;
            tracing::warn!("{}", sentence(error));
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hv_vss_core::record::{CycleResult, Kind, Recorder};
    use hv_vss_types::Monotonic;
    use std::fs;

    fn record(cycle: &str, sentence: &str) -> Arc<Record> {
        let zero = Monotonic::from_ns(0);
        let mut recorder = Recorder::begin(cycle.to_owned(), Kind::Backup, 0, zero, zero);
        recorder.concluded(CycleResult::Failed, sentence);
        Arc::new(recorder.finish())
    }

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("hv_vss-disk-{name}-{}", std::process::id()))
    }

    fn keeps(disk: &mut Disk, path: &Path, history: &mut History, record: Arc<Record>) {
        history.add(record.as_ref().clone());
        disk.perform(Job::History(path.to_owned(), vec![record], history.clone()));
    }

    #[test]
    fn a_history_that_has_grown_long_keeps_the_latest_cycles() {
        let path = place("compact");
        let (mut disk, mut history) = (Disk::default(), History::default());
        let cycles = 2 * history::KEPT;
        for at in 0..cycles {
            keeps(&mut disk, &path, &mut history, record(&at.to_string(), &"x".repeat(2_000)));
        }
        assert!(fs::metadata(&path).unwrap().len() < 2 * COMPACTED_FROM, "it was never compacted");
        let history = History::parse(&fs::read_to_string(&path).unwrap());
        assert_eq!(history.damage, None);
        let last: Vec<String> = history.records().rev().take(400).map(|record| record.cycle.clone()).collect();
        let wanted: Vec<String> = (0..cycles).rev().take(400).map(|at| at.to_string()).collect();
        assert_eq!(last, wanted);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_cycle_that_could_not_be_written_is_written_with_the_next() {
        let path = place("refused");
        fs::create_dir(&path).unwrap();
        let (mut disk, mut history) = (Disk::default(), History::default());
        keeps(&mut disk, &path, &mut history, record("first", "no"));
        fs::remove_dir(&path).unwrap();
        keeps(&mut disk, &path, &mut history, record("second", "no"));
        let history = History::parse(&fs::read_to_string(&path).unwrap());
        assert_eq!(history.records().map(|record| record.cycle.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        fs::remove_file(&path).unwrap();
    }
}
