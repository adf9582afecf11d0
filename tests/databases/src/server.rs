//! A database server: started as its own user, its log in a file beside the disk, and gone when the test is, however that ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::PACE;

/// Longer than an immediate shutdown takes; what doesn't end by then waits for a frozen disk.
const DYING: Duration = Duration::from_secs(5);

/// A running server.
pub struct Server {
    child: Child,
    log: PathBuf,
    last_word: Signal,
}

impl Server {
    /// Starts it as `user`; `last_word` is the signal that ends it at once, without tidying its data.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub(crate) fn start(user: &str, words: &[String], log: &Path, last_word: Signal) -> Self {
        let mut command = as_user(user);
        let file = File::create(log).unwrap_or_else(|error| panic!("can't make {}: {error}", log.display()));
        let both = file.try_clone().unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.args(words).stdin(Stdio::null()).stdout(both).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("can't start {words:?}: {error}"));
        Self { child, log: log.to_owned(), last_word }
    }

    /// Claims that it comes to say so in its log.
    ///
    /// # Panics
    /// When it ends instead, or takes too long.
    #[track_caller]
    pub fn says(&mut self, words: &str) {
        self.comes_to_say(words).unwrap_or_else(|why| panic!("{why}"));
    }

    /// Waits until it says so; else why it doesn't.
    ///
    /// # Errors
    /// When it ends instead, or takes too long.
    pub fn comes_to_say(&mut self, words: &str) -> Result<(), String> {
        let deadline = Instant::now() + crate::SOON;
        while !self.said().contains(words) {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if let Some(status) = ended {
                return Err(format!("the server has ended with {status}, without \"{words}\":\n{}", self.said()));
            }
            if Instant::now() > deadline {
                return Err(format!("the server never says \"{words}\":\n{}", self.said()));
            }
            std::thread::sleep(PACE);
        }
        Ok(())
    }

    /// Its log so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(self.pid(), self.last_word);
        let deadline = Instant::now() + DYING;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(PACE);
        }
        // Whatever is left then is stuck on a frozen disk; the guest thaws it, and ends it.
        let _ = self.child.kill();
    }
}

/// What comes now runs as this user, and ends when this thread does.
pub(crate) fn as_user(user: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups", "--pdeathsig=KILL"]);
    command.current_dir("/");
    command
}
