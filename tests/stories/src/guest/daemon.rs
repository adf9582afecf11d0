//! The daemon under test: started in the foreground with its log on a pipe, which is read all the time.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process;
use crate::stage::Stage;

/// How long a story waits for something that should come at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often something is looked at that can't be waited for.
const PACE: Duration = Duration::from_millis(5);

/// A running daemon.
pub struct Daemon {
    child: Child,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
    deaf: Arc<AtomicBool>,
}

impl Daemon {
    pub(crate) fn start<'a>(stage: &Stage, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut command = Command::new(stage.program("hv_vss_daemon"));
        command.args(["-n", "--log", "stderr", "--config"]).arg(stage.configuration()).args(arguments);
        Self::run(&mut command)
    }

    /// From a shell that runs `script`, which is to end in `exec "$@"`.
    pub(crate) fn start_by(stage: &Stage, script: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).arg(stage.program("hv_vss_daemon"));
        Self::run(command.args(["-n", "--log", "stderr", "--config"]).arg(stage.configuration()))
    }

    pub(crate) fn run(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).current_dir("/");
        let mut child = process::start(command, Signal::SIGKILL);
        let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (kept, stderr) = (Arc::clone(&log), child.stderr.take().expect("piped"));
        let deaf = Arc::new(AtomicBool::new(false));
        let stops_reading = Arc::clone(&deaf);
        // Ends when the last one who has the pipe open is gone.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                kept.1.notify_all();
                while stops_reading.load(Ordering::Relaxed) {
                    std::thread::sleep(PACE);
                }
            }
        });
        Self { child, log, deaf }
    }

    /// From now on nobody reads its log; the pipe fills up.
    pub fn falls_on_deaf_ears(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap_or_else(|errno| panic!("can't signal the daemon: {errno}"));
    }

    /// Ends it, if it is still there, and does not wait.
    pub(crate) fn kill(&self) {
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGKILL);
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Claims that it logs, or has logged, a line with all of these words.
    ///
    /// # Panics
    /// When it doesn't in time.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let found = lines.iter().find(|line| words.iter().all(|word| line.contains(word)));
            if let Some(line) = found {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let said = lines.join("\n");
                drop(lines);
                panic!("the daemon never said {words:?}; what it said:\n{said}");
            }
            lines = self.log.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until it is ready, or has ended: with what it ended, then.
    ///
    /// # Panics
    /// When neither comes.
    #[track_caller]
    pub fn gets_ready_or_ends(&mut self) -> Option<Option<i32>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(exit_of(status));
            }
            if self.log().iter().any(|line| line.contains("ready:")) {
                return None;
            }
            assert!(Instant::now() < deadline, "neither ready nor ended; it said: {:?}", self.log());
            std::thread::sleep(PACE);
        }
    }

    #[track_caller]
    pub(crate) fn gets_ready(&self) {
        self.says(&["ready:"]);
    }

    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return exit_of(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => panic!("the daemon did not end"),
                Err(error) => panic!("can't wait for the daemon: {error}"),
            }
        }
    }

    pub(crate) fn is_gone(&mut self) {
        let _ = self.child.wait();
    }
}

/// None: ended by a signal.
fn exit_of(status: ExitStatus) -> Option<i32> {
    status.signal().is_none().then(|| status.code()).flatten()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.deaf.store(false, Ordering::Relaxed);
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
