//! The orchestrator: reads the host's requests, plans, drives the steps, keeps the deadlines, answers.
//!
//! [`cycle`], [`plan`], [`deadline`] and [`config`] decide and do nothing else; [`engine`] performs what they decide; [`child`], [`port`], [`reply`] and
//! [`journal`] are the edges it works with; [`ctl`] is vssctl, which asks it from outside.

pub mod absent;
pub mod child;
pub mod config;
pub mod control;
pub mod ctl;
pub mod cycle;
pub mod daemon;
pub mod deadline;
pub mod engine;
pub mod history;
pub mod journal;
pub mod metrics;
pub mod plan;
pub mod plugin_files;
pub mod port;
pub mod record;
pub mod reply;
pub mod scribe;
mod sleep;
