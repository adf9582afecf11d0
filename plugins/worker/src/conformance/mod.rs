//! What `vssctl plugin test` does: drives a plugin through its whole life, and through what the orchestrator may do to it when things go wrong,
//! and says of each promise of the header whether it was kept.
//!
//! Each trial has a worker of its own, so that one broken promise does not spoil the next. Applications and filesystems are really frozen: for a
//! filesystem plugin the caller says which one may be.

mod report;
pub mod subject;
mod trials;

pub use report::{Finding, Report, Verdict};

use std::path::PathBuf;
use std::time::Duration;

use hv_vss_platform::mounts::Mount;
use serde_json::{Map, Value};

/// What is tried, and with what.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The worker's program.
    pub program: PathBuf,
    /// The plugin.
    pub file: PathBuf,
    /// Options of the worker: `--memory`, `--descriptors`, `--core`.
    pub options: Vec<String>,
    /// The plugin's settings.
    pub config: Map<String, Value>,
    /// The mount table that the plugin is asked about.
    pub mounts: Vec<Mount>,
    /// Which of them a filesystem plugin may really freeze.
    pub freezable: Option<Mount>,
    /// How long each call may take.
    pub patience: Duration,
}

/// Tries everything. Takes a few times [`Trial::patience`] at the most for each promise that is not kept, else no longer than the plugin.
#[must_use]
pub fn run(trial: &Trial) -> Report {
    trials::run(trial)
}
