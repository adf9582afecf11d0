//! A pool's file: locked, read, changed in place.
//!
//! Values are overwritten where they are, missing records appended in one piece. If a write fails,
//! what was written before it is taken back. A full disk or a kill then takes no program's pairs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hv_vss_kvp_core::{Change, Edit, MOST_RECORDS, Pool, RECORD_SIZE, Records, plan};

use crate::error::PoolError;
use crate::lock::{self, Kind, Patience};
use crate::place;
use crate::stamp::Stamp;

/// A pool, by its directory and number.
#[derive(Clone, Debug)]
pub struct PoolFile {
    directory: PathBuf,
    path: PathBuf,
}

/// A locked pool. The lock goes when this does, with the file.
#[derive(Debug)]
pub struct Locked {
    file: File,
    path: PathBuf,
    records: Records,
    /// What lies behind the last whole record, in bytes.
    torn: u64,
}

impl PoolFile {
    /// The pool in this directory.
    #[must_use]
    pub fn new(directory: &Path, pool: Pool) -> Self {
        let path = directory.join(format!(".kvp_pool_{}", pool.number()));
        Self { directory: directory.to_owned(), path }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which state of the file this is; none: there is no file.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn stamp(&self) -> Result<Option<Stamp>, PoolError> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(about) => Ok(Some(Stamp::of(&about))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PoolError::System("look at", self.path.clone(), error)),
        }
    }

    /// Reads the records under a lock that only keeps writers away; none: there is no file. Makes
    /// nothing, and works on a read-only disk.
    ///
    /// # Errors
    /// As [`PoolError`] says.
    pub fn read(&self, patience: &dyn Patience) -> Result<Option<(Records, Stamp)>, PoolError> {
        let Some(file) = place::open(&self.path)? else { return Ok(None) };
        lock::take(&file, &self.path, Kind::Reading, patience)?;
        let (records, _) = self.records_of(&file)?;
        let about = file.metadata().map_err(|error| PoolError::System("look at", self.path.clone(), error))?;
        Ok(Some((records, Stamp::of(&about))))
    }

    /// Makes what is missing, takes the lock, and reads.
    ///
    /// # Errors
    /// As [`PoolError`] says; no record was changed.
    pub fn lock(&self, patience: &dyn Patience) -> Result<Locked, PoolError> {
        place::make_directory(&self.directory)?;
        let file = place::open_or_make(&self.path)?;
        lock::take(&file, &self.path, Kind::Writing, patience)?;
        let (records, torn) = self.records_of(&file)?;
        Ok(Locked { file, path: self.path.clone(), records, torn })
    }

    /// The whole records, and how many bytes follow them.
    fn records_of(&self, file: &File) -> Result<(Records, u64), PoolError> {
        let cannot = |doing| move |error| PoolError::System(doing, self.path.clone(), error);
        let length = file.metadata().map_err(cannot("look at"))?.len();
        if length > (MOST_RECORDS * RECORD_SIZE) as u64 {
            return Err(PoolError::TooLong(self.path.clone(), length));
        }
        let torn = length % RECORD_SIZE as u64;
        let mut bytes = vec![0; usize::try_from(length - torn).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0).map_err(cannot("read"))?;
        Ok((Records::of(bytes), torn))
    }
}

impl Locked {
    /// The records.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Whether the file ends within a record.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.torn > 0
    }

    /// Which state of the file this is.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn stamp(&self) -> Result<Stamp, PoolError> {
        let about = self.file.metadata().map_err(|error| PoolError::System("look at", self.path.clone(), error))?;
        Ok(Stamp::of(&about))
    }

    /// Makes these changes, all or none; whether each found its key.
    ///
    /// # Errors
    /// As [`PoolError`] says. Then nothing was changed, unless it is [`PoolError::HalfDone`].
    pub fn change(&mut self, changes: &[Change]) -> Result<Vec<bool>, PoolError> {
        let plan = plan(&self.records, changes);
        if self.torn > 0 && plan.after.len() != self.records.len() {
            return Err(PoolError::Torn(self.path.clone(), self.records.bytes().len(), self.torn));
        }
        if plan.is_too_large {
            return Err(PoolError::Full(self.path.clone()));
        }
        for (done, edit) in plan.edits.iter().enumerate() {
            if let Err(error) = self.perform(edit) {
                return Err(match self.take_back(&plan.edits[..=done]) {
                    Ok(()) => PoolError::System("write", self.path.clone(), error),
                    Err(undoing) => PoolError::HalfDone(self.path.clone(), error, undoing),
                });
            }
        }
        self.records = plan.after;
        Ok(plan.found)
    }

    fn perform(&self, edit: &Edit) -> io::Result<()> {
        match edit {
            Edit::Append(bytes) => self.file.write_all_at(bytes, self.records.bytes().len() as u64),
            Edit::Overwrite(at, bytes) => self.file.write_all_at(bytes, *at as u64),
            Edit::Cut(length) => self.file.set_len(*length as u64),
        }
    }

    /// The latest first. Where nothing had been written yet, nothing is: even a read-only disk then
    /// takes it back.
    fn take_back(&self, edits: &[Edit]) -> io::Result<()> {
        let old = self.records.bytes();
        for edit in edits.iter().rev() {
            match edit {
                Edit::Append(_) if self.file.metadata()?.len() == old.len() as u64 => {}
                Edit::Append(_) => self.file.set_len(old.len() as u64)?,
                Edit::Overwrite(at, bytes) => {
                    let was = &old[*at..*at + bytes.len()];
                    let mut is = vec![0; bytes.len()];
                    self.file.read_exact_at(&mut is, *at as u64)?;
                    if is != was {
                        self.file.write_all_at(was, *at as u64)?;
                    }
                }
                // It is the last edit, and a cut that failed has cut nothing.
                Edit::Cut(_) => {}
            }
        }
        Ok(())
    }
}
