//! What a daemon finds when it is started by devd, by rc, or from some shell, put in order before anything else: descriptors, umask, directory,
//! signal mask, limits. What it inherited by chance must not decide how it serves: a file that a shell had open on a disk that is frozen later,
//! a blocked SIGUSR1 (the operator's way out), a umask that lets others write.
//!
//! The environment needs no order: a daemon of ours asks it for nothing, and hands none of it on. What the dynamic
//! linker took from it (`LD_PRELOAD`) has happened by now; only root can have set it.

#![allow(unsafe_code)] // Closing descriptors by number.

use std::io;

use hv_vss_platform::descriptors;
use hv_vss_platform::limits::{self, Limited};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};

/// Descriptors this daemon may have: enough for every plugin, every client and the lock that lies above them all.
const DESCRIPTORS: u64 = 1024;

/// Puts them in order. To be called once, first thing: later there are descriptors that somebody owns.
///
/// # Errors
/// What could not be done, and why.
pub fn put_in_order() -> Result<(), (&'static str, io::Error)> {
    // SAFETY: nothing in this process has opened a descriptor yet; 0 to 2 are std's.
    unsafe { descriptors::close_from(3) };
    umask(Mode::from_bits_truncate(0o077));
    std::env::set_current_dir("/").map_err(|error| ("change to the directory /", error))?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|errno| ("unblock the signals it was started with blocked", errno.into()))?;
    // Not a reason to leave the host without an answer: with fewer descriptors there are fewer clients.
    let _ = limits::set(Limited::Descriptors, DESCRIPTORS);
    // A dump would hold the plugins' settings, and be written to a disk that may be frozen.
    let _ = limits::set(Limited::Core, 0);
    Ok(())
}
