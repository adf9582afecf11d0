//! `/dev/vfsfreeze`: one descriptor holds one filesystem of any local type (kmod/vfsfreeze/vfsfreeze.4).
//!
//! [`Node::hold`] returns at once; [`wait`] sleeps in poll(2) until some state has changed, and
//! [`Node::report`] tells it. A hold ends with [`Node::release`], with the last close of the descriptor,
//! with the end of the process that has it, and with its time limit.

#![allow(unsafe_code)] // nix's ioctl macros make unsafe functions.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use hv_vss_types::{FsId, Monotonic};

use crate::limits::{self, Limited};
use crate::{OsError, Result, clock};

/// The node as FreeBSD names it.
pub const NODE: &str = "/dev/vfsfreeze";

/// The version of the interface that this file speaks.
pub const ABI: u32 = 1;

/// Accept a hold even if the filesystem can't say that all is written: what ZFS needs.
const GATE_ONLY: u32 = 1;
/// In a state: all was written when the filesystem was held.
const QUIESCED: u32 = 2;

/// `struct vfsfreeze_version`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct WireVersion {
    abi: u32,
    max_hold_ms: u32,
    reserved: [u32; 6],
}

/// `struct vfsfreeze_flush`.
#[repr(C)]
#[derive(Clone, Copy)]
struct WireFlush {
    fsid: [u8; 8],
    flags: u32,
    reserved: [u32; 5],
}

/// `struct vfsfreeze_hold`.
#[repr(C)]
#[derive(Clone, Copy)]
struct WireHold {
    fsid: [u8; 8],
    hold_ms: u32,
    flags: u32,
    reserved: [u32; 4],
}

/// `struct vfsfreeze_state`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct WireState {
    state: u32,
    error: i32,
    flags: u32,
    left_ms: u32,
    begin_us: u64,
    held_us: u64,
    reserved: [u64; 4],
}

const _: () = {
    assert!(size_of::<WireVersion>() == 32 && size_of::<WireFlush>() == 32);
    assert!(size_of::<WireHold>() == 32 && size_of::<WireState>() == 64);
};

mod number {
    use super::{WireFlush, WireHold, WireState, WireVersion};

    nix::ioctl_read!(version, b'V', 1, WireVersion);
    nix::ioctl_write_ptr!(flush, b'V', 2, WireFlush);
    nix::ioctl_write_ptr!(hold, b'V', 3, WireHold);
    nix::ioctl_read!(state, b'V', 4, WireState);
    nix::ioctl_none!(release, b'V', 5);

    #[cfg(target_os = "freebsd")]
    const _: () = {
        assert!(nix::request_code_read!(b'V', 1, size_of::<WireVersion>()) == 0x4020_5601);
        assert!(nix::request_code_write!(b'V', 2, size_of::<WireFlush>()) == 0x8020_5602);
        assert!(nix::request_code_write!(b'V', 3, size_of::<WireHold>()) == 0x8020_5603);
        assert!(nix::request_code_read!(b'V', 4, size_of::<WireState>()) == 0x4040_5604);
        assert!(nix::request_code_none!(b'V', 5) == 0x2000_5605);
        assert!(size_of::<nix::libc::fsid_t>() == 8);
    };
}

/// How long [`hold_until`] sleeps before it asks anew whether to give up.
pub const LOOK: Duration = Duration::from_millis(50);

/// How long [`hold_until`] waits for another hold of the same filesystem to end.
const BUSY: Duration = Duration::from_secs(2);
/// How often it asks.
const BUSY_LOOK: Duration = Duration::from_millis(10);

/// A descriptor of the node. Dropping it ends its hold.
#[derive(Debug)]
pub struct Node(OwnedFd);

/// What the module says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the interface; this file speaks [`ABI`].
    pub abi: u32,
    /// The longest hold that it accepts.
    pub max_hold: Duration,
}

/// How much has to be certain before a filesystem counts as held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Writers stand still and everything is on the disk.
    Quiesced,
    /// Writers stand still; the rest is the caller's to write (ZFS: a sync of the pool).
    WritersOnly,
}

/// The state of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// This descriptor has held nothing yet.
    Idle,
    /// Being suspended.
    Begun,
    /// Held.
    Held,
    /// Not held, because of this errno.
    Failed(Errno),
    /// Let go.
    Released,
    /// Let go by its time limit.
    Expired,
}

/// The state with its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The state.
    pub state: State,
    /// All was written when it was held.
    pub quiesced: bool,
    /// Until it expires; zero once it has ended.
    pub left: Duration,
    /// From the request until it was held, or until now.
    pub begin: Duration,
    /// How long it has been held, or was.
    pub held: Duration,
}

/// Opens the node, and takes from this process the right to dump core: a core file is written
/// before descriptors are closed, so it could wait for the filesystem that this process holds.
///
/// # Errors
/// ENOENT: the module is not loaded. EACCES, EPERM: the process is not root's, or in a jail.
pub fn open(path: &Path) -> Result<Node> {
    limits::set(Limited::Core, 0)?;
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path);
    file.map(|file| Node(OwnedFd::from(file))).map_err(|cause| OsError::new(format!("open {}", path.display()), cause))
}

