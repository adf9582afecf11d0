//! A tracer that lists every system call of the daemon, its workers and whatever they start, for as long as it is attached: strace(1), whose
//! lines are read here and judged by [`judge()`].
//!
//! Linux would not block what FreeBSD blocks (facts of the platform: the close of a file that was only read, the exit of a program whose text lies
//! on the frozen disk). So what could wait there is not found by waiting, only by looking at each call.

mod call;
mod judge;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use call::{Call, Descriptor, read};
pub use judge::{Ground, Window, judge};

/// strace, attached.
pub struct Tracer {
    child: Child,
    output: PathBuf,
}

/// How long strace may take to attach, and to let go.
const PATIENCE: Duration = Duration::from_secs(20);

impl Tracer {
    /// Attaches to these processes with all their threads, and to every child they will have.
    ///
    /// # Panics
    /// When strace is not there or can't attach.
    #[must_use]
    pub fn attach(pids: &[i32], output: PathBuf) -> Self {
        let mut command = Command::new("strace");
        // Times with µs, descriptors with their paths, the time each call took; no contents of buffers.
        command.args(["-f", "-ttt", "-T", "-y", "-s", "0", "-o"]).arg(&output);
        for pid in pids {
            command.arg("-p").arg(pid.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = crate::process::start(&mut command, Signal::SIGINT);
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = Vec::new();
        // One line for each process, whose other threads are named in it.
        while said.len() < pids.len() {
            let line = lines.next().and_then(Result::ok);
            let line = line.unwrap_or_else(|| panic!("strace (package strace) can't attach to {pids:?}: {said:?}"));
            assert!(line.contains("attached"), "strace: {line}");
            said.push(line);
        }
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, output }
    }

    /// Lets go of the processes and gives every call they made meanwhile.
    ///
    /// # Panics
    /// When strace doesn't end, or says what can't be read.
    #[must_use]
    pub fn calls(mut self) -> Vec<Call> {
        let pid = i32::try_from(self.child.id()).unwrap_or(0);
        // Detaches and ends.
        let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            assert!(Instant::now() < deadline, "strace does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = fs::read(&self.output).unwrap_or_else(|error| panic!("strace left no output: {error}"));
        read(&String::from_utf8_lossy(&text))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Fails only when it has ended already. A tracer that is killed lets go of what it traced.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
