//! The history: the latest cycles, one JSON line each, in a file that is appended to and compacted now and then. What can't be read is
//! skipped and said; what can't be written stays in memory.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::record::{RECORD_VERSION, Record};

/// How many cycles are kept. A host that CHECKs before each of a day's backups fills it in some months.
pub const KEPT: usize = 500;
/// A history longer than this was not written by us.
pub const MOST_BYTES: u64 = 16 << 20;

/// The latest cycles, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Shared with the thread that writes them.
    records: VecDeque<Arc<Record>>,
    /// How many of the latest are not yet given to that thread.
    unwritten: usize,
    /// What could not be read, as a sentence.
    pub damage: Option<String>,
}

impl History {
    /// Reads the file's text. What can't be understood is skipped, and said in [`damage`](Self::damage).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut history = Self::default();
        let mut skipped = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match serde_json::from_str::<Record>(line) {
                Ok(record) if record.version <= RECORD_VERSION => history.push(record),
                Ok(_) | Err(_) => skipped.push(at + 1),
            }
        }
        if !skipped.is_empty() {
            let lines: Vec<String> = skipped.iter().take(5).map(usize::to_string).collect();
            let more = if skipped.len() > 5 { " and others" } else { "" };
            history.damage = Some(format!(
                "{} damaged lines of the history were skipped: {}{more}",
                skipped.len(),
                lines.join(", ")
            ));
        }
        history
    }

    /// Adds the latest cycle, to be written; the oldest beyond [`KEPT`] is forgotten.
    pub fn add(&mut self, record: Record) {
        self.push(record);
        self.unwritten = (self.unwritten + 1).min(KEPT);
    }

    /// The cycles that were added and are to be written now, the oldest first. They are given once.
    pub fn take_unwritten(&mut self) -> Vec<Arc<Record>> {
        let written = self.records.len() - std::mem::take(&mut self.unwritten);
        self.records.range(written..).cloned().collect()
    }

    fn push(&mut self, record: Record) {
        self.records.push_back(Arc::new(record));
        while self.records.len() > KEPT {
            self.records.pop_front();
        }
    }

    /// The cycles, the oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> + ExactSizeIterator {
        self.records.iter().map(Arc::as_ref)
    }

    /// The text of a compacted file: the latest cycles, in at most half of [`MOST_BYTES`].
    ///
    /// # Errors
    /// When a record can't be put as JSON.
    pub fn text(&self) -> io::Result<String> {
        let mut lines = VecDeque::new();
        let mut room = usize::try_from(MOST_BYTES / 2).unwrap_or(usize::MAX);
        for record in self.records.iter().rev() {
            let line = line(record)?;
            let Some(left) = room.checked_sub(line.len()) else { break };
            room = left;
            lines.push_front(line);
        }
        Ok(Vec::from(lines).concat())
    }
}

/// A record as a line of the file, with its line feed.
///
/// # Errors
/// When it can't be put as JSON.
pub fn line(record: &Record) -> io::Result<String> {
    Ok(serde_json::to_string(record)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CycleResult, Kind, Recorder};
    use hv_vss_types::Monotonic;

    fn record(cycle: &str) -> Record {
        let zero = Monotonic::from_ns(0);
        let mut recorder = Recorder::begin(cycle.to_owned(), Kind::Backup, 0, zero, zero);
        recorder.concluded(CycleResult::Ok, "done");
        recorder.finish()
    }

    #[test]
    fn what_is_written_is_read_and_no_more_than_is_kept() {
        let mut history = History::default();
        for at in 0..KEPT + 3 {
            history.add(record(&at.to_string()));
        }
        let loaded = History::parse(&history.text().unwrap());
        assert_eq!(loaded.records().len(), KEPT);
        assert_eq!(loaded.records().next().unwrap().cycle, "3");
        assert_eq!(loaded.damage, None);
    }

    #[test]
    fn cycles_that_are_too_long_cost_older_ones_and_what_is_written_can_be_read() {
        let mut history = History::default();
        for at in 0..10 {
            let mut record = record(&at.to_string());
            record.ending.sentence = "x".repeat(2 << 20);
            history.add(record);
        }
        let text = history.text().unwrap();
        assert!(text.len() as u64 <= MOST_BYTES);
        let loaded = History::parse(&text);
        assert_eq!(loaded.damage, None);
        let kept: Vec<&str> = loaded.records().map(|record| record.cycle.as_str()).collect();
        assert_eq!(kept, ["7", "8", "9"]);
    }

    #[test]
    fn a_damaged_line_is_skipped_and_said_and_the_others_are_kept() {
        let good = serde_json::to_string(&record("a")).unwrap();
        let history = History::parse(&format!("{good}\n{{\"version\":1,\"cyc\n{good}\n"));
        assert_eq!(history.records().len(), 2);
        assert!(history.damage.unwrap().contains("skipped: 2"));
    }
}
