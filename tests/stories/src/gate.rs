//! A script that waits in its freeze until the story lets it go on: by then the plan is made, and nothing is suspended.

use std::fs;
use std::process::Command;

use crate::guest::Guest;
use crate::stage::Stage;

const GATE: &str = "gate";

impl Stage {
    /// The script, `50-app`.
    ///
    /// # Panics
    /// When its gate can't be made.
    #[must_use]
    #[track_caller]
    pub fn hook_that_waits(self) -> Self {
        let gate = self.scratch(GATE);
        let done = Command::new("mkfifo").arg(&gate).status();
        assert!(done.is_ok_and(|status| status.success()), "mkfifo");
        let body = format!("[ $phase = freeze ] && read line < {}; exit 0", gate.display());
        self.hook("50-app", &body)
    }
}

impl Guest {
    /// It goes on, once it has come to its gate.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn hook_goes_on(&self) {
        fs::write(self.stage().scratch(GATE), "go\n").expect("the script has its end open");
    }
}
