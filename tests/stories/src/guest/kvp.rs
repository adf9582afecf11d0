//! The daemon for key-value pairs in a guest, and the host's questions to it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hv_vss_sim::{Answered, Event, Sent};
use hv_vss_testbed::built;
use nix::sys::signal::Signal;

use super::{Daemon, Guest};
use crate::process;

/// Longer than the driver waits.
const PATIENCE: Duration = Duration::from_secs(12);

impl Guest {
    fn kvp_command(&self, pools: &Path) -> Command {
        let scratch = |name: &str| self.stage.scratch(name);
        let mut command = Command::new(built("hv_kvp_daemon"));
        command.args(["-n", "-d", "--log", "stderr", "--pools"]).arg(pools).arg("--node");
        command.arg(self.stage.dev().join("hv_kvp_dev")).arg("--pid-file").arg(scratch("kvp.pid"));
        command.arg("--control").arg(self.stage.home().join("run/hv_vss.sock"));
        command
    }

    /// Starts hv_kvp_daemon and waits until it serves.
    ///
    /// # Panics
    /// When it doesn't.
    #[track_caller]
    pub fn kvp_starts(&mut self, pools: &Path, arguments: &[&str]) {
        let mut command = self.kvp_command(pools);
        let daemon = Daemon::run(command.args(arguments));
        daemon.gets_ready();
        self.kvp = Some(daemon);
    }

    /// Starts a second one, which is to end at once; what it says.
    ///
    /// # Panics
    /// When it ends well.
    #[must_use]
    #[track_caller]
    pub fn kvp_refuses_to_start(&self, pools: &Path) -> String {
        let output = self.kvp_command(pools).stdin(Stdio::null()).output().expect("it can be started");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Starts a daemon that writes to this file before it answers.
    ///
    /// # Panics
    /// When it doesn't get ready.
    #[track_caller]
    pub fn kvp_that_blocks_starts(&mut self, file: &Path) {
        let mut command = Command::new(built("hv-vss-sim-kvp-daemon"));
        command.arg(self.stage.dev().join("hv_kvp_dev")).arg(file).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = process::start(&mut command, Signal::SIGKILL);
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut said).expect("it speaks");
        assert_eq!(said, "ready\n");
        self.others.push(child);
    }

    /// The daemon for key-value pairs.
    ///
    /// # Panics
    /// When none runs.
    #[must_use]
    #[track_caller]
    pub fn kvp(&self) -> &Daemon {
        self.kvp.as_ref().expect("hv_kvp_daemon was started")
    }

    /// Waits for its end: its exit status.
    ///
    /// # Panics
    /// When it doesn't end.
    #[track_caller]
    pub fn kvp_ends(&mut self) -> Option<i32> {
        self.kvp.as_mut().expect("hv_kvp_daemon was started").ends()
    }

    /// Waits for its end after a kill.
    pub fn kvp_is_gone(&mut self) {
        self.kvp.as_mut().into_iter().for_each(Daemon::is_gone);
    }

    /// The host asks for key-value pairs, and does not wait.
    ///
    /// # Panics
    /// When the simulated machine is gone.
    #[track_caller]
    pub fn kvp_sends(&self, bytes: &[u8]) -> Sent {
        self.host.send_kvp(bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The host asks for key-value pairs.
    ///
    /// # Panics
    /// When it is not answered.
    #[track_caller]
    pub fn kvp_answers(&self, bytes: &[u8]) -> Answered {
        self.answer_within(self.kvp_sends(bytes), PATIENCE).expect("the host hears an answer")
    }

    /// Claims that no daemon has done what stops a kernel.
    ///
    /// # Panics
    /// When one has.
    #[track_caller]
    pub fn holds_no_panic(&self) {
        let log = self.host.log().unwrap_or_else(|error| panic!("{error}"));
        let stopped = log.iter().find(|entry| matches!(entry.event, Event::Panic { .. }));
        assert!(stopped.is_none(), "{stopped:?}");
    }
}
