//! Gates: FIFOs at which scripts, plugins and the application wait for an order. Where there is no gate they go on at once.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// So many may come to one gate: its first visitor, and those who are started in its place.
const VISITORS: usize = 16;

/// One gate. Dropped, it is open.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    /// Keeps a reader from seeing the end before it has read.
    open: Option<File>,
}

impl Gate {
    /// Closes the way of this name.
    ///
    /// # Panics
    /// When the FIFO can't be made.
    #[must_use]
    pub fn close(directory: &Path, name: &str) -> Self {
        let path = directory.join("gates").join(name);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
            .unwrap_or_else(|errno| panic!("can't make the gate {}: {errno}", path.display()));
        Self { path, open: None }
    }

    /// The first who waits gets this order; whoever comes after goes on.
    pub fn open_with(&mut self, order: &str) {
        if self.open.is_some() {
            return;
        }
        // For both, so that it opens without a reader, too.
        let opened = OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(&self.path);
        if let Ok(mut gate) = opened {
            let text = format!("{order}\n{}", "go\n".repeat(VISITORS));
            let _ = gate.write_all(text.as_bytes());
            self.open = Some(gate);
        }
        // Whoever has opened it already reads; whoever comes now finds no gate.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open_with("go");
    }
}
