//! Processes of the guest: started so that none outlives its test, and found again in /proc.
#![allow(unsafe_code)] // One line runs between fork and exec.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hv_vss_testbed::built;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starts a process that gets `signal` should this test die without cleaning up.
///
/// # Panics
/// When it can't be started.
pub fn start(command: &mut Command, signal: Signal) -> Child {
    // SAFETY: prctl is all that runs in the child before exec, and it is async-signal-safe.
    unsafe { command.pre_exec(move || Ok(nix::sys::prctl::set_pdeathsig(signal)?)) };
    command.spawn().unwrap_or_else(|error| panic!("can't start {command:?}: {error}"))
}

/// A process that opens nodes and uses them as it is told (hv-vss-sim-process): an application, say.
pub struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(dev: &Path) -> Self {
        Self::of(&built("hv-vss-sim-process"), dev)
    }

    /// From a copy of the program, which gives it another name.
    pub(crate) fn of(program: &Path, dev: &Path) -> Self {
        let mut command = Command::new(program);
        command.current_dir(dev).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = start(&mut command, Signal::SIGKILL);
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, orders, answers }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it an order and returns its answer.
    ///
    /// # Panics
    /// When it is gone.
    pub fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("it listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    /// Claims that this order is answered so.
    ///
    /// # Panics
    /// When it is answered otherwise.
    #[track_caller]
    pub fn says(&mut self, order: &str, answer: &str) {
        assert_eq!(self.ask(order), answer, "to \"{order}\"");
    }

    /// Waits for a request and reads it: its `opt` and `msgid`.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn takes_a_request(&mut self, fd: u32) -> (u32, u64) {
        self.says(&format!("poll {fd} 5000"), "in");
        let said = self.ask(&format!("read {fd}"));
        let words: Vec<&str> = said.split(' ').collect();
        match words[..] {
            ["message", opt, "0", msgid] => (opt.parse().expect("opt"), msgid.parse().expect("msgid")),
            _ => panic!("a request was expected, not \"{said}\""),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The children of a process, with what they were started as.
#[must_use]
pub fn children(of: i32) -> Vec<(i32, String)> {
    let threads = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let children: String =
        threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default()).collect();
    let command = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(|pid| (pid, command(pid))).collect()
}

/// The state letter of a process, as ps(1) shows it; none: it is gone.
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Ends every process in this thread's mount namespace but our own. The namespace is the test's, so they are all of its making: a script's
/// background child, too.
pub(crate) fn end_all_in_this_namespace() {
    let namespace = |process: &str| fs::metadata(format!("/proc/{process}/ns/mnt")).map(|about| about.ino()).ok();
    let Some(ours) = namespace("thread-self") else { return };
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    if namespace("1") == Some(ours) {
        return;
    }
    for pid in all().filter(|pid| *pid != me && namespace(&pid.to_string()) == Some(ours)) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
}
