//! Whoever can freeze: ours, the peers, and the bare loop. All of them are asked the same and timed from the same side: from the host's message to
//! the answer's arrival.

pub(crate) mod bare;
pub(crate) mod linux;
mod ours;
pub(crate) mod qemu;

use std::time::Duration;

pub(crate) use bare::Bare;
pub(crate) use linux::Linux;
pub(crate) use ours::Ours;
pub(crate) use qemu::Qemu;

/// The names under which they appear.
pub(crate) const OURS: &str = "hv_vss";
/// The bare loop.
pub(crate) const BARE: &str = "bare";
/// qemu-ga of Debian's qemu-guest-agent.
pub(crate) const QEMU: &str = "qemu_ga";
/// Linux's hv_vss_daemon of Debian's hyperv-daemons.
pub(crate) const LINUX: &str = "linux_vss";

/// One that can freeze.
pub(crate) trait Contender {
    /// Its name in the results.
    fn name(&self) -> &'static str;

    /// Freezes everything it was given: from the request to the answer.
    ///
    /// # Panics
    /// When it fails, or doesn't freeze all of it.
    fn freeze(&mut self) -> Duration;

    /// Thaws it.
    ///
    /// # Panics
    /// When it fails.
    fn thaw(&mut self) -> Duration;
}
