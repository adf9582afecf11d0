//! Children's ends: each dead child of this process is reaped in the moment in which it ends, whatever the plugin is doing: running scripts, held or
//! idle.
//!
//! A dead process that was not reaped still answers kill(2) with success. A script that stops a service and waits while `kill -0` succeeds
//! (rc.subr does) would wait for its limit. This process is the reaper of all that its scripts start, so each of them becomes its child.
//!
//! SIGCHLD's handler calls waitpid(2) with WNOHANG until no child is dead. The scripts' own numbers stand in a table, and their statuses are put
//! there; every other child is an orphan, and its status means nothing. No other code in this process starts children or waits for them.
#![allow(unsafe_code, reason = "a signal handler, and what it calls")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use hv_vss_platform::OsError;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, killpg, sigaction};
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, pipe2, read};

/// How many scripts the table has room for: those that run at once, and as many that were told to end.
pub(crate) const ROOM: usize = 128;
/// No script has this number.
const FREE: i32 = 0;
/// No wait status is negative.
const RUNS: i32 = -1;

struct Entry {
    pid: AtomicI32,
    status: AtomicI32,
}

static TABLE: [Entry; ROOM] = [const { Entry { pid: AtomicI32::new(FREE), status: AtomicI32::new(RUNS) } }; ROOM];
/// Where the handler writes; negative: nowhere.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// A pipe that becomes readable when a child has ended. There is one in a process, and it lives as long.
struct Ends {
    reader: OwnedFd,
    _writer: OwnedFd,
}

static ENDS: OnceLock<Ends> = OnceLock::new();

/// From now on children are reaped.
///
/// # Errors
/// When there is no pipe to be had, or the signal can't be caught.
pub(crate) fn begin() -> Result<(), OsError> {
    if ENDS.get().is_some() {
        return Ok(());
    }
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .map_err(|errno| OsError::new("make a pipe for the scripts' ends", errno))?;
    WAKE.store(writer.as_raw_fd(), Ordering::SeqCst);
    let _ = ENDS.set(Ends { reader, _writer: writer });
    let action =
        SigAction::new(SigHandler::Handler(on_child), SaFlags::SA_RESTART | SaFlags::SA_NOCLDSTOP, SigSet::empty());
    // SAFETY: the handler makes system calls and sets atomics only, and leaves errno as it was.
    unsafe { sigaction(Signal::SIGCHLD, &action) }
        .map_err(|errno| OsError::new("catch SIGCHLD to reap what scripts started", errno))?;
    // Those that ended before.
    reap();
    Ok(())
}

/// Becomes readable when a child has ended.
pub(crate) fn readable() -> Option<BorrowedFd<'static>> {
    ENDS.get().map(|ends| ends.reader.as_fd())
}

/// Empties the pipe.
pub(crate) fn heard() {
    let mut bytes = [0; 64];
    while let Some(ends) = ENDS.get()
        && matches!(read(&ends.reader, &mut bytes), Ok(count) if count > 0)
    {}
}

extern "C" fn on_child(_: libc::c_int) {
    let errno = Errno::last_raw();
    reap();
    let fd = WAKE.load(Ordering::SeqCst);
    if fd >= 0 {
        // SAFETY: a valid byte. A full pipe is readable already.
        unsafe { libc::write(fd, b"c".as_ptr().cast(), 1) };
    }
    Errno::set_raw(errno);
}

fn reap() {
    loop {
        let mut status = 0;
        // SAFETY: a number of our own. WNOHANG: it does not wait.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        // None is dead, or there is none.
        if pid <= 0 {
            return;
        }
        if let Some(entry) = TABLE.iter().find(|entry| entry.pid.load(Ordering::SeqCst) == pid) {
            entry.status.store(status, Ordering::SeqCst);
        }
    }
}

/// While it lives, no child is reaped: a number that was looked up still is that process's.
pub(crate) struct Quiet {
    before: SigSet,
}

impl Quiet {
    pub(crate) fn begin() -> Self {
        let mut child = SigSet::empty();
        child.add(Signal::SIGCHLD);
        // It fails for a wrong argument only.
        Self { before: child.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap_or(SigSet::empty()) }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// A script's process.
pub(crate) struct Script {
    entry: &'static Entry,
    pid: Pid,
}

impl Script {
    /// Enters a child that was forked while `quiet` lived. None: the table is full, which the number of scripts that run at once excludes.
    pub(crate) fn enter(pid: Pid, _quiet: &Quiet) -> Option<Self> {
        let entry = TABLE.iter().find(|entry| entry.pid.load(Ordering::SeqCst) == FREE)?;
        entry.status.store(RUNS, Ordering::SeqCst);
        entry.pid.store(pid.as_raw(), Ordering::SeqCst);
        Some(Self { entry, pid })
    }

    /// Its number: that of its process group and session, too.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<WaitStatus> {
        let status = self.entry.status.load(Ordering::SeqCst);
        if status == RUNS {
            return None;
        }
        // What no version of the system has is no success either.
        Some(WaitStatus::from_raw(self.pid, status).unwrap_or(WaitStatus::Exited(self.pid, i32::MAX)))
    }

    /// Sends a signal to its process group, if it has not ended.
    pub(crate) fn signal_group(&self, signal: Signal) {
        let _quiet = Quiet::begin();
        if self.ended().is_none() && killpg(self.pid, signal).is_err() {
            // It has not begun its session yet.
            let _ = kill(self.pid, signal);
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.entry.pid.store(FREE, Ordering::SeqCst);
    }
}
