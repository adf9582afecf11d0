//! The control socket: how operators and `vssctl` talk to the daemon.

mod protocol;
pub mod server;

pub use protocol::{Brief, Counters, HeldOne, MountOutlook, Outlook, PluginStatus, Question, Reply, Status};
