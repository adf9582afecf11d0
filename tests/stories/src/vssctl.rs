//! vssctl, asked about a guest.

use std::process::{Command, Output};

use crate::guest::Guest;

impl Guest {
    /// What vssctl says, with the configuration of this guest's daemon.
    ///
    /// # Panics
    /// When it can't be run.
    #[must_use]
    #[track_caller]
    pub fn vssctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.stage().daemon_program().with_file_name("vssctl"));
        command.arg("--config").arg(self.stage().home().join("hv_vss.toml")).args(arguments);
        command.output().expect("vssctl is built with the daemon")
    }
}
