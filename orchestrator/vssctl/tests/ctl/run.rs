//! Running vssctl in a directory of its own, and claiming things of what it said.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory with a configuration and, perhaps, a socket.
pub(crate) struct Home {
    directory: PathBuf,
}

/// What a run of vssctl came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("hv_vss-ctl-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("plugins")).unwrap();
        let home = Self { directory };
        home.writes_config("");
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("config")
    }

    /// A configuration whose paths are all in here, with these lines before.
    pub(crate) fn writes_config(&self, lines: &str) {
        let directory = self.directory.display();
        let text = format!("{lines}[paths]\ncontrol = \"{directory}/sock\"\nplugins = \"{directory}/plugins\"\n");
        fs::write(self.config(), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(vssctl());
        command.arg("--config").arg(self.config()).args(arguments).stdin(Stdio::null());
        command.env_remove("COLUMNS").env("LANG", "C.UTF-8").env_remove("LC_ALL");
        command
    }

    pub(crate) fn vssctl(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// As a user without any rights, where we have the right to become one.
    pub(crate) fn vssctl_as_nobody(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(self.readable_copy());
        command.arg("--socket").arg(self.socket()).args(arguments).stdin(Stdio::null()).uid(65_534).gid(65_534);
        Ran::from(command.output().unwrap())
    }

    /// The program where everybody may run it: build directories often are one user's alone.
    fn readable_copy(&self) -> PathBuf {
        let copy = self.path("vssctl");
        fs::copy(vssctl(), &copy).unwrap();
        copy
    }

    /// With nobody left to read what it prints.
    pub(crate) fn vssctl_into_a_closed_pipe(&self, arguments: &[&str]) -> Ran {
        let mut child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        Ran::from(child.wait_with_output().unwrap())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> &Self {
        assert!(flat(&self.stdout).contains(&flat(words)), "\"{words}\" in {}", self.stdout);
        self
    }

    #[track_caller]
    pub(crate) fn complains(&self, words: &str) -> &Self {
        assert!(flat(&self.stderr).contains(&flat(words)), "\"{words}\" in {}", self.stderr);
        self
    }
}

/// Where lines are broken does not matter.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The program beside the directory of this test, wherever both were carried to.
fn vssctl() -> PathBuf {
    // target/PROFILE/deps/this-test
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("vssctl")
}

/// The top of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
