//! `hv_kvp_daemon`: answers the Hyper-V host's key-value pair requests, in time and from memory.
//!
//! The crate hv-vss-kvp-core decides; this one acts. `serve.rs` is one thread in poll(2), which
//! waits for the driver's node and for the helpers and never for anything else. The helpers are
//! threads that may wait: `disk.rs` asks hv_vss (`hv_vss.rs`) and touches the pools, `name.rs` looks
//! names up, `script.rs` runs the administrator's script, and one takes signals. `node.rs` keeps to
//! what the driver demands of its reader.

mod disk;
mod hv_vss;
mod mailbox;
mod name;
mod node;
mod options;
mod program;
mod script;
mod serve;
mod signals;

pub use node::{Node, NodeError};
pub use options::Options;
pub use program::{StartError, run};
