//! A disk that can be frozen: an ext4 image on a tmpfs, in a mount namespace of this thread's own, so that no other mount of the machine is
//! ever touched. A process at its side thaws it when this one ends, however it ends.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(unreachable_pub, reason = "this is a module of each test program")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};

/// The disk, mounted at `data`.
pub struct Disk {
    pub data: PathBuf,
    memory: PathBuf,
    guard: Child,
    mounted: Vec<PathBuf>,
}

impl Disk {
    /// Makes the disk below `ground`. What this thread starts from now on sees it; nobody else does.
    #[track_caller]
    pub fn new(ground: &Path) -> Self {
        let memory = ground.join("memory");
        fs::create_dir(&memory).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", &text(&memory)]);
        let (image, data) = (memory.join("image"), memory.join("data"));
        fs::create_dir(&data).unwrap();
        run("truncate", &["-s", "400M", &text(&image)]);
        run("mkfs.ext4", &["-q", &text(&image)]);
        run("mount", &["-o", "loop", &text(&image), &text(&data)]);
        let guard = Command::new("sh")
            .args(["-c", "cat >/dev/null; fsfreeze -u \"$0\" 2>/dev/null", &text(&data)])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self { mounted: vec![memory.clone(), data.clone()], data, memory, guard }
    }

    /// A file beside the disk: in memory, and not frozen.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.memory.join(name)
    }

    #[track_caller]
    pub fn freeze(&self) {
        run("fsfreeze", &["-f", &text(&self.data)]);
    }

    #[track_caller]
    pub fn thaw(&self) {
        run("fsfreeze", &["-u", &text(&self.data)]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        for mount in self.mounted.iter().rev() {
            // What still uses it ends with the namespace.
            let _ = Command::new("umount").args(["-l", &text(mount)]).status();
        }
    }
}

/// A mount namespace for this thread, and for all it starts from now on.
#[track_caller]
pub fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    run("mount", &["--make-rprivate", "/"]);
}

/// Runs a command that must succeed, and gives what it said.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}
