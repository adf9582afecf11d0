//! The two ways to hold a UFS: our own module `vfsfreeze`, and `/dev/ufssuspend` where that module is not loaded.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_platform::mounts::FsId;
use hv_vss_platform::vfsfreeze::{self, Gate, Node, State};
use hv_vss_platform::{OsError, descriptors, ufssuspend};
use hv_vss_plugin::Step;
use nix::errno::Errno;

/// Added to the instant at which the daemon thaws by itself: the longest THAW (15 s), and some more.
/// The kernel's expiry is for a daemon that does not thaw at all.
const AFTER_EXPIRY: Duration = Duration::from_secs(20);
/// For a freeze without such an instant.
const WITHOUT_EXPIRY: Duration = Duration::from_secs(120);

/// How filesystems are held on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Vfsfreeze,
    Ufssuspend,
}

/// The nodes of both, and descriptors that were opened before anything was held: in a hold a path is not
/// looked up, since an unmount(2) that waits keeps a directory locked.
pub(crate) struct Nodes {
    pub(crate) vfsfreeze: PathBuf,
    pub(crate) ufssuspend: PathBuf,
    /// As the last check found it.
    way: Option<Way>,
    spare: Vec<Node>,
}

/// One held filesystem. Dropping it lets go, too.
pub(crate) enum Hold {
    Vfsfreeze(Node),
    Ufssuspend(OwnedFd),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vfsfreeze => "vfsfreeze",
            Self::Ufssuspend => "ufssuspend",
        })
    }
}

impl Nodes {
    pub(crate) fn new(vfsfreeze: PathBuf, ufssuspend: PathBuf) -> Self {
        Self { vfsfreeze, ufssuspend, way: None, spare: Vec::with_capacity(64) }
    }

    /// Which way this machine has: vfsfreeze if its node is there, and usable. Forgets what was opened.
    ///
    /// # Errors
    /// No node at all, or one that this process may not use. A module of another version is an error,
    /// too: it would not be used, and nothing would say so.
    pub(crate) fn find_way(&mut self) -> Result<Way, OsError> {
        self.spare.clear();
        let way = match open_vfsfreeze(&self.vfsfreeze)? {
            Some(_) => Way::Vfsfreeze,
            None => ufssuspend::open(&self.ufssuspend).map(|_| Way::Ufssuspend)?,
        };
        self.way = Some(way);
        Ok(way)
    }

    /// The way of the last check; without one it is found now.
    pub(crate) fn way(&mut self) -> Result<Way, OsError> {
        self.way.map_or_else(|| self.find_way(), Ok)
    }

    /// Descriptors that hold nothing yet.
    pub(crate) fn spare(&self) -> impl Iterator<Item = RawFd> {
        self.spare.iter().map(|node| node.as_fd().as_raw_fd())
    }

    /// Opens one more descriptor for a filesystem that will be held. Where that fails, the freeze tries
    /// anew and says so.
    pub(crate) fn prepare(&mut self) {
        if self.way == Some(Way::Vfsfreeze)
            && let Ok(Some(node)) = open_vfsfreeze(&self.vfsfreeze)
        {
            self.spare.push(node);
        }
    }

    /// Holds a filesystem, and waits for it until the step's deadline. `last`: the descriptor of the hold
    /// before this one. At the end of a process the kernel closes descriptors in ascending order, each close
    /// of ufssuspend waits for its resume, and they have to be released in freezing order: so this
    /// descriptor's number must be the higher one. A close of vfsfreeze waits for nothing.
    pub(crate) fn hold(&mut self, filesystem: FsId, step: &Step<'_>, last: Option<RawFd>) -> Result<Hold, OsError> {
        if self.way()? == Way::Vfsfreeze {
            let node = match self.spare.pop() {
                Some(node) => node,
                None => open_vfsfreeze(&self.vfsfreeze)?.ok_or_else(|| gone(&self.vfsfreeze))?,
            };
            let deadline = clock::now() + step.time_left();
            let limit = limit(step.expiry_ns().map(Monotonic::from_ns)).min(node.version()?.max_hold);
            vfsfreeze::hold_until(&node, filesystem, limit, Gate::Quiesced, deadline, || step.cancelled())?;
            return Ok(Hold::Vfsfreeze(node));
        }
        let descriptor = above(ufssuspend::open(&self.ufssuspend)?, last)?;
        // The last moment to turn back: once in the kernel, this call can't be interrupted.
        if step.cancelled() {
            return Err(OsError::new("suspend it: the freeze was given up before", Errno::ECANCELED));
        }
        ufssuspend::suspend(&descriptor, filesystem)?;
        Ok(Hold::Ufssuspend(descriptor))
    }
}

