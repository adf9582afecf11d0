//! Flushing dirty data while writers still run, which is what makes the frozen time short. A process of its own does it: sync(2) can't be
//! interrupted, and must hold up neither us nor a plugin.

use super::{Engine, Event};
use crate::child::Process;
use crate::deadline::Deadline;
use crate::record::What;
use crate::sleep;

/// A host may CHECK every few seconds; the disks are not flushed as often.
const BETWEEN_BACKGROUND_FLUSHES: std::time::Duration = std::time::Duration::from_secs(60);

impl Engine {
    /// A flush that nobody waits for.
    pub(super) fn flush_beside(&mut self) {
        if let Some(mut child) = self.start_flush() {
            tokio::task::spawn_local(async move { child.wait().await });
        }
    }

    /// The same, but not more than once in a while.
    pub(super) fn flush_in_background(&mut self) {
        let now = self.clock.now();
        let recently = self.flushed_in_background.is_some_and(|at| at.until(now) < BETWEEN_BACKGROUND_FLUSHES);
        if !recently {
            self.flushed_in_background = Some(now);
            self.flush_beside();
        }
    }

    /// A flush that the freeze waits for, until `deadline`. What is not flushed by then the suspends have to do.
    pub(super) fn last_flush(&mut self, deadline: Deadline) {
        let (sender, serial) = (self.sender.clone(), self.serial);
        let now = self.clock.now();
        let mark = self.current.recorder.as_mut().map(|recorder| recorder.step(What::Flush, "all filesystems", now));
        self.current.flush = mark;
        let Some(mut child) = self.start_flush() else {
            let _ = sender.send(Event::Flushed(serial));
            return;
        };
        let clock = self.clock.clone();
        tokio::task::spawn_local(async move {
            let ended = tokio::select! {
                biased;
                _ = child.wait() => true,
                () = sleep::until(&clock, deadline.0) => false,
            };
            let _ = sender.send(Event::Flushed(serial));
            if !ended {
                // It may be stuck in sync(2) until the disk is done. It is reaped whenever it ends; nobody waits.
                child.kill();
                let _ = child.wait().await;
            }
        });
    }

    fn start_flush(&self) -> Option<Process> {
        let program = &self.config.paths.flush;
        match Process::flush(&self.programs, program) {
            Ok(child) => Some(child),
            Err(error) => {
                tracing::warn!(
                    "can't start {}, so the freeze itself has to write what is dirty: {error}",
                    program.display()
                );
                None
            }
        }
    }
}
