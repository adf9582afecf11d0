//! Reading the configuration again: only when idle, all or nothing, and never what only a restart can change.

use super::Engine;
use super::roster::Whose;
use crate::config_file;
use hv_vss_core::control::Reply;

impl Engine {
    pub(super) fn reload(&mut self) -> Reply {
        if !self.cycle.is_idle() {
            return refused(format!(
                "the daemon is {}: the configuration is read again only when it is idle",
                self.cycle.stage_name()
            ));
        }
        if let Some(plugin) = self.is_at_a_debt() {
            return refused(format!(
                "plugin {plugin} is at a thaw that it still owed; read the configuration again after it"
            ));
        }
        let (path, presence) = &self.config.origin;
        let new = match config_file::load(path, *presence) {
            Ok(new) => new,
            Err(error) => return refused(error.to_string()),
        };
        let old = &self.config;
        let fixed = [
            ("[device] node", old.node != new.node),
            ("[paths] state", old.paths.state != new.paths.state),
            ("[paths] pid_file", old.paths.pid_file != new.paths.pid_file),
            ("[paths] control", old.paths.control != new.paths.control),
        ];
        let fixed: Vec<&str> = fixed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect();
        if !fixed.is_empty() {
            return refused(format!(
                "{} can only change when the daemon is restarted; nothing was changed",
                fixed.join(", ")
            ));
        }
        self.limits = Self::limits_with(&new, &self.port);
        self.roster.reconfigure(&new);
        self.config = new;
        self.prepare_plugins(Whose::Everybodys);
        Reply::Done
    }
}

fn refused(reason: String) -> Reply {
    Reply::Refused { reason }
}
