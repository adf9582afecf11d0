//! What acts: one task owns the state, performs what the core decides, and answers the host.
//!
//! [`engine`] performs; [`child`], [`port`], and [`reply`] are the edges it works with.

pub mod absent;
pub mod child;
pub mod config_file;
pub mod control;
pub mod engine;
pub mod plugin_files;
pub mod port;
pub mod program;
pub mod reply;
pub mod scribe;
mod sleep;
pub mod state;
