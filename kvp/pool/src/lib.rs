//! The files in which Hyper-V's key-value pairs are kept, for hv_kvp_daemon, kvp_report and vssctl.
//!
//! Several programs have pairs in the same file, and each takes an fcntl(2) lock on all of it. The
//! crate hv-vss-kvp-core has the format and decides which bytes a change touches. Here `file.rs`
//! locks the file and performs it, `place.rs` makes what is missing, `stamp.rs` tells whether
//! another program has changed the file.

mod error;
mod file;
mod lock;
mod place;
mod stamp;

pub use error::PoolError;
pub use file::{Locked, PoolFile};
pub use hv_vss_kvp_core::{Change, MOST_RECORDS, Pool, RECORD_SIZE, Records, fitting};
pub use lock::{Patience, Until};
pub use place::make_directory;
pub use stamp::Stamp;

/// Where hv_kvp_daemon(8) keeps its pools.
pub const DIRECTORY: &str = "/var/db/hyperv/pool";
