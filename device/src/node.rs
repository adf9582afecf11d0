//! One open device node.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hv_vss_platform::OsError;
use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_types::Verdict;
use nix::errno::Errno;
use nix::libc;

use crate::heard::Heard;
use crate::ioctl;
use crate::message::Message;

/// The driver in base tells us of a request before it arms the request's timer. An answer within that instant stops a timer that is not running
/// yet; it then fires 15 s later upon whatever request is there. No answer leaves sooner than this after its READ.
const BASE_DRIVER_NEEDS: Duration = Duration::from_millis(2);

/// An open node: while it exists the driver counts us as its daemon, and nobody else can open the node.
#[derive(Debug)]
pub struct Device {
    node: File,
    path: String,
    driver: Driver,
    /// When the last request was read, in nanoseconds of the monotonic clock.
    last_read: AtomicU64,
}

/// Which driver is behind a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The one in FreeBSD's base system: a limit of 15 s, and a WRITE that always succeeds, whether or not it came in time.
    Base,
    /// The one in `kmod/broker/`.
    Ours,
}

/// Why a node can't be opened.
#[derive(Debug)]
pub enum DeviceError {
    /// Somebody else has it open.
    Busy(OsError),
    /// There is no such node.
    Missing(OsError),
    /// We may not open it.
    Denied(OsError),
    /// Anything else.
    Failed(OsError),
}

/// Why an answer did not go out.
#[derive(Debug)]
pub enum AnswerError {
    /// The driver had given up on the request already. Only our driver tells.
    TooLate,
    /// Anything else.
    Failed(OsError),
}

impl Device {
    /// Opens a node, close-on-exec: an inherited copy would keep a dead daemon registered.
    ///
    /// # Errors
    /// As [`DeviceError`] says.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        let node = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path);
        let node = node.map_err(|cause| DeviceError::from(OsError::new(format!("open {}", path.display()), cause)))?;
        Self::of(node, path.display().to_string()).map_err(DeviceError::Failed)
    }

    pub(crate) fn of(node: File, path: String) -> Result<Self, OsError> {
        let driver = match ioctl::accepts_unassigned(&node) {
            Ok(true) => Driver::Base,
            Ok(false) => Driver::Ours,
            Err(errno) => return Err(OsError::new(format!("learn which driver is behind {path}"), errno)),
        };
        Ok(Self { node, path, driver, last_read: AtomicU64::new(0) })
    }

    /// Which driver is behind this node.
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// The node's path, for sentences.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Takes the next request, if there is one. Never waits.
    ///
    /// # Errors
    /// When the driver refuses; ENXIO: the device is gone.
    pub fn read(&self) -> Result<Option<Message>, OsError> {
        let message = ioctl::read(&self.node)
            .map_err(|errno| OsError::new(format!("read a request from {}", self.path), errno))?;
        if message.is_some() {
            self.last_read.store(clock::now().as_ns(), Ordering::Relaxed);
        }
        Ok(message)
    }

    /// Answers a request. With the driver in base this waits for up to 2 ms if the request was read only just now, and success proves nothing.
    ///
    /// # Errors
    /// As [`AnswerError`] says.
    pub fn answer(&self, request: &Message, verdict: Verdict) -> Result<(), AnswerError> {
        if self.driver == Driver::Base {
            let allowed = Monotonic::from_ns(self.last_read.load(Ordering::Relaxed)) + BASE_DRIVER_NEEDS;
            thread::sleep(clock::now().until(allowed));
        }
        let answer = Message { status: verdict.status(), ..*request };
        ioctl::write(&self.node, &answer).map_err(|errno| match errno {
            Errno::ETIMEDOUT => AnswerError::TooLate,
            errno => AnswerError::Failed(OsError::new(format!("answer a request through {}", self.path), errno)),
        })
    }
}

