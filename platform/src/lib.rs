//! What the operating system has to tell or do, one question a folder.
//!
//! Where FreeBSD and Linux differ, the folder holds `freebsd.rs` and `linux.rs` side by side behind one named function, so that a reader can
//! say from the tree alone which lines only FreeBSD runs. Nothing here knows of cycles, plugins or the host.

pub mod clock;
pub mod descriptors;
mod error;
pub mod mounts;
#[cfg(target_os = "freebsd")]
mod sysctl_freebsd;
pub mod threads;
pub mod ufssuspend;

pub use error::{OsError, Result};
