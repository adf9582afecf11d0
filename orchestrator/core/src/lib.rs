//! What decides: the cycle, the plan, the deadlines, the settings, the records, and the words
//! between the daemon and its clients.
//!
//! Nothing here reads a clock, a file or a socket. Inputs come in as values, decisions go out as
//! values; the daemon performs them.

pub mod config;
pub mod control;
pub mod cycle;
pub mod deadline;
pub mod ending;
pub mod history;
pub mod in_work;
pub mod mapped;
pub mod metrics;
pub mod plan;
pub mod record;
