//! What `vssctl plugin test` does: drives a plugin through its whole life, and through what the orchestrator may do to it when things go
//! wrong, and says of each promise of the header whether it was kept.

pub mod hosted;
