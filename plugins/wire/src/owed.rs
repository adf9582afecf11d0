//! What an application plugin owes, on disk: written by the orchestrator before the plugin is asked to come to rest, removed when it has let go.
//!
//! It guards against the orchestrator's death, not the machine's: it is renamed into place and not synced. While the orchestrator lives only it
//! touches the file; once it is gone the plugin's worker keeps the file up to date with what it has still to let go; the next orchestrator waits
//! until that worker has ended, and sees to what is left.

use std::io;

use hv_vss_types::Mount;
use serde::{Deserialize, Serialize};

/// The version of the file. One that we don't know is not acted upon.
pub const OWED_VERSION: u32 = 1;
/// A record longer than this is none of ours: one with a thousand scripts and mounts has less.
pub const MOST_BYTES: u64 = 1 << 20;

/// One plugin's debt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// [`OWED_VERSION`].
    pub version: u32,
    /// Of which cycle.
    pub cycle: String,
    /// In which boot of the machine: a record from another one came out of a backup, or the machine was reset.
    pub boot: String,
    /// The plugin.
    pub plugin: String,
    /// The process that does its work.
    pub pid: i32,
    /// When that process began, to tell it from a later one with the same number.
    pub process_began: Option<u64>,
    /// The sub-steps (scripts) that are planned, and have a thaw. After a death each counts as started.
    pub substeps: Vec<String>,
    /// The mounts of the freeze.
    pub mounts: Vec<Mount>,
}

impl Owed {
    /// Reads a record from the file's bytes.
    ///
    /// # Errors
    /// When they are none, or of a version that is not understood.
    pub fn parse(text: &[u8]) -> io::Result<Self> {
        let record: Self = serde_json::from_slice(text)?;
        if record.version != OWED_VERSION {
            return Err(io::Error::other(format!(
                "it has version {}, and only {OWED_VERSION} is understood",
                record.version
            )));
        }
        Ok(record)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// When it can't be put as JSON.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Owed {
        Owed {
            version: OWED_VERSION,
            cycle: "c1".into(),
            boot: "b1".into(),
            plugin: "exec_hook".into(),
            pid: 7,
            process_began: Some(3),
            substeps: vec!["10-a".into()],
            mounts: vec![],
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(Owed::parse(&record().to_bytes().unwrap()).unwrap(), record());
    }

    #[test]
    fn a_torn_record_and_one_from_the_future_are_errors() {
        assert!(Owed::parse(b"{\"version\":1,\"cyc").is_err());
        let future = Owed { version: 9, ..record() }.to_bytes().unwrap();
        assert!(Owed::parse(&future).unwrap_err().to_string().contains("version 9"));
    }
}
