//! Why a pool can't be read or changed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use hv_vss_kvp_core::{MOST_RECORDS, RECORD_SIZE};

/// Why a pool can't be read or changed. Its text is a whole sentence.
#[derive(Debug)]
pub enum PoolError {
    /// A system call failed: what was being done, with what.
    System(&'static str, PathBuf, io::Error),
    /// Something that is not a file is in its place.
    NotAFile(PathBuf),
    /// Something that is not a directory is in the directory's place.
    NotADirectory(PathBuf),
    /// Another program had it locked all the time.
    Locked(PathBuf),
    /// The file is far longer than a pool can be: its length in bytes.
    TooLong(PathBuf, u64),
    /// The file ends within a record, so nothing can be added or removed: how many bytes are whole,
    /// and how many follow.
    Torn(PathBuf, usize, u64),
    /// The pool has as many records as it may have.
    Full(PathBuf),
    /// The change failed and could not be undone: both errors.
    HalfDone(PathBuf, io::Error, io::Error),
}

impl PoolError {
    /// Whether it may work a moment later, with nothing repaired.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Locked(_))
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(doing, path, error) => write!(f, "can't {doing} {}: {error}", path.display()),
            Self::NotAFile(path) => {
                write!(f, "{} is not a file, so it is left alone: move it away", path.display())
            }
            Self::NotADirectory(path) => {
                write!(f, "{} is not a directory, so no pool can be kept in it: move it away", path.display())
            }
            Self::Locked(path) => {
                write!(f, "given up: {} was locked by another program all the time", path.display())
            }
            Self::TooLong(path, length) => write!(
                f,
                "{} has {length} bytes, and a pool of {MOST_RECORDS} records would have {}: it is left alone; \
                 find out what wrote it",
                path.display(),
                MOST_RECORDS * RECORD_SIZE
            ),
            Self::Torn(path, whole, torn) => write!(
                f,
                "{} ends within a record ({torn} bytes of {RECORD_SIZE}), so nothing is added to it: if no \
                 program is writing it, `truncate -s {whole} {}` takes the torn record away",
                path.display(),
                path.display()
            ),
            Self::Full(path) => write!(f, "{} is full: it has {MOST_RECORDS} records", path.display()),
            Self::HalfDone(path, error, undoing) => write!(
                f,
                "can't write {}: {error}; what was written before could not be taken back: {undoing}",
                path.display()
            ),
        }
    }
}

impl std::error::Error for PoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(_, _, error) | Self::HalfDone(_, error, _) => Some(error),
            _ => None,
        }
    }
}
