//! The last resort: a process that thaws every disk of the benchmark when that is gone, however it went. On Linux a freeze outlives whoever asked
//! for it, and a disk that stays frozen keeps its writers blocked, against which not even SIGKILL helps.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::bare;

/// The process. It looks after the disks until this is dropped.
pub(crate) struct Guard(Child);

impl Guard {
    /// Over these directories.
    pub(crate) fn over<'a>(disks: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("every process has a program"));
        command.arg("guard").args(disks).stdin(Stdio::piped()).current_dir("/");
        Self(command.spawn().unwrap_or_else(|error| panic!("can't start {command:?}: {error}")))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What `hv-vss-bench guard DIRECTORY ...` does: nothing until the other end of its standard input is closed.
pub(crate) fn watch(disks: &[PathBuf]) {
    let _ = std::io::stdin().read(&mut [0]);
    // All at once: the thaw of one may wait for another.
    std::thread::scope(|scope| disks.iter().for_each(|disk| drop(scope.spawn(|| bare::thaw(disk)))));
}
