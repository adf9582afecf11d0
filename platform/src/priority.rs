//! Whose turn it is: the processes that freeze and thaw go before all others, since on a busy machine each message between them would otherwise wait
//! its turn, and everybody's writers with it. They use little: nobody else waits long for them.

#![allow(unsafe_code)] // nix does not wrap setpriority.

use nix::errno::Errno;
use nix::libc;

use crate::{OsError, Result};

/// The highest of setpriority(2)'s.
const HIGHEST: libc::c_int = -20;
/// What a process has whose parent did nothing about it.
const USUAL: libc::c_int = 0;

/// This process goes before all others, and so does what it starts, until that takes [`usual`]. On Linux: the calling thread.
///
/// # Errors
/// EACCES, EPERM: not root. The program goes on working without.
pub fn highest() -> Result<()> {
    set(HIGHEST).map_err(|errno| OsError::new(format!("set this process's priority to {HIGHEST}"), errno))
}

/// This process is one among many. May be called between fork and exec.
///
/// # Errors
/// As [`highest`].
pub fn usual() -> nix::Result<()> {
    set(USUAL)
}

fn set(priority: libc::c_int) -> nix::Result<()> {
    // SAFETY: takes numbers only; 0 is the caller.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, priority) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_can_have_the_highest_and_give_it_back() {
        hv_vss_testbed::needs!(Root);
        // SAFETY: as above.
        let now = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        highest().unwrap();
        assert_eq!(now(), HIGHEST);
        usual().unwrap();
        assert_eq!(now(), USUAL);
    }
}
