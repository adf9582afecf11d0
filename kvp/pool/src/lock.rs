//! The lock on the whole file, by fcntl(2). FreeBSD's hv_kvp_daemon(8) takes a write lock, to read,
//! too. A read lock keeps writers away as well, and needs no right to write.
//!
//! Such a lock is the process's. Closing any descriptor of the file drops it, so a process has one
//! descriptor of a pool at a time.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::error::PoolError;

/// The first and the longest pause before a lock that another program has is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// How long another program's lock is waited for.
pub trait Patience {
    /// Is it to be given up now?
    fn is_over(&self) -> bool;
}

/// Until an instant.
#[derive(Clone, Copy, Debug)]
pub struct Until(pub Instant);

impl Patience for Until {
    fn is_over(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// What the lock is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Reading,
    Writing,
}

/// Takes the lock. Tries again and again: a wait in the kernel could not be given up.
pub(crate) fn take(file: &File, path: &Path, kind: Kind, patience: &dyn Patience) -> Result<(), PoolError> {
    let (mut pause, longest) = PAUSES;
    loop {
        match fcntl(file, FcntlArg::F_SETLK(&whole_file(kind))) {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES) if patience.is_over() => return Err(PoolError::Locked(path.into())),
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(longest);
            }
            Err(errno) => return Err(PoolError::System("lock", path.into(), io::Error::from(errno))),
        }
    }
}

fn whole_file(kind: Kind) -> libc::flock {
    libc::flock {
        l_type: if kind == Kind::Writing { libc::F_WRLCK } else { libc::F_RDLCK } as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
        #[cfg(target_os = "freebsd")]
        l_sysid: 0,
    }
}
