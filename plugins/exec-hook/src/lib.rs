//! Runs the administrator's scripts in hooks.d around the freeze.
//!
//! One step of the cycle, with an order of its own inside: `name.rs` says which file is a hook, `survey.rs` which of them root may run
//! (`interpreter.rs` and `access.rs` judge its first line and its user's rights), `order.rs` what runs when and what is owed; these decide only.
//! `run.rs` runs a group of scripts, `spawn.rs` starts one, `reap.rs` reaps what has ended, `report.rs` tells of it, `plugin.rs` joins it all to
//! the plugin's calls. hooks.d/README says the same to those who write hooks.
//!
//! Between a freeze and its thaw this plugin only reaps what ends, and reads what processes in the background write to their script's output
//! (`sink.rs`).

mod access;
mod interpreter;
mod limit;
mod message;
mod name;
mod order;
mod output;
mod plugin;
mod reap;
mod report;
mod run;
mod settings;
mod sink;
mod spawn;
mod survey;
mod user;

pub use name::{Form, HookName, Phase, Reading, read as read_name};
#[doc(hidden)]
pub use order::{Ledger, freeze_groups};
pub use plugin::ExecHook;
pub use settings::{DIRECTORY as DEFAULT_DIRECTORY, LIMIT as DEFAULT_LIMIT, Settings};
pub use survey::{Surveyed, Unreadable, Verdict, survey, with as survey_with};
pub use user::Identity;

hv_vss_plugin::export_plugin!(ExecHook);
