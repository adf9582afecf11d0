//! The driver's node, and what the driver demands of its reader.
//!
//! - A second open gets *minus* EBUSY, which no table of errors has.
//! - Offset 0 only, and never more than a message: the driver copies a byte beyond its own buffer
//!   for who asks for more.
//! - read(2) can't be interrupted, and poll(2) says readable until the answer is written. So it is
//!   read once for each answer, and not polled in between.
//! - A daemon that died may have left a count in the driver's semaphore: read(2) then does not wait
//!   for the message that poll(2) has announced. A pause before it lets the message arrive.
//! - A message is answered by exactly one write, whatever that returns: the driver has taken the
//!   answer before it returns an error, and a second one would meet a host message that is gone.
//! - The process that opens is the one that the driver signals when it detaches. So it is opened by
//!   the process that stays, after the way into the background.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use hv_vss_kvp_core::protocol::{Message, SIZE};
use nix::libc;

/// Between the announcement of a message and its read.
const ARRIVES: Duration = Duration::from_millis(1);

/// The open node.
#[derive(Debug)]
pub struct Node {
    file: File,
    path: PathBuf,
}

/// Why the node can't be opened or used.
#[derive(Debug)]
pub enum NodeError {
    /// Another process has it open.
    Busy(PathBuf),
    /// There is no such node.
    Missing(PathBuf, io::Error),
    /// This user may not open it.
    Denied(PathBuf, io::Error),
    /// Anything else: what was being done.
    System(&'static str, PathBuf, io::Error),
}

impl Node {
    /// Opens it, close-on-exec: an inherited copy would keep a dead daemon registered.
    ///
    /// # Errors
    /// As [`NodeError`] says.
    pub fn open(path: &Path) -> Result<Self, NodeError> {
        let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path);
        opened.map(|file| Self { file, path: path.into() }).map_err(|error| NodeError::of(path, error))
    }

    /// Tells the driver that a daemon is there. Once, and before anything else is written.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn register(&self) -> Result<(), NodeError> {
        let written = self.file.write_at(Message::register().bytes(), 0);
        written.map(drop).map_err(|error| NodeError::System("register with", self.path.clone(), error))
    }

    /// Reads the message that poll(2) has announced.
    ///
    /// # Errors
    /// When the driver refuses, or what it has is no message.
    pub fn read(&self) -> Result<Message, NodeError> {
        sleep(ARRIVES);
        let mut bytes = [0; SIZE];
        let cannot = |error| NodeError::System("read a request from", self.path.clone(), error);
        let read = self.file.read_at(&mut bytes, 0).map_err(cannot)?;
        let cut = || cannot(io::Error::other(format!("it has {read} bytes in place of {SIZE}")));
        Message::of(&bytes[..read]).ok_or_else(cut)
    }

    /// Answers the message that was read. The answer has reached the driver even where this is an
    /// error, unless the node is gone.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn answer(&self, message: &Message) -> io::Result<()> {
        self.file.write_at(message.bytes(), 0).map(drop)
    }
}

impl Node {
    /// Its path, for sentences.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl NodeError {
    fn of(path: &Path, error: io::Error) -> Self {
        match error.raw_os_error() {
            // Negative: the driver's own sign before EBUSY.
            Some(number) if number < 0 || number == libc::EBUSY => Self::Busy(path.into()),
            Some(libc::ENOENT | libc::ENXIO) => Self::Missing(path.into(), error),
            Some(libc::EACCES | libc::EPERM) => Self::Denied(path.into(), error),
            _ => Self::System("open", path.into(), error),
        }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(path) => write!(
                f,
                "can't open {}: another process has it open, most likely another hv_kvp_daemon: stop it first \
                 (FreeBSD's own by `pkill -x hv_kvp_daemon`)",
                path.display()
            ),
            Self::Missing(path, error) => write!(
                f,
                "can't open {}: {error}; either this machine does not run on Hyper-V, or Data Exchange is off in \
                 its settings, or its driver is disabled (hint.hvkvp.0.disabled)",
                path.display()
            ),
            Self::Denied(path, error) => {
                write!(f, "can't open {}: {error}; only root may serve this device", path.display())
            }
            Self::System(doing, path, error) => write!(f, "can't {doing} {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for NodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Busy(_) => None,
            Self::Missing(_, error) | Self::Denied(_, error) | Self::System(_, _, error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second open returns a negative errno, with FreeBSD's driver.
    #[test]
    fn a_node_that_another_process_has_is_busy_with_either_sign() {
        for number in [libc::EBUSY, -libc::EBUSY] {
            let error = NodeError::of(Path::new("/dev/hv_kvp_dev"), io::Error::from_raw_os_error(number));
            assert!(matches!(error, NodeError::Busy(_)), "{error}");
        }
    }

    #[test]
    fn a_node_that_is_not_there_is_explained() {
        let error = Node::open(Path::new("/nonexistent/hv_kvp_dev")).unwrap_err();
        assert!(matches!(error, NodeError::Missing(..)), "{error}");
        assert!(error.to_string().contains("Data Exchange"), "{error}");
    }

    /// No O_CLOEXEC, in FreeBSD's hv_kvp_daemon.
    #[test]
    fn no_child_inherits_the_node() {
        let node = Node::open(Path::new("/dev/null")).unwrap();
        let flags = nix::fcntl::fcntl(&node, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        // What is no message is not taken for one.
        assert!(node.read().unwrap_err().to_string().contains("0 bytes in place of 7430"));
    }
}
