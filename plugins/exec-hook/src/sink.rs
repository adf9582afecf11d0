//! The other ends of the pipes that ended scripts have left to processes in the background.
//!
//! A service that a script started writes to its inherited stdout for as long as it lives. Without a reader its next line would end it by
//! SIGPIPE, or wait for room in the pipe. A thread reads these pipes and throws the output away, also while the plugin is not called.
//!
//! An application plugin may have threads. This one does nothing but poll(2) and read(2) on pipes, and no signal is delivered to it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use hv_vss_platform::OsError;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{pipe2, read, write};

use crate::output::{Pipe, drain};

/// Enough for a loop with one buffer on its stack.
const STACK: usize = 128 << 10;

/// The pipes, and the thread that reads them.
pub(crate) struct Sink {
    shared: Arc<Shared>,
    /// Its other end is the thread's: it ends when this one is closed.
    wake: OwnedFd,
    most: usize,
}

#[derive(Default)]
struct Shared {
    new: Mutex<Vec<OwnedFd>>,
    kept: AtomicUsize,
}

impl Sink {
    /// Starts the thread. It keeps `most` pipes.
    ///
    /// # Errors
    /// When there is no pipe or thread to be had.
    pub(crate) fn start(most: usize) -> Result<Self, OsError> {
        let (woken, wake) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|errno| OsError::new("make a pipe for the output of background processes", errno))?;
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        // A thread begins with the mask of the one that starts it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        let started = thread::Builder::new().stack_size(STACK).spawn(move || read_all(&its, &woken));
        if let Ok(before) = before {
            let _ = before.thread_set_mask();
        }
        started.map_err(|error| OsError::new("start a thread for the output of background processes", error))?;
        Ok(Self { shared, wake, most })
    }

    /// Takes over the end of a pipe. False: there are too many, and it was closed.
    pub(crate) fn keep(&self, end: OwnedFd) -> bool {
        if self.shared.kept.load(Ordering::SeqCst) >= self.most {
            return false;
        }
        self.shared.kept.fetch_add(1, Ordering::SeqCst);
        self.shared.new.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        // A full pipe wakes it, too.
        let _ = write(&self.wake, b"n");
        true
    }
}

fn read_all(shared: &Shared, woken: &OwnedFd) {
    let mut kept: Vec<OwnedFd> = Vec::new();
    loop {
        let mut polled = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
        polled.extend(kept.iter().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN)));
        if matches!(poll(&mut polled, PollTimeout::NONE), Err(errno) if errno != Errno::EINTR) {
            return;
        }
        drop(polled);
        let before = kept.len();
        kept.retain(|end| drain(end.as_fd(), &mut |_| {}) == Pipe::Open);
        shared.kept.fetch_sub(before - kept.len(), Ordering::SeqCst);
        let mut bytes = [0; 64];
        match read(woken, &mut bytes) {
            // The plugin is closed.
            Ok(0) => return,
            Ok(_) => kept.append(&mut shared.new.lock().unwrap_or_else(PoisonError::into_inner)),
            Err(_) => {}
        }
    }
}