impl Device {
    /// What the host heard: the last requests, how each was answered, and why; see [`Heard`].
    ///
    /// None means *not known*: the driver in base does not keep it, nor does an older one of ours.
    /// The call never waits. It works on a node that is open for reading only, and in the
    /// moments between the detachment of the driver and the end of the node.
    ///
    /// # Errors
    /// ENXIO: the device is gone.
    pub fn heard(&self) -> Result<Option<Heard>, OsError> {
        // The driver in base answers 0 to every ioctl, so it is not asked.
        if self.driver == Driver::Base {
            return Ok(None);
        }
        match ioctl::heard(&self.node) {
            Ok(wire) => Ok(Heard::from_wire(&wire)),
            Err(Errno::ENOTTY) => Ok(None),
            Err(errno) => Err(OsError::new(format!("learn from {} what the host heard", self.path), errno)),
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.node.as_fd()
    }
}

impl From<OsError> for DeviceError {
    fn from(cause: OsError) -> Self {
        match cause.errno() {
            Some(Errno::EBUSY) => Self::Busy(cause),
            Some(Errno::ENOENT | Errno::ENXIO) => Self::Missing(cause),
            Some(Errno::EACCES | Errno::EPERM) => Self::Denied(cause),
            _ => Self::Failed(cause),
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(cause) => write!(
                f,
                "{cause}; another process serves this device, most likely another hv_vss_daemon: stop it first"
            ),
            Self::Missing(cause) => {
                write!(
                    f,
                    "{cause}; either this machine does not run on Hyper-V, or its VSS driver is disabled (hint.hvvss.0.disabled)"
                )
            }
            Self::Denied(cause) => write!(f, "{cause}; only root may serve this device"),
            Self::Failed(cause) => fmt::Display::fmt(cause, f),
        }
    }
}

impl std::error::Error for DeviceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Busy(cause) | Self::Missing(cause) | Self::Denied(cause) | Self::Failed(cause) => cause.source(),
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate => {
                f.write_str("the answer came too late: the driver had told the host already that the request failed")
            }
            Self::Failed(cause) => fmt::Display::fmt(cause, f),
        }
    }
}

impl std::error::Error for AnswerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLate => None,
            Self::Failed(cause) => cause.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;

    #[test]
    fn a_missing_node_is_told_with_what_may_be_the_reason() {
        let error = Device::open(Path::new("/nonexistent/hv_fsvss_dev")).unwrap_err();
        assert!(matches!(error, DeviceError::Missing(_)), "{error:?}");
        let text = error.to_string();
        assert!(
            text.starts_with("can't open /nonexistent/hv_fsvss_dev: No such file or directory (os error 2); either"),
            "{text}"
        );
    }

    #[test]
    fn each_refusal_of_the_kernel_has_its_own_name() {
        let told = |errno: Errno| DeviceError::from(OsError::new("open x", errno));
        assert!(matches!(told(Errno::EBUSY), DeviceError::Busy(_)));
        assert!(matches!(told(Errno::ENXIO), DeviceError::Missing(_)));
        assert!(matches!(told(Errno::EACCES), DeviceError::Denied(_)));
        assert!(matches!(told(Errno::EIO), DeviceError::Failed(_)));
        assert!(told(Errno::EBUSY).to_string().contains("another hv_vss_daemon"));
    }

    #[test]
    fn the_node_is_not_inherited() {
        let device = Device::open(Path::new("/dev/null")).unwrap();
        assert_eq!(fcntl(&device, FcntlArg::F_GETFD).unwrap() & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }

    #[test]
    fn a_file_that_is_no_vss_device_refuses_and_its_errno_is_kept() {
        // Like our driver it does not know the unassigned command; unlike it, it knows no other either.
        let device = Device::open(Path::new("/dev/null")).unwrap();
        assert_eq!(device.driver(), Driver::Ours);
        let error = device.read().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOTTY));
        assert!(error.to_string().starts_with("can't read a request from /dev/null: "), "{error}");
        let request = Message { operation: 1, status: 0, msgid: 7 };
        assert!(matches!(device.answer(&request, Verdict::Success), Err(AnswerError::Failed(_))));
    }

    #[test]
    fn with_the_driver_in_base_no_answer_leaves_within_two_milliseconds_of_its_read() {
        let mut device = Device::open(Path::new("/dev/null")).unwrap();
        device.driver = Driver::Base;
        let read = clock::now();
        device.last_read.store(read.as_ns(), Ordering::Relaxed);
        let _ = device.answer(&Message { operation: 1, status: 0, msgid: 7 }, Verdict::Fail);
        assert!(read.until(clock::now()) >= BASE_DRIVER_NEEDS);
    }
}
