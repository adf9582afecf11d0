//! The fault itself, brought about from outside or by an order to the actor at its gate.

use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_stories::Signal;

use super::{Hold, Play};
use crate::guest::{SOON, stretched};
use crate::inject::processes::{comes_true, is_alive, is_stopped, signal};
use crate::inject::sockets;
use crate::matrix::{Fault, Step, Subject};

/// How long "slow" is.
const SLOW: Duration = Duration::from_millis(300);
/// What a crash ends with. Not SIGSEGV: Rust's handler, which looks for an overflow of the stack, outlives the first one that was only sent.
const CRASH: Signal = Signal::SIGABRT;

impl Play<'_> {
    /// A host that hangs in the kernel does so until the host of the machine has its answer.
    pub(super) fn kernel_keeps_hanging(&self) -> bool {
        self.cell.fault == Fault::Hang && matches!(self.hold, Hold::Kernel(..))
    }

    /// What the step's own actor is ordered to do, when the fault is one that it brings about itself.
    pub(super) fn order(&self, step: Step) -> Option<&'static str> {
        let its_own = match self.cell.subject {
            Subject::Script => step.is_hooks(),
            Subject::Vendor => step.is_vendors(),
            Subject::Application => step.is_applications(),
            _ => false,
        };
        let by_order =
            matches!(self.cell.fault, Fault::Exit | Fault::Hang | Fault::Slow | Fault::Garbage | Fault::ClosedSocket);
        (its_own && by_order).then(|| self.cell.fault.name())
    }

    fn subject(&self) -> Result<i32, String> {
        match self.cell.subject {
            Subject::Daemon => Ok(self.bench.guest.daemon().pid()),
            Subject::Ufs => self.host("ufs.so"),
            Subject::ZfsVeto => self.host("zfs_veto.so"),
            Subject::ExecHook => self.host("exec_hook.so"),
            Subject::Vendor => self.host("vendor.so"),
            Subject::Script => {
                let pid = self.cell.moment.step().and_then(|step| self.worker(step));
                pid.ok_or_else(|| "no script runs".to_owned())
            }
            Subject::Application => self.bench.application().ok_or_else(|| "no application is there".to_owned()),
        }
    }

    /// The fault. `order`: what brings it about is told to the actor at its gate, so there is nothing to be done here.
    pub(super) fn strike(&mut self, order: Option<&str>) -> Result<(), String> {
        self.facts.struck = clock::now();
        if order.is_some() || self.kernel_keeps_hanging() {
            return Ok(());
        }
        let pid = self.subject()?;
        let sent = |signal_: Signal| {
            if signal(pid, signal_) { Ok(()) } else { Err(format!("process {pid} is gone before it is struck")) }
        };
        match self.cell.fault {
            Fault::Kill | Fault::Crash => {
                self.facts.doomed = Some(pid);
                sent(if self.cell.fault == Fault::Kill { Signal::SIGKILL } else { CRASH })
            }
            Fault::Stop => {
                sent(Signal::SIGSTOP)?;
                self.facts.stopped.push(pid);
                Ok(())
            }
            Fault::Slow if matches!(self.hold, Hold::Kernel(..)) && self.cell.subject == Subject::Ufs => {
                // It waits in the kernel, where it can't even be stopped: the kernel is slow.
                std::thread::sleep(stretched(SLOW));
                self.lift();
                Ok(())
            }
            Fault::Slow => {
                stop(pid)?;
                self.lift();
                std::thread::sleep(stretched(SLOW));
                sent(Signal::SIGCONT)
            }
            Fault::Exit => sent(Signal::SIGTERM),
            Fault::Hang => Err("there is no way to make it hang".to_owned()),
            Fault::Garbage => self.says_garbage(pid),
            Fault::ClosedSocket => self.closes_its_socket(pid),
        }
    }

    fn says_garbage(&self, pid: i32) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("garbage can't be said: {error}");
        match self.cell.subject {
            Subject::Application => {
                signal(pid, Signal::SIGUSR1);
                Ok(())
            }
            Subject::Daemon => self
                .bench
                .hosts()
                .iter()
                .try_for_each(|(_, host)| sockets::daemon_says_garbage(pid, *host))
                .map_err(failed),
            _ => sockets::worker_says_garbage(pid).map_err(failed),
        }
    }

    fn closes_its_socket(&self, pid: i32) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("a socket can't be closed: {error}");
        match self.cell.subject {
            Subject::Application => {
                signal(pid, Signal::SIGUSR2);
                Ok(())
            }
            Subject::Daemon => {
                self.bench.hosts().iter().try_for_each(|(_, host)| sockets::is_shut(*host)).map_err(failed)
            }
            _ => sockets::is_shut(pid).map_err(failed),
        }
    }
}

/// Stops a process, and waits until it is.
pub(super) fn stop(pid: i32) -> Result<(), String> {
    signal(pid, Signal::SIGSTOP);
    let stopped = comes_true(SOON, || is_stopped(pid) || !is_alive(pid));
    if stopped && is_alive(pid) { Ok(()) } else { Err(format!("process {pid} can't be stopped")) }
}
