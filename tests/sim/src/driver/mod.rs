//! What stands behind the two VSS nodes: our own driver's core, or the behaviour of the one in FreeBSD's base system.
//!
//! A driver here is a state machine under the [`machine`](crate::machine)'s lock: it does nothing by itself, but leaves [`Effect`]s.

pub(crate) mod base;
pub(crate) mod ours;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hv_vss_platform::clock::{Monotonic, wall_clock_ns};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Takes the guest's next request. Size-encoded as the platform does it, never written out.
pub const READ: u32 = nix::request_code_read!(b'v', 2, MESSAGE) as u32;
/// Answers one.
pub const WRITE: u32 = nix::request_code_write!(b'v', 3, MESSAGE) as u32;
/// What the host heard; our driver's own.
pub(crate) const HEARD: u32 = nix::request_code_read!(b'v', 4, ACCOUNT) as u32;
/// Bytes in the message that READ and WRITE carry.
pub const MESSAGE: usize = 64;
/// Bytes in what HEARD copies out.
pub(crate) const ACCOUNT: usize = 720;

/// The message's `opt` for each kind of request.
pub(crate) const CHECK: u32 = 1;
pub(crate) const FREEZE: u32 = 2;
pub(crate) const THAW: u32 = 3;

pub(crate) const SUCCESS: u32 = 0;
pub(crate) const FAIL: u32 = 1;

/// Which driver a simulated machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The one in FreeBSD's base system, with all its quirks.
    Base,
    /// kmod/broker's request core, compiled from the same file as the kernel module.
    Ours,
}

/// The two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// hv_fsvss_dev, for the daemon.
    Filesystems,
    /// hv_appvss_dev, for applications.
    Applications,
}

/// One open of a node, as the driver numbers them.
pub(crate) type Opener = i32;

/// What a driver wants done once the machine's lock is free.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// This opener has something to READ: wake it if it polls.
    Wake(Opener),
    /// An answer for the host.
    Send { xactid: u64, bytes: Vec<u8> },
    /// A line for the log.
    Note(String),
    /// A debug kernel would have stopped here.
    Panic(String),
}

/// Who has what open, and what waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The daemon's node is open.
    pub daemon_open: bool,
    /// How many applications have theirs open.
    pub apps_open: u32,
    /// A request of the host is not answered yet.
    pub pending: bool,
}

pub(crate) trait Driver: Send {
    fn host_message(&mut self, xactid: u64, bytes: &[u8]);
    fn open(&mut self, node: Node, pid: u32) -> Result<Opener, Errno>;
    fn close(&mut self, opener: Opener);
    /// What the ioctl copies out, or its errno.
    fn ioctl(&mut self, opener: Opener, command: u32, access: Access, input: &[u8]) -> Result<Vec<u8>, Errno>;
    fn is_readable(&self, opener: Opener) -> bool;
    fn next_timer(&self) -> Option<Monotonic>;
    fn timer(&mut self, now: Monotonic);
    fn set_limit(&mut self, limit: Duration);
    /// The device goes away under its openers.
    fn detach(&mut self);
    fn standing(&self) -> Standing;
    fn take_effects(&mut self) -> Vec<Effect>;
}

/// How a node was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Reading,
    Writing,
}

/// The simulated kernel's wall clock, which a test may step.
#[derive(Clone, Default)]
pub(crate) struct WallClock(Arc<AtomicI64>);

impl WallClock {
    pub(crate) fn now_ns(&self) -> u64 {
        wall_clock_ns().saturating_add_signed(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn shift_by(&self, ms: i64) {
        self.0.store(ms.saturating_mul(1_000_000), Ordering::Relaxed);
    }
}

impl Kind {
    pub(crate) fn attach(self, clock: WallClock, limit: Duration) -> Box<dyn Driver> {
        match self {
            Self::Base => Box::new(base::Base::new(clock, limit)),
            Self::Ours => Box::new(ours::Ours::new(clock, limit)),
        }
    }
}
