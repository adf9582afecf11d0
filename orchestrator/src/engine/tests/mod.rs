//! Stories of the engine on clocks set by hand, in the harness.

mod jumps;
mod mounts;