impl Node {
    /// Which module is behind the node.
    ///
    /// # Errors
    /// ENOTTY: another device.
    pub fn version(&self) -> Result<Version> {
        let mut wire = WireVersion::default();
        // SAFETY: the kernel fills the 32 bytes that the number promises, all of them plain numbers.
        unsafe { number::version(self.raw(), &raw mut wire) }
            .map_err(|errno| OsError::new("ask vfsfreeze for its version", errno))?;
        Ok(Version { abi: wire.abi, max_hold: Duration::from_millis(wire.max_hold_ms.into()) })
    }

    /// Writes out what is dirty while writers run, and waits for it, uninterruptibly.
    ///
    /// # Errors
    /// EBUSY: it is suspended or being unmounted; the filesystem's own errors.
    pub fn flush(&self, filesystem: FsId) -> Result<()> {
        let wire = WireFlush { fsid: filesystem.0, flags: 0, reserved: [0; 5] };
        // SAFETY: the kernel reads the 32 bytes that the number promises and keeps no pointer.
        unsafe { number::flush(self.raw(), &raw const wire) }
            .map(drop)
            .map_err(|errno| OsError::new(format!("flush the filesystem {filesystem} ({})", explain(errno)), errno))
    }

    /// Begins to hold a filesystem and returns at once. The limit counts from here.
    ///
    /// # Errors
    /// As `explain` below puts them; nothing has begun then.
    pub fn hold(&self, filesystem: FsId, limit: Duration, gate: Gate) -> Result<()> {
        let wire = WireHold {
            fsid: filesystem.0,
            hold_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
            flags: if gate == Gate::WritersOnly { GATE_ONLY } else { 0 },
            reserved: [0; 4],
        };
        // SAFETY: the kernel reads the 32 bytes that the number promises and keeps no pointer.
        unsafe { number::hold(self.raw(), &raw const wire) }
            .map(drop)
            .map_err(|errno| OsError::new(format!("hold the filesystem {filesystem} ({})", explain(errno)), errno))
    }

    /// The state, which counts as seen from now on: poll(2) reports the next change.
    ///
    /// # Errors
    /// EIO: a state that this program does not know.
    pub fn report(&self) -> Result<Report> {
        let failed = |errno| OsError::new("ask vfsfreeze for the state of a hold", errno);
        let mut wire = WireState::default();
        // SAFETY: the kernel fills the 64 bytes that the number promises, all of them plain numbers.
        unsafe { number::state(self.raw(), &raw mut wire) }.map_err(failed)?;
        let state = match wire.state {
            0 => State::Idle,
            1 => State::Begun,
            2 => State::Held,
            3 => State::Failed(Errno::from_raw(wire.error)),
            4 => State::Released,
            5 => State::Expired,
            _ => return Err(failed(Errno::EIO)),
        };
        Ok(Report {
            state,
            quiesced: wire.flags & QUIESCED != 0,
            left: Duration::from_millis(wire.left_ms.into()),
            begin: Duration::from_micros(wire.begin_us),
            held: Duration::from_micros(wire.held_us),
        })
    }

    /// Ends the hold and returns at once; does nothing where it has ended.
    ///
    /// # Errors
    /// EINVAL: this descriptor has never held anything.
    pub fn release(&self) -> Result<()> {
        // SAFETY: the command has no argument.
        unsafe { number::release(self.raw()) }
            .map(drop)
            .map_err(|errno| OsError::new("let go of the filesystem this descriptor holds", errno))
    }

    fn raw(&self) -> libc::c_int {
        self.0.as_raw_fd()
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sleeps until the state of at least one has changed since its last report, or until that instant.
/// True: one has changed.
///
/// # Errors
/// poll(2)'s; a signal ends the sleep early, without an error and with false.
pub fn wait<'a>(nodes: impl IntoIterator<Item = &'a Node>, until: Monotonic) -> Result<bool> {
    let mut polled: Vec<_> = nodes.into_iter().map(|node| PollFd::new(node.as_fd(), PollFlags::POLLIN)).collect();
    // Rounded up: poll(2) counts whole milliseconds.
    let left = clock::now().until(until) + Duration::from_micros(999);
    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, left) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(OsError::new("wait for vfsfreeze", errno)),
    }
}

/// How a hold ends that is released before it is at rest.
const GIVEN_UP: (Errno, &str) = (Errno::ECANCELED, "it was given up before it was at rest");

