//! The source tree, commands, directories, and waiting for something to become true.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The top of the source tree, or what is below it.
#[must_use]
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the source tree").join(path)
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub code: Option<i32>,
    /// Standard output, and then the error output.
    pub said: String,
}

impl Ran {
    /// It succeeded; gives what it said.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "most callers only claim that it succeeded")]
    pub fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self.said
    }

    /// It failed; gives what it said.
    #[track_caller]
    #[must_use]
    pub fn badly(self) -> String {
        assert_ne!(self.code, Some(0), "{}", self.said);
        self.said
    }
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (is its package installed?)"));
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    Ran { code: status.code(), said }
}

/// Waits until `claim` holds.
#[track_caller]
pub fn eventually(what: &str, mut claim: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !claim() {
        assert!(Instant::now() < end, "after 20 s it is still not so: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// A directory of a test's own, which goes when the test ends.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a directory on disk is no default")]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hv_vss-packaging-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it, with the directories on the way.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let file = self.0.join(path);
        std::fs::create_dir_all(file.parent().expect("a file in a directory")).expect("directories");
        std::fs::write(&file, text).expect("a file");
        file
    }

    /// Reads a file in it.
    #[track_caller]
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What can't be removed does no harm to anybody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
