//! The worker: loads one plugin's shared object into a process of its own and serves the orchestrator's calls to it, one at a time, from
//! one thread.
//!
//! ```text
//!   socket (fd 3) ──> link ──> serve ──> plugin ──> the .so's functions
//!                                │          │
//!                              holds     callbacks (log, sub-steps, time left, cancelled) ──> link
//! ```
//!
//! - [`serve`]: the loop: requests in order, the expiry, the orchestrator's death.
//! - [`link`]: the socket, never waited for but in the one poll(2) of the loop.
//! - [`holds`]: what is held, so that it can be let go without being told to.
//! - [`debt`]: the record of what is owed, once the orchestrator is gone.
//! - [`plugin`]: the loaded plugin, its calls with C structs around them; [`callbacks`]: what it may call; [`load`], [`elf`]
//!   and [`libraries`]: how it gets here.
//! - [`process`] and [`limits`]: what kind of process this is.
//! - [`inspect`] and [`conformance`]: a plugin seen from outside, for `vssctl plugin inspect` and `vssctl plugin test`.
//!
//! Why a process for each plugin: the kernel refuses to suspend UFS for a process with threads, and a plugin that crashes or hangs must be no
//! more than one failed step.

pub mod callbacks;
pub mod conformance;
pub mod debt;
pub mod elf;
pub mod holds;
pub mod inspect;
pub mod libraries;
pub mod limits;
pub mod link;
pub mod load;
pub mod marshal;
pub mod plugin;
pub mod process;
pub mod serve;
