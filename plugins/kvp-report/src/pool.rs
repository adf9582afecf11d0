//! Changes some keys in the pool's file, and nothing else in it.
//!
//! The file is an array of records, [`KEY_SIZE`] bytes of key and [`VALUE_SIZE`] bytes of value, each text up to its first null byte (what is behind that may
//! be left over: hv_kvp_daemon moves records with strcpy(3)). Whoever reads or writes holds a write lock on all of it, by fcntl(2)
//! (FreeBSD: contrib/hyperv/tools/hv_kvp_daemon.c). It can't be replaced by a renamed one, since others hold their lock on the old file then.
//!
//! So it is changed in place, as little as possible: values are overwritten where they are, missing records appended in one piece, and what could
//! not be appended whole is cut off again. It is never truncated to be written anew. A full disk, a kill or the loss of the machine in the midst
//! can then leave our own keys half old and half new, but takes nobody else's.
//!
//! The daemon reads and writes under one lock each, not under one for both: what is written in between by others is lost to it if the host changes
//! this pool just then. It would lose our values of one cycle; the next cycle writes them anew.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::place;
use crate::text::{KEY_SIZE, VALUE_SIZE};

/// The guest's own pool among the daemon's five: HV_KVP_POOL_GUEST.
const FILE: &str = ".kvp_pool_1";
const RECORD_SIZE: usize = KEY_SIZE + VALUE_SIZE;
/// A pool with more records than this was not written by anybody who knows the format; reading has to end somewhere.
const MOST_RECORDS: usize = 4096;
/// The first and the longest pause before a lock that somebody else has is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// A pool, by its directory.
pub(crate) struct Pool {
    directory: PathBuf,
    file: PathBuf,
}

/// How long somebody else's lock is waited for.
pub(crate) trait Patience {
    /// Is it to be given up now?
    fn is_over(&self) -> bool;
}

/// Until an instant.
pub(crate) struct Until(pub(crate) Instant);

impl Patience for Until {
    fn is_over(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// The records of a locked pool. The lock goes when this does, with the file.
pub(crate) struct Locked<'a> {
    file: File,
    path: &'a Path,
    records: Vec<u8>,
    /// What lies behind the last whole record, in bytes.
    torn: u64,
}

impl Pool {
    pub(crate) fn new(directory: PathBuf) -> Self {
        let file = directory.join(FILE);
        Self { directory, file }
    }

    /// Makes what is missing, takes the lock, and reads.
    ///
    /// # Errors
    /// A sentence; nothing was changed then.
    pub(crate) fn lock(&self, patience: &dyn Patience) -> Result<Locked<'_>, String> {
        place::make_directory(&self.directory)?;
        let path = self.file.as_path();
        // The one descriptor of this file in this process: closing any other would drop the lock.
        let file = place::open(path)?;
        take_lock(&file, path, patience)?;
        let length = file.metadata().map_err(|error| format!("can't look at {}: {error}", path.display()))?.len();
        let most = (MOST_RECORDS * RECORD_SIZE) as u64;
        if length > most {
            return Err(format!(
                "{} has {length} bytes, and a pool of {MOST_RECORDS} records would have {most}: it is left alone; see what wrote it",
                path.display()
            ));
        }
        let torn = length % RECORD_SIZE as u64;
        let mut records = vec![0; usize::try_from(length - torn).unwrap_or(0)];
        file.read_exact_at(&mut records, 0).map_err(|error| format!("can't read {}: {error}", path.display()))?;
        Ok(Locked { file, path, records, torn })
    }
}

impl Locked<'_> {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let at = self.place_of(key)?;
        std::str::from_utf8(text(&self.records[at + KEY_SIZE..at + RECORD_SIZE])).ok()
    }

    /// Sets keys: those that are there in place, the others behind the last one.
    ///
    /// # Errors
    /// A sentence. What other programs have in the pool is unharmed.
    pub(crate) fn set(&self, pairs: &[(&str, String)]) -> Result<(), String> {
        let mut missing = Vec::new();
        for (key, value) in pairs {
            match self.place_of(key) {
                None => missing.extend_from_slice(&record(key, value)),
                Some(_) if self.get(key) == Some(value) => {}
                Some(at) => self.write(&padded::<VALUE_SIZE>(value), at + KEY_SIZE)?,
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if self.torn > 0 {
            return Err(format!(
                "{} ends in the midst of a record ({} bytes of {RECORD_SIZE}), so nothing is added to it: if nobody is writing it, \
                 `truncate -s {} {}` takes the torn record away",
                self.path.display(),
                self.torn,
                self.records.len(),
                self.path.display()
            ));
        }
        if self.records.len() + missing.len() > MOST_RECORDS * RECORD_SIZE {
            return Err(format!("{} is full: it has {MOST_RECORDS} records", self.path.display()));
        }
        self.write(&missing, self.records.len()).inspect_err(|_| {
            // If not even that works, what is left is a torn record, which nobody reads.
            let _ = self.file.set_len(self.records.len() as u64);
        })
    }

    /// Whether the file ends in the midst of a record.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn > 0
    }

    fn place_of(&self, key: &str) -> Option<usize> {
        let places = (0..self.records.len()).step_by(RECORD_SIZE);
        places.into_iter().find(|at| text(&self.records[*at..at + KEY_SIZE]) == key.as_bytes())
    }

    fn write(&self, bytes: &[u8], at: usize) -> Result<(), String> {
        self.file.write_all_at(bytes, at as u64).map_err(|error| {
            format!("can't write {}, so the host sees what was true before: {error}", self.path.display())
        })
    }
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let mut record = padded::<KEY_SIZE>(key).to_vec();
    record.extend_from_slice(&padded::<VALUE_SIZE>(value));
    record
}

/// A text with null bytes behind it. What is too long is made to fit before; here at least the null byte is there.
fn padded<const SIZE: usize>(text: &str) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    let length = text.len().min(SIZE - 1);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    bytes
}

fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Takes the daemon's lock: a write lock on all of the file. Asks again and again rather than waiting in the kernel, where nobody could tell us to stop.
fn take_lock(file: &File, path: &Path, patience: &dyn Patience) -> Result<(), String> {
    let (mut pause, longest) = PAUSES;
    loop {
        match fcntl(file, FcntlArg::F_SETLK(&whole_file())) {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES) if patience.is_over() => {
                return Err(format!("given up: {} was locked by another program all the time", path.display()));
            }
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(longest);
            }
            Err(errno) => {
                return Err(format!("can't lock {}: {}", path.display(), io::Error::from(errno)));
            }
        }
    }
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
        #[cfg(target_os = "freebsd")]
        l_sysid: 0,
    }
}
