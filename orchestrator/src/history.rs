//! The history: the latest cycles, one JSON line each, in a file that is replaced as a whole. What can't be read is skipped and said; what can't
//! be written stays in memory.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::record::{RECORD_VERSION, Record};

/// How many cycles are kept. A host that CHECKs before each of a day's backups fills it in some months.
pub const KEPT: usize = 500;
/// A history longer than this was not written by us.
const MAX_BYTES: u64 = 16 << 20;

/// The latest cycles, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Shared with whoever writes them: a copy of the history is made after each cycle.
    records: VecDeque<Arc<Record>>,
    /// What could not be read, as a sentence.
    pub damage: Option<String>,
}

impl History {
    /// Reads the file; one that is not there is an empty one.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        match read(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                Self { damage: Some(format!("can't read the history {}: {error}", path.display())), ..Self::default() }
            }
        }
    }

    /// Reads the file's text. What can't be understood is skipped, and said in [`damage`](Self::damage).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut history = Self::default();
        let mut skipped = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match serde_json::from_str::<Record>(line) {
                Ok(record) if record.version <= RECORD_VERSION => history.add(record),
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

    /// Adds the latest cycle; the oldest beyond [`KEPT`] is forgotten.
    pub fn add(&mut self, record: Record) {
        self.records.push_back(Arc::new(record));
        while self.records.len() > KEPT {
            self.records.pop_front();
        }
    }

    /// The cycles, the oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> + ExactSizeIterator {
        self.records.iter().map(Arc::as_ref)
    }

    /// The file's text: the latest cycles, as many as [`load`](Self::load) would read.
    ///
    /// # Errors
    /// When a record can't be put as JSON.
    pub fn text(&self) -> io::Result<String> {
        let mut lines = VecDeque::new();
        let mut room = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
        for record in self.records.iter().rev() {
            let line = serde_json::to_string(record.as_ref())? + "\n";
            let Some(left) = room.checked_sub(line.len()) else { break };
            room = left;
            lines.push_front(line);
        }
        Ok(Vec::from(lines).concat())
    }

    /// Replaces the file, whole or not at all.
    ///
    /// # Errors
    /// When the directory can't be made or written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        hv_vss_trust::replace(path, self.text()?.as_bytes(), 0o600)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > MAX_BYTES {
        return Err(io::Error::other(format!("it has {length} bytes, more than we ever write; it is left alone")));
    }
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// Makes the state directory, if it is not there yet, and judges it: what an attacker could put there would be believed by the next daemon, and
/// what is written there could be led elsewhere. Gives back its resolved path, the one to use.
///
/// # Errors
/// A sentence; a file in its place is one.
pub fn directory(path: &Path) -> Result<PathBuf, String> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => hv_vss_trust::directory(path).map_err(|distrust| distrust.to_string()),
        Err(error) if path.exists() && !path.is_dir() => {
            Err(format!("{} is not a directory ({error}); move it away", path.display()))
        }
        Err(error) => Err(format!("can't make the directory {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CycleResult, Kind, Recorder};
    use hv_vss_platform::clock::Monotonic;

    fn record(cycle: &str) -> Record {
        let zero = Monotonic::from_ns(0);
        let mut recorder = Recorder::begin(cycle.to_owned(), Kind::Backup, 0, zero, zero);
        recorder.concluded(CycleResult::Ok, "done");
        recorder.finish()
    }

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("hv_vss-{name}-{}", std::process::id()))
    }

    #[test]
    fn what_is_saved_is_loaded_and_no_more_than_is_kept() {
        let path = place("history");
        let mut history = History::default();
        for at in 0..KEPT + 3 {
            history.add(record(&at.to_string()));
        }
        history.save(&path).unwrap();
        let loaded = History::load(&path);
        assert_eq!(loaded.records().len(), KEPT);
        assert_eq!(loaded.records().next().unwrap().cycle, "3");
        assert_eq!(loaded.damage, None);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn cycles_that_are_too_long_cost_older_ones_and_what_is_written_can_be_read() {
        let path = place("long-history");
        let mut history = History::default();
        for at in 0..10 {
            let mut record = record(&at.to_string());
            record.sentence = "x".repeat(2 << 20);
            history.add(record);
        }
        history.save(&path).unwrap();
        let loaded = History::load(&path);
        assert_eq!(loaded.damage, None);
        let kept: Vec<&str> = loaded.records().map(|record| record.cycle.as_str()).collect();
        assert_eq!(kept, ["3", "4", "5", "6", "7", "8", "9"]);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_damaged_line_is_skipped_and_said_and_the_others_are_kept() {
        let good = serde_json::to_string(&record("a")).unwrap();
        let history = History::parse(&format!("{good}\n{{\"version\":1,\"cyc\n{good}\n"));
        assert_eq!(history.records().len(), 2);
        assert!(history.damage.unwrap().contains("skipped: 2"));
    }

    #[test]
    fn a_file_in_the_place_of_the_state_directory_is_named_and_a_directory_is_fine() {
        let path = place("state");
        fs::write(&path, b"x").unwrap();
        assert!(directory(&path).unwrap_err().contains("is not a directory"));
        fs::remove_file(&path).unwrap();
        for _ in 0..2 {
            // Whoever runs this test may not be root, and then a directory of theirs is made and not trusted.
            let judged = directory(&path);
            assert!(path.is_dir());
            match nix::unistd::geteuid().is_root() {
                true => assert_eq!(judged, Ok(fs::canonicalize(&path).unwrap())),
                false => assert!(judged.unwrap_err().contains("not to root")),
            }
        }
        fs::remove_dir(&path).unwrap();
    }
}
