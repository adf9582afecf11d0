//! Data that the rooms exchange: an instant, a mount, an operation and its verdict.
//!
//! No system call is made here. `platform` reads clocks and mount tables, `device` reads requests;
//! the core of the orchestrator only needs their values.

mod instant;
mod mapped;
mod mount;
mod network;
mod operation;

pub use instant::Monotonic;
pub use mapped::{MappedScan, Mapping};
pub use mount::{FsId, Mount, Table, holder};
pub use network::{Gateway, Interface, System};
pub use operation::{Operation, Verdict};
