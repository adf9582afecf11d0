//! What the tests of the packaging share: the source tree, commands that have to succeed, directories of their own, and a piece of FreeBSD to
//! run the rc.d script on.
//!
//! The tests use Debian's make, bmake, mandoc and shellcheck, and stand-ins for FreeBSD's own programs, so they run on Linux only.

pub mod config;
#[cfg(target_os = "linux")]
mod freebsd;
mod ground;
mod tree;

#[cfg(target_os = "linux")]
pub use freebsd::FreeBsd;
pub use ground::{Directory, Ran, eventually, run, source};
pub use tree::{Entry, tree};
