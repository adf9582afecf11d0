//! Linux's hv_vss_daemon, as Debian ships it, behind a stand-in for /dev/vmbus/hv_vss. It has no /sys in its jail, since it leaves out loop devices
//! where it can recognise them.

use std::sync::Arc;
use std::time::Duration;

use hv_vss_platform::clock;

use super::{Contender, LINUX};
use crate::child::Running;
use crate::jail::Jail;
use crate::vmbus::{Operation, Vmbus};

/// Where it is in the jail.
pub(crate) const PROGRAM: &str = "/usr/sbin/hv_vss_daemon";

/// A running hv_vss_daemon.
pub(crate) struct Linux {
    process: Running,
    vmbus: Arc<Vmbus>,
    /// From its exec to its registration.
    pub(crate) ready_after: Duration,
}

impl Linux {
    /// Starts it in a jail that has the stand-in's directory at /dev/vmbus.
    pub(crate) fn start(jail: &Jail, vmbus: Arc<Vmbus>) -> Self {
        vmbus.forget();
        let (process, began) = jail.start(&[PROGRAM, "-n"]);
        vmbus.wait_for_registration();
        Self { process, vmbus, ready_after: began.until(clock::now()) }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// CHECK: it answers without looking at anything.
    pub(crate) fn check(&mut self) -> Duration {
        self.vmbus.ask(Operation::HotBackup)
    }
}

impl Contender for Linux {
    fn name(&self) -> &'static str {
        LINUX
    }

    fn freeze(&mut self) -> Duration {
        self.vmbus.ask(Operation::Freeze)
    }

    fn thaw(&mut self) -> Duration {
        self.vmbus.ask(Operation::Thaw)
    }
}