impl Hold {
    pub(crate) fn way(&self) -> Way {
        match self {
            Self::Vfsfreeze(_) => Way::Vfsfreeze,
            Self::Ufssuspend(_) => Way::Ufssuspend,
        }
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        match self {
            Self::Vfsfreeze(node) => node.as_fd().as_raw_fd(),
            Self::Ufssuspend(descriptor) => descriptor.as_raw_fd(),
        }
    }

    /// Lets go. With vfsfreeze it waits until writers go on, or until that deadline: the drop of the
    /// descriptor has let go all the same.
    ///
    /// # Errors
    /// It was not held until now: a sentence.
    pub(crate) fn let_go(self, until: Monotonic) -> Result<(), String> {
        match self {
            // The close at the end of this function resumes as well, without a word when there is nothing to resume; so ask first.
            Self::Ufssuspend(descriptor) => {
                ufssuspend::resume(&descriptor).map_err(|error| format!("was not suspended any more: {error}"))
            }
            Self::Vfsfreeze(node) => {
                let before = node.report().map_err(|error| error.to_string())?;
                node.release().map_err(|error| error.to_string())?;
                while clock::now() < until {
                    match node.report().map_err(|error| error.to_string())?.state {
                        State::Begun | State::Held => {
                            vfsfreeze::wait([&node], until).map_err(|error| error.to_string())?;
                        }
                        _ => break,
                    }
                }
                match (before.state, node.report().map_err(|error| error.to_string())?.state) {
                    (State::Held, State::Released | State::Begun | State::Held) => Ok(()),
                    _ => Err(format!(
                        "was let go by the kernel {:.1} s after it was held, because the hold had reached its time limit",
                        before.held.as_secs_f64()
                    )),
                }
            }
        }
    }
}

fn above(new: OwnedFd, last: Option<RawFd>) -> Result<OwnedFd, OsError> {
    match last {
        Some(last) if last > new.as_raw_fd() => descriptors::move_up(new, last + 1),
        _ => Ok(new),
    }
}

fn gone(node: &Path) -> OsError {
    OsError::new(format!("open {}: the module was unloaded since the last check", node.display()), Errno::ENOENT)
}

/// The node if the module is loaded.
fn open_vfsfreeze(path: &Path) -> Result<Option<Node>, OsError> {
    let node = match vfsfreeze::open(path) {
        Ok(node) => node,
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ENXIO)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let abi = node.version()?.abi;
    if abi == vfsfreeze::ABI {
        return Ok(Some(node));
    }
    let what = format!(
        "use {}: the module speaks version {abi} of its interface and this plugin version {}; install the two together",
        path.display(),
        vfsfreeze::ABI
    );
    Err(OsError::new(what, Errno::EPROTONOSUPPORT))
}

fn limit(expiry: Option<Monotonic>) -> Duration {
    expiry.map_or(WITHOUT_EXPIRY, |expiry| clock::now().until(expiry) + AFTER_EXPIRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(vfsfreeze: &str, ufssuspend: &str) -> Nodes {
        Nodes::new(vfsfreeze.into(), ufssuspend.into())
    }

    #[test]
    fn without_the_module_ufssuspend_is_the_way() {
        assert_eq!(nodes("/nonexistent/v", "/dev/null").find_way().unwrap(), Way::Ufssuspend);
        let error = nodes("/nonexistent/v", "/nonexistent/u").find_way().unwrap_err();
        assert!(error.to_string().contains("/nonexistent/u"), "{error}");
    }

    #[test]
    fn a_node_that_is_not_the_module_is_an_error_and_no_way_around_it() {
        let error = nodes("/dev/null", "/dev/null").find_way().unwrap_err();
        assert!(error.to_string().contains("vfsfreeze"), "{error}");
    }

    #[test]
    fn the_kernels_limit_lies_behind_the_daemons() {
        let expiry = clock::now() + Duration::from_secs(60);
        let limit = limit(Some(expiry));
        assert!(limit > Duration::from_secs(79) && limit <= Duration::from_secs(80), "{limit:?}");
        assert_eq!(super::limit(None), WITHOUT_EXPIRY);
    }

    #[test]
    fn the_descriptors_of_holds_ascend_whatever_was_closed_before() {
        let null = || ufssuspend::open(Path::new("/dev/null")).unwrap();
        let freed = [null(), null()];
        let mut held: Vec<OwnedFd> = Vec::new();
        for _ in 0..3 {
            let last = held.last().map(AsRawFd::as_raw_fd);
            held.push(above(null(), last).unwrap());
        }
        drop(freed);
        let last = above(null(), held.last().map(AsRawFd::as_raw_fd)).unwrap();
        assert!(held.iter().all(|held| held.as_raw_fd() < last.as_raw_fd()));
    }
}
