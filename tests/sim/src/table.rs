//! The mount table that the daemon reads, as the simulated kernel sees it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hv_vss_platform::mounts::Mount;

/// Inode, time of change, length.
type Version = (u64, i64, i64, u64);

pub(crate) struct MountFile {
    path: PathBuf,
    /// As it was last read, and which version of the file that was.
    known: Mutex<Option<(Version, Arc<Vec<Mount>>)>>,
}

impl MountFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), known: Mutex::default() }
    }

    /// Read anew only when the file is another one: it is replaced, never changed.
    pub(crate) fn mounts(&self) -> Result<Arc<Vec<Mount>>, String> {
        let about =
            fs::metadata(&self.path).map_err(|error| format!("can't look at {}: {error}", self.path.display()))?;
        let version = (about.ino(), about.mtime(), about.mtime_nsec(), about.len());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, mounts)) if *of == version => Ok(Arc::clone(mounts)),
            _ => {
                let mounts = Arc::new(self.read()?);
                *known = Some((version, Arc::clone(&mounts)));
                Ok(mounts)
            }
        }
    }

    fn read(&self) -> Result<Vec<Mount>, String> {
        let table = self.path.display();
        let text = fs::read_to_string(&self.path).map_err(|error| format!("can't read {table}: {error}"))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines
            .map(|(at, line)| serde_json::from_str(line).map_err(|error| format!("{table}, line {}: {error}", at + 1)))
            .collect()
    }
}
