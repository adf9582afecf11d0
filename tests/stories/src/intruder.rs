//! Somebody on this machine who is not root and would like to be: real processes of an unprivileged user, beside the daemon.
//!
//! Whatever an intruder gets run leaves a proof where only root can put one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::patience::wait_for;
use crate::process;
use crate::stage::Stage;

/// The user and the group `nobody` of Debian and of FreeBSD alike.
const NOBODY: u32 = 65534;

/// An intruder and what belongs to them.
pub struct Intruder {
    home: PathBuf,
    proof: PathBuf,
    busy: Vec<Child>,
}

impl Intruder {
    /// An intruder with a directory of their own on this stage.
    ///
    /// # Panics
    /// When the directories can't be made.
    #[must_use]
    #[track_caller]
    pub fn on(stage: &Stage) -> Self {
        let home = stage.scratch("intruder");
        let vault = stage.scratch("vault");
        for directory in [&home, &vault] {
            fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        }
        fs::set_permissions(&vault, fs::Permissions::from_mode(0o700)).expect("it is ours");
        let intruder = Self { home, proof: vault.join("proof"), busy: Vec::new() };
        intruder.is_given(&intruder.home);
        intruder
    }

    /// Their directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Makes a file or directory theirs.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn is_given(&self, path: &Path) {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// A shell script that proves that root has run it.
    #[must_use]
    pub fn payload(&self) -> String {
        format!("#!/bin/sh\n: > {}\nexit 0\n", self.proof.display())
    }

    /// Writes the payload into a file of theirs.
    ///
    /// # Panics
    /// When it can't be written.
    #[track_caller]
    pub fn prepares(&self, name: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::create_dir_all(path.parent().expect("below their home")).expect("it can be made");
        fs::write(&path, self.payload()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is there");
        for made in path.ancestors().take_while(|made| *made != self.home) {
            self.is_given(made);
        }
        path
    }

    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        // std drops root's other groups, too, when it becomes another user.
        shell.args(["-c", script]).uid(NOBODY).gid(NOBODY).current_dir(&self.home).env_clear();
        shell.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null()).process_group(0);
        shell
    }

    /// Has them run a script to its end: whether it succeeded, and what it said.
    ///
    /// # Panics
    /// When there is no shell.
    #[track_caller]
    pub fn tries(&self, script: &str) -> (bool, String) {
        let output = self.shell(script).output().expect("there is a shell");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), said)
    }

    /// Claims that they can't do any of this, one script each.
    ///
    /// # Panics
    /// When one succeeds.
    #[track_caller]
    pub fn can_not(&self, scripts: &[String]) {
        for script in scripts {
            let (done, said) = self.tries(script);
            assert!(!done, "this was possible: {script}\n{said}");
        }
    }

    /// From now on they do this over and over, until the story ends.
    ///
    /// # Panics
    /// When there is no shell.
    #[track_caller]
    pub fn keeps_at_it(&mut self, script: &str) {
        let mut shell = self.shell(&format!("while :; do {script}\ndone"));
        self.busy.push(process::start(shell.stdout(Stdio::null()).stderr(Stdio::null()), Signal::SIGKILL));
    }

    /// Claims that nothing of theirs was run as root.
    ///
    /// # Panics
    /// When it was.
    #[track_caller]
    pub fn got_nothing_run(&self) {
        assert!(!self.proof.exists(), "the intruder's payload was run as root");
    }

    /// Claims the opposite: for a story that shows that the payload would have worked. The proof is removed.
    ///
    /// # Panics
    /// When it was not run, and is not in a moment: a plugin's process may have been started only just now.
    #[track_caller]
    pub fn got_it_run(&self) {
        wait_for("the payload to be run", || fs::remove_file(&self.proof).is_ok());
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        for child in &mut self.busy {
            let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
            let _ = killpg(group, Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}
