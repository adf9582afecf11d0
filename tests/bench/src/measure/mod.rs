//! What is measured, each in a file of its own.

pub(crate) mod busy;
pub(crate) mod freeze;
pub(crate) mod growth;
pub(crate) mod hooks;
pub(crate) mod idle;
pub(crate) mod memory;
pub(crate) mod stall;
