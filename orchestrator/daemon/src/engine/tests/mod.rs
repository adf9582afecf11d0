//! Stories of the engine on clocks set by hand, in the harness.

mod flush;
mod jumps;
mod mounts;
