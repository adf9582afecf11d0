//! What a script is told: a clean environment, and the same with the mounts as one JSON object on its standard input.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

use hv_vss_platform::mounts::{FsId, Mount};
use hv_vss_platform::reaper;
use hv_vss_plugin::Step;
use serde_json::json;

use crate::name::Phase;
use crate::user::Identity;

/// Where scripts find commands, base system first.
pub(crate) const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin";

/// What all scripts of one phase are told alike.
pub(crate) struct Message {
    phase: Phase,
    cycle: String,
    outcome: String,
    rehearsal: bool,
    mounts: serde_json::Value,
}

impl Message {
    pub(crate) fn of(phase: Phase, step: &Step<'_>) -> Self {
        let mounts: Vec<Mount> = step
            .mounts()
            .map(|mount| Mount {
                fsid: FsId(mount.fsid),
                fstype: mount.fstype.into(),
                on: mount.on.into(),
                from: mount.from.into(),
                read_only: mount.read_only,
                backing: mount.backing.map(Into::into),
                swap: mount.swap.map(Into::into),
            })
            .collect();
        Self {
            phase,
            cycle: step.cycle().to_owned(),
            outcome: step.outcome().to_string(),
            rehearsal: step.rehearsal(),
            mounts: json!(mounts),
        }
    }

    /// The whole environment: nothing of this process's is in it. `own` are the hook's own variables.
    pub(crate) fn environment(
        &self,
        identity: Option<&Identity>,
        own: &BTreeMap<String, String>,
        limit: Duration,
        mark: &str,
    ) -> Vec<CString> {
        let (user, home) = identity.map_or(("root", "/root".into()), |who| (who.name.as_str(), who.home.clone()));
        let variables = [
            ("PATH", PATH.to_owned()),
            ("HOME", home.display().to_string()),
            ("USER", user.to_owned()),
            ("LOGNAME", user.to_owned()),
            ("HV_VSS_PHASE", self.phase.to_string()),
            ("HV_VSS_CYCLE", self.cycle.clone()),
            ("HV_VSS_OUTCOME", self.outcome.clone()),
            ("HV_VSS_TIME_LEFT_MS", limit.as_millis().to_string()),
            ("HV_VSS_REHEARSAL", if self.rehearsal { "1".to_owned() } else { String::new() }),
            (reaper::MARK, mark.to_owned()),
        ];
        let usual = variables
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .filter(|(key, value)| !value.is_empty() && !own.contains_key(*key));
        let own = own.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        // A value with a null byte can't be passed on; none of ours has one.
        usual.chain(own).filter_map(|(key, value)| CString::new(format!("{key}={value}")).ok()).collect()
    }

    /// The JSON object for the standard input, and a newline.
    pub(crate) fn input(&self, limit: Duration) -> Vec<u8> {
        let time_left_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let object = json!({
            "phase": self.phase.to_string(),
            "cycle": self.cycle,
            "outcome": self.outcome,
            "rehearsal": self.rehearsal,
            "time_left_ms": time_left_ms,
            "mounts": self.mounts,
        });
        format!("{object}\n").into_bytes()
    }
}
