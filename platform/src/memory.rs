//! Keeping this process's memory in memory: while filesystems are frozen a page that has to come back from a disk may be a page that waits for
//! us. Both systems have the same call.

use nix::sys::mman::{MlockAllFlags, mlockall};

use crate::{OsError, Result};

/// Locks all pages that are mapped now and all that will be. To be called after warm-up, since what was locked stays locked.
///
/// # Errors
/// EPERM or ENOMEM: the process's limit (`ulimit -l`, the login class's `memorylocked`) is too low. The program goes on working without.
pub fn lock_all() -> Result<()> {
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)
        .map_err(|errno| OsError::new("lock this process's memory", errno))
}
