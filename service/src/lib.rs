//! What every daemon of ours does: a log that never waits, a pid file, order in what it inherited.

mod journal;
mod pid_file;
mod surroundings;

pub use journal::{Destination, Journal, Sink};
pub use pid_file::{PidFile, PidFileError};
pub use surroundings::put_in_order;
