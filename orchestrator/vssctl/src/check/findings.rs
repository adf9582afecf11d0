//! Everything that a check finds, as `vssctl check --json` prints it.

use serde::Serialize;

use crate::hooks::HooksSeen;
use hv_vss_core::control::{Outlook, PluginStatus};
use hv_vss_core::record::Record;

/// Everything that a check finds.
#[derive(Debug, Serialize)]
pub(super) struct Findings {
    /// A backup would work.
    pub(super) would_work: bool,
    /// Who found it out.
    pub(super) asked: Asked,
    /// What the plugins say of it.
    pub(super) outlook: Outlook,
    /// The plugins.
    pub(super) plugins: Vec<PluginStatus>,
    /// The scripts.
    pub(super) hooks: HooksSeen,
    /// What would not stop a backup, and should be looked at.
    pub(super) warnings: Vec<String>,
    /// The last cycle that was more than a CHECK; for how long a freeze takes here.
    pub(super) last: Option<Record>,
}

/// Who found it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// The daemon, with the plugins that it would use.
    Daemon,
    /// We, since no daemon runs.
    NotRunning,
    /// We, since we were asked not to ask the daemon.
    Nobody,
}
