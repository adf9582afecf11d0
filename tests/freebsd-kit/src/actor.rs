//! A process that does one thing which may block, and is watched from outside: what it says on its stdout, and whether it has ended.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thing that should happen may take, on a slow emulated machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long something must have shown no sign of life to count as blocked.
pub(crate) const BLOCKED: Duration = Duration::from_millis(1500);

/// A running act.
pub(crate) struct Actor {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Actor {
    /// Starts this program again, for one of its `acts`.
    pub(crate) fn start(act: &str, arguments: &[&str]) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
        Self::spawn(Command::new(program).arg("act").arg(act).args(arguments))
    }

    /// Starts any command.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("can't start {command:?}: {error}"))?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Ok(Self { stdin: child.stdin.take(), child, lines })
    }

    /// Watches a child that somebody started without a stdout to us.
    pub(crate) fn from_child(child: std::io::Result<Child>) -> Result<Self, String> {
        let child = child.map_err(|error| format!("can't start: {error}"))?;
        Ok(Self { child, stdin: None, lines: mpsc::channel().1 })
    }

    /// Gives it a line to act upon.
    pub(crate) fn tell(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = writeln!(stdin, "{line}");
        }
    }

    /// What it says next, if it says something within the limit.
    pub(crate) fn hears(&self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }

    /// It says exactly this, within the usual patience.
    pub(crate) fn says(&self, line: &str) -> Result<(), String> {
        match self.hears(PATIENCE) {
            Some(said) if said == line => Ok(()),
            Some(said) => Err(format!("expected \"{line}\", it said \"{said}\"")),
            None => Err(format!("expected \"{line}\", it said nothing for {} s", PATIENCE.as_secs())),
        }
    }

    /// It says nothing: it is blocked.
    pub(crate) fn says_nothing(&self) -> Result<(), String> {
        match self.hears(BLOCKED) {
            None => Ok(()),
            Some(said) => Err(format!("it did not block, it said \"{said}\"")),
        }
    }

    /// It ends within the limit.
    pub(crate) fn ends(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
                Ok(status) => return status.is_some(),
                Err(_) => return false,
            }
        }
    }

    /// It ends within the usual patience.
    pub(crate) fn has_ended(&mut self) -> Result<(), String> {
        if self.ends(PATIENCE) { Ok(()) } else { Err(format!("it has not ended after {} s", PATIENCE.as_secs())) }
    }

    /// Sends SIGKILL, and does not wait.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Closes its stdin.
    pub(crate) fn let_go(&mut self) {
        self.stdin = None;
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
        // One that is blocked on a suspended filesystem is left behind; it ends when that is resumed.
        self.ends(Duration::from_millis(500));
    }
}
