//! The orchestrator: reads the host's requests, plans, drives the steps, keeps the deadlines, answers.

pub mod config;
pub mod cycle;
pub mod deadline;
pub mod plan;
