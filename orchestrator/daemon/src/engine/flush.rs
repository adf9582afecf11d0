//! Flushing dirty data while writers still run, which is what makes the frozen time short. A process of its own does it: sync(2) can't be
//! interrupted, and must hold up neither us nor a plugin.

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{Engine, Event};
use crate::child::Process;
use crate::sleep;
use hv_vss_core::deadline::Deadline;
use hv_vss_core::record::What;

/// A host may CHECK every few seconds; the disks are not flushed as often.
const BETWEEN_BACKGROUND_FLUSHES: std::time::Duration = std::time::Duration::from_secs(60);

/// A flush that nobody waits for yet.
pub(super) struct Beside {
    ended: oneshot::Receiver<()>,
    kill: oneshot::Sender<()>,
}

impl Engine {
    /// A flush beside the applications' steps.
    pub(super) fn flush_beside(&mut self) {
        self.flush_beside = self.start_flush().map(attended);
    }

    /// A flush that nobody will wait for, but not more than once in a while.
    pub(super) fn flush_in_background(&mut self) {
        let now = self.clock.now();
        let recently = self.flushed_in_background.is_some_and(|at| at.until(now) < BETWEEN_BACKGROUND_FLUSHES);
        if !recently {
            self.flushed_in_background = Some(now);
            self.start_flush().map(attended);
        }
    }

    /// A flush that the freeze waits for, until `deadline`: the one beside the applications, if it is still at work. What is not flushed by then the
    /// suspends have to do.
    pub(super) fn last_flush(&mut self, deadline: Deadline) {
        let (sender, serial) = (self.sender.clone(), self.serial);
        let now = self.clock.now();
        let mark = self.current.recorder.as_mut().map(|recorder| recorder.step(What::Flush, "all filesystems", now));
        self.current.flush = mark;
        let at_work = self.flush_beside.take().and_then(Beside::still_at_work);
        let Some(Beside { ended, kill }) = at_work.or_else(|| self.start_flush().map(attended)) else {
            let _ = sender.send(Event::Flushed(serial));
            return;
        };
        let clock = self.clock.clone();
        tokio::task::spawn_local(async move {
            tokio::select! {
                biased;
                _ = ended => {}
                () = sleep::until(&clock, deadline.0) => drop(kill.send(())),
            }
            let _ = sender.send(Event::Flushed(serial));
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

impl Beside {
    fn still_at_work(mut self) -> Option<Self> {
        (self.ended.try_recv() == Err(TryRecvError::Empty)).then_some(self)
    }
}

/// Sees to a flush until it has ended.
fn attended(mut child: Process) -> Beside {
    let ((done, ended), (kill, killed)) = (oneshot::channel(), oneshot::channel());
    tokio::task::spawn_local(async move {
        let told_to_end = async {
            match killed.await {
                Ok(()) => {}
                // Nobody cares how long it takes.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = child.wait() => {}
            () = told_to_end => {
                // It may be stuck in sync(2) until the disk is done. It is reaped whenever it ends; nobody waits.
                child.kill();
                let _ = child.wait().await;
            }
        }
        let _ = done.send(());
    });
    Beside { ended, kill }
}
