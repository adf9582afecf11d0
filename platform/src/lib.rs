//! What the operating system has to tell or do, one question a folder.
//!
//! Where FreeBSD and Linux differ, the folder holds `freebsd.rs` and `linux.rs` side by side behind one named function, so that a reader can
//! say from the tree alone which lines only FreeBSD runs. Nothing here knows of cycles, plugins or the host.

pub mod boot;
pub mod clock;
pub mod descriptors;
pub mod dirty;
pub mod driver;
mod error;
pub mod flush;
pub mod limits;
pub mod mapped;
pub mod memory;
pub mod mounts;
pub mod network;
pub mod noexec;
pub mod peer;
pub mod priority;
pub mod process;
pub mod reaper;
#[cfg(target_os = "freebsd")]
mod sysctl_freebsd;
pub mod syslog;
pub mod threads;
pub mod title;
pub mod ufssuspend;
pub mod vfsfreeze;
pub mod vnodes;

pub use error::{OsError, Result};
