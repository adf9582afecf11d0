//! The control socket's end in the daemon.

pub mod server;
