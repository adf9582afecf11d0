//! Files that programs have mapped shared and writable.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::FsId;

/// A file of a filesystem that a process has mapped shared and writable. It can store to it without a system call,
/// so a suspension does not stop it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mapping {
    /// The process.
    pub pid: i32,
    /// Its name, as ps(1) shows it.
    pub program: String,
    /// The file; none if the kernel has no name for it, as for one that was unlinked.
    pub file: Option<String>,
    /// The filesystem that the file lies on.
    pub fsid: FsId,
    /// Every thread of the process was stopped.
    pub stopped: bool,
}

/// What a look at all processes found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappedScan {
    /// The mappings, by process. A file that a process maps twice is there once.
    pub mappings: Vec<Mapping>,
    /// How many processes were looked at.
    pub processes: usize,
    /// How many of them did not show their mappings.
    pub unreadable: usize,
    /// No process was left out for want of time.
    pub complete: bool,
    /// How long the look took.
    pub took: Duration,
}
