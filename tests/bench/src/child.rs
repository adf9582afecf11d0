//! A process that the benchmark started: it dies with the benchmark, and is ended by its number when it is dropped.
#![allow(unsafe_code)] // One line runs between fork and exec.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command};

use nix::sys::signal::Signal;

/// A running process.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Self {
        // SAFETY: prctl is all that runs in the child before exec, and it is async-signal-safe.
        unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let child = command.spawn().unwrap_or_else(|error| panic!("can't start {command:?}: {error}"));
        Self { child }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// Its standard input, which was piped.
    pub(crate) fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().expect("piped")
    }

    /// Its standard output, which was piped.
    pub(crate) fn stdout(&mut self) -> &mut ChildStdout {
        self.child.stdout.as_mut().expect("piped")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
