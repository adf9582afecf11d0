//! One test program, run to its end with its output in one piece.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hv_vss_testbed::RECORD;

/// What kind of program counts the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rust's own harness, once or, for documentation tests, once for each crate.
    Libtest,
    /// A module of kmod: its last line is `N passed, M failed`.
    Module,
}

/// A program to run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Its source, by which it is named.
    pub(crate) name: String,
    /// How to run it by itself, as words for a shell.
    pub(crate) command: String,
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) directory: PathBuf,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Whether nothing else may run meanwhile.
    pub(crate) alone: bool,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) kind: Kind,
    /// What it printed; error output in between.
    pub(crate) output: String,
    /// None if it succeeded, else how it ended.
    pub(crate) failure: Option<String>,
    /// What its tests declared, and which were skipped: the lines of its record.
    pub(crate) record: String,
    pub(crate) took: Duration,
}

impl Job {
    /// Runs it; `record` is a file for this job alone.
    pub(crate) fn run(&self, record: &Path) -> Ended {
        let began = Instant::now();
        let ran = self.output(record);
        let kept = std::fs::read_to_string(record).unwrap_or_default();
        // Not there if nothing was declared.
        let _ = std::fs::remove_file(record);
        let (output, failure) = ran.unwrap_or_else(|why| (String::new(), Some(why)));
        Ended {
            name: self.name.clone(),
            command: self.command.clone(),
            kind: self.kind,
            output,
            failure,
            record: kept,
            took: began.elapsed(),
        }
    }

    fn output(&self, record: &Path) -> Result<(String, Option<String>), String> {
        let failed = |error: std::io::Error| format!("{} can't be run: {error}", self.program.display());
        let (mut reader, writer) = std::io::pipe().map_err(failed)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.directory).env(RECORD, record);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        let mut child = command.spawn().map_err(failed)?;
        // The pipe's writing ends in this process close with it.
        drop(command);
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        let status = child.wait().map_err(failed)?;
        read.map_err(failed)?;
        let failure = (!status.success()).then(|| format!("it ended with {status}"));
        Ok((String::from_utf8_lossy(&bytes).into_owned(), failure))
    }
}
