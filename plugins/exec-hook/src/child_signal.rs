//! Hearing of a child's end in poll(2): SIGCHLD writes a byte into a pipe. It is caught only while scripts run; between freeze and thaw it has no
//! handler, and so nothing of a background child's end interrupts the wait for the orchestrator.
#![allow(unsafe_code, reason = "installs a signal handler")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use hv_vss_platform::OsError;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{pipe2, read};

/// Where the handler writes; negative: nowhere.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// While it lives, children's ends are heard of.
pub(crate) struct ChildSignal {
    reader: OwnedFd,
    _writer: OwnedFd,
    before: SigAction,
}

impl ChildSignal {
    /// # Errors
    /// When there is no pipe to be had.
    pub(crate) fn catch() -> Result<Self, OsError> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|errno| OsError::new("make a pipe to hear of the scripts' ends", errno))?;
        WAKE.store(writer.as_raw_fd(), Ordering::SeqCst);
        let action = SigAction::new(SigHandler::Handler(on_child), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler only writes to a pipe, and leaves errno as it was.
        let before = unsafe { sigaction(Signal::SIGCHLD, &action) }
            .map_err(|errno| OsError::new("catch SIGCHLD to hear of the scripts' ends", errno))?;
        Ok(Self { reader, _writer: writer, before })
    }

    /// Becomes readable when a child has ended.
    pub(crate) fn readable(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Takes note of what has been heard.
    pub(crate) fn heard(&self) {
        let mut bytes = [0; 64];
        while matches!(read(&self.reader, &mut bytes), Ok(count) if count > 0) {}
    }
}

impl Drop for ChildSignal {
    fn drop(&mut self) {
        // SAFETY: what was there before.
        let _ = unsafe { sigaction(Signal::SIGCHLD, &self.before) };
        WAKE.store(-1, Ordering::SeqCst);
    }
}

extern "C" fn on_child(_: libc::c_int) {
    let errno = Errno::last_raw();
    let fd = WAKE.load(Ordering::SeqCst);
    if fd >= 0 {
        // SAFETY: a valid byte; a full pipe is full of the same news, and a closed one hurts nobody.
        unsafe { libc::write(fd, b"c".as_ptr().cast(), 1) };
    }
    Errno::set_raw(errno);
}
