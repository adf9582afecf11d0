//! The note of the cycle in work: written before anything is asked to come to rest, removed when the cycle is over. A daemon that finds one of
//! its own boot had a predecessor that ended in the hold.

use serde::{Deserialize, Serialize};

use crate::ending::{CycleResult, Ending};
use crate::record::{Kind, RECORD_VERSION, Record};

/// The version of the file. One that is not understood is not acted upon.
pub const IN_WORK_VERSION: u32 = 1;

/// The cycle in work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InWork {
    /// [`IN_WORK_VERSION`].
    pub version: u32,
    /// Its id.
    pub cycle: String,
    /// What it is.
    pub kind: Kind,
    /// In which boot of the machine.
    pub boot: String,
    /// When it began, in milliseconds of the wall clock since 1970 (UTC).
    pub began_ms: u64,
    /// The workers that hold filesystems: without an expiry in the kernel, one that is stopped keeps them frozen.
    #[serde(default)]
    pub filesystem_workers: Vec<Worker>,
}

/// A worker, told from a later process with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its plugin.
    pub plugin: String,
    /// Its process.
    pub pid: i32,
    /// When that process began; none: it can't be known.
    pub began: Option<u64>,
}

impl InWork {
    /// Reads the file's bytes.
    ///
    /// # Errors
    /// A sentence, when they are no such note, or of a version that is not understood.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let note: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match note.version {
            IN_WORK_VERSION => Ok(note),
            other => Err(format!("it has version {other}, and only {IN_WORK_VERSION} is understood")),
        }
    }

    /// The record of a cycle whose daemon ended in it.
    #[must_use]
    pub fn died(&self) -> Record {
        Record {
            version: RECORD_VERSION,
            cycle: self.cycle.clone(),
            kind: self.kind,
            began_ms: self.began_ms,
            budget_ms: 0,
            ending: Ending {
                result: Some(CycleResult::Died),
                sentence:
                    "the daemon ended before this cycle was over, so it is not known for how long everything was held; \
                           this backup is not consistent"
                        .to_owned(),
                ..Ending::default()
            },
            answers: Vec::new(),
            steps: Vec::new(),
            frozen_ms: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_makes_a_record_that_says_died_and_asks_for_a_look() {
        let note = InWork {
            version: IN_WORK_VERSION,
            cycle: "c1".into(),
            kind: Kind::Backup,
            boot: "b".into(),
            began_ms: 7,
            filesystem_workers: vec![Worker { plugin: "ufs".into(), pid: 9, began: Some(3) }],
        };
        let read = InWork::parse(&serde_json::to_vec(&note).unwrap()).unwrap();
        assert_eq!(read, note);
        let record = read.died();
        assert_eq!((record.cycle.as_str(), record.began_ms), ("c1", 7));
        assert!(record.ending.is_trouble() && record.ending.summary().starts_with("died: "));
    }

    #[test]
    fn a_note_of_a_later_version_is_not_acted_upon() {
        let text = r#"{"version":2,"cycle":"c","kind":"backup","boot":"b","began_ms":1}"#;
        assert!(InWork::parse(text.as_bytes()).unwrap_err().contains("version 2"));
    }
}