/// Begins a hold and waits until the filesystem is held. On an error the caller drops the node, which
/// lets go of what was begun.
///
/// # Errors
/// The module's refusal or failure; a deadline that has passed; `give_up` returned true. The last
/// look at it is at most [`LOOK`] old.
pub fn hold_until(
    node: &Node,
    filesystem: FsId,
    limit: Duration,
    gate: Gate,
    deadline: Monotonic,
    give_up: impl Fn() -> bool,
) -> Result<Report> {
    let begun = clock::now();
    while let Err(error) = node.hold(filesystem, limit, gate) {
        let now = clock::now();
        // The hold of a holder that has just died may still be on its way out.
        let soon = error.errno() == Some(Errno::EBUSY) && begun.until(now) < BUSY && now < deadline;
        if !soon || give_up() {
            return Err(error);
        }
        std::thread::sleep(BUSY_LOOK);
    }
    loop {
        let report = node.report()?;
        let (ended, why) = match report.state {
            State::Held => return Ok(report),
            State::Begun if clock::now() >= deadline => {
                (Errno::ETIMEDOUT, "it is not at rest in the time this step has")
            }
            State::Begun if give_up() => GIVEN_UP,
            State::Begun => {
                wait([node], deadline.min(clock::now() + LOOK))?;
                continue;
            }
            State::Failed(errno) => (errno, explain(errno)),
            // FreeBSD has no ETIME.
            State::Expired => (Errno::ETIMEDOUT, "the hold reached its own time limit before it was at rest"),
            State::Idle | State::Released => GIVEN_UP,
        };
        return Err(OsError::new(format!("hold the filesystem {filesystem} ({why})"), ended));
    }
}

/// What the module means by each refusal.
fn explain(errno: Errno) -> &'static str {
    match errno {
        Errno::EAGAIN => "1024 filesystems are held already",
        Errno::EBUSY => "it is held already, is suspended, or is being unmounted",
        Errno::EINVAL => "the time limit is 0, or above vfs.vfsfreeze.max_hold_ms",
        Errno::ENOENT => "no mounted filesystem has this id",
        Errno::ENOTTY => "the device is not vfsfreeze",
        Errno::EOPNOTSUPP => "this type, or one with gjournal, can't be held",
        Errno::EPERM => "not allowed inside a jail, or without root's rights",
        Errno::EROFS => "it is mounted read-only",
        Errno::ESHUTDOWN => "the system is shutting down",
        _ => "for a reason this program does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: FsId = FsId([1, 2, 3, 4, 5, 6, 7, 8]);

    #[test]
    fn a_missing_node_is_named() {
        let error = open(Path::new("/nonexistent/vfsfreeze")).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert!(error.to_string().starts_with("can't open /nonexistent/vfsfreeze: "), "{error}");
    }

    #[test]
    fn a_device_that_is_not_vfsfreeze_refuses_every_command() {
        let null = open(Path::new("/dev/null")).unwrap();
        assert_eq!(null.version().unwrap_err().errno(), Some(Errno::ENOTTY));
        assert_eq!(null.flush(ANY).unwrap_err().errno(), Some(Errno::ENOTTY));
        assert_eq!(null.report().unwrap_err().errno(), Some(Errno::ENOTTY));
        assert_eq!(null.release().unwrap_err().errno(), Some(Errno::ENOTTY));
        let error = null.hold(ANY, Duration::from_secs(1), Gate::Quiesced).unwrap_err();
        assert!(error.to_string().contains("hold the filesystem 0102030405060708 (the device is not"), "{error}");
    }

    #[test]
    fn an_open_gives_up_core_dumps() {
        open(Path::new("/dev/null")).unwrap();
        let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap();
        assert_eq!(soft, 0);
    }

    #[test]
    fn a_wait_ends_at_its_instant() {
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        let silent = Node(reader);
        let until = clock::now() + Duration::from_millis(20);
        assert!(!wait([&silent], until).unwrap());
        assert!(clock::now() >= until);
    }

    #[test]
    fn the_numbers_are_those_of_the_modules_header() {
        let header = include_str!("../../kmod/vfsfreeze/vfsfreeze.h").replace(['\t', '\n'], " ");
        let words: Vec<_> = header.split_whitespace().collect();
        let header = words.join(" ");
        for line in [
            "VFSFREEZE_ABI 1",
            "VFSFREEZE_GATE_ONLY 0x0001U",
            "VFSFREEZE_QUIESCED 0x0002U",
            "VFSFREEZE_IDLE = 0",
            "VFSFREEZE_BEGUN = 1",
            "VFSFREEZE_HELD = 2",
            "VFSFREEZE_FAILED = 3",
            "VFSFREEZE_RELEASED = 4",
            "VFSFREEZE_EXPIRED = 5",
            "VFSFREEZE_VERSION _IOR('V', 1, struct vfsfreeze_version)",
            "VFSFREEZE_FLUSH _IOW('V', 2, struct vfsfreeze_flush)",
            "VFSFREEZE_HOLD _IOW('V', 3, struct vfsfreeze_hold)",
            "VFSFREEZE_STATE _IOR('V', 4, struct vfsfreeze_state)",
            "VFSFREEZE_RELEASE _IO('V', 5)",
        ] {
            assert!(header.contains(line), "{line}");
        }
    }
}
