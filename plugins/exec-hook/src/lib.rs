//! Runs the administrator's scripts in hooks.d around the freeze.
//!
//! One step of the cycle, with an order of its own inside: `name.rs` says which file is a hook, `survey.rs` which of them root may run, `order.rs`
//! what runs when and what is owed; these decide only. `run.rs` runs a group of scripts, `spawn.rs` starts one, `plugin.rs` joins it all to the
//! plugin's calls. hooks.d/README says the same to those who write hooks.
//!
//! Between a freeze and its thaw this plugin does nothing at all: its scripts have ended, and what they left in the background is not its own.

mod child_signal;
mod message;
mod name;
mod order;
mod output;
mod plugin;
mod run;
mod settings;
mod spawn;
mod survey;
mod user;

pub use name::{Form, HookName, Phase, Reading, read as read_name};
#[doc(hidden)]
pub use order::{Ledger, freeze_groups};
pub use plugin::ExecHook;
pub use settings::{DIRECTORY as DEFAULT_DIRECTORY, LIMIT as DEFAULT_LIMIT};
pub use survey::{Surveyed, Unreadable, Verdict, survey};

hv_vss_plugin::export_plugin!(ExecHook);
