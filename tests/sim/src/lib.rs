//! A simulated Hyper-V machine: a scripted host, a VSS driver, and FreeBSD's `ufssuspend`, behind real device nodes.
//!
//! The nodes are files of a FUSE filesystem, so that the daemon's own open, poll and ioctl calls go through a real kernel. Behind the two VSS
//! nodes runs either the request core of our own kernel module (the very C file) or the behaviour of the driver in FreeBSD's base system
//! ([`Kind`]). `ufssuspend` keeps FreeBSD's rules, `vfsfreeze` those of our module; both freeze real ext4 filesystems.
//!
//! It is part of the tests only. What it never does: judge the daemon. Stories do that, from what the [`Host`] heard and what writers saw.

mod attributes;
mod control;
mod driver;
mod faults;
pub mod ground;
mod host;
pub mod ic;
mod iclog;
pub mod kvp;
mod machine;
mod nodes;
pub mod script;
mod serve;
mod suspend;
mod table;
pub mod vfsfreeze;

pub use attributes::attributes;
pub use control::{State, Switches};
pub use driver::{Kind, MESSAGE, READ, Standing, WRITE};
pub use faults::{Fault, Moment};
pub use host::{Answered, Host, HostError, PATIENCE, Sent};
pub use iclog::{Entry, Event};
pub use serve::{PANICKED, Served, Setup, serve};
pub use suspend::{Holding, UFSRESUME, UFSSUSPEND};
