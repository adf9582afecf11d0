//! The orchestrator: reads the host's requests, plans, drives the steps, keeps the deadlines, answers.

pub mod cycle;
