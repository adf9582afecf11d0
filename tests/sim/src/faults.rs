//! What goes wrong with a filesystem when a test asks for it, in either way of freezing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hv_vss_platform::mounts::FsId;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// In UFSSUSPEND, after all checks; with vfsfreeze in the thread, before it freezes.
    Suspend,
    /// In UFSRESUME or the close that resumes; with vfsfreeze in the thread, before it thaws.
    Resume,
}

/// What goes wrong with a filesystem when a test asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The call doesn't return until the fault is taken back. UFSSUSPEND's global lock stays held.
    Hang,
    /// It takes this many milliseconds longer.
    DelayMs(u64),
    /// It fails with this errno.
    Errno(i32),
}

#[derive(Default)]
struct Board {
    of: BTreeMap<(FsId, Moment), Fault>,
    /// A umount(8) of it has begun. While it is suspended that waits, with the vnode of the directory it is mounted on locked.
    unmounting: BTreeSet<FsId>,
    /// Nothing hangs any more: the simulator is ending.
    ending: bool,
    /// Which calls hang in this very moment.
    hanging: Vec<(FsId, Moment)>,
}

/// The faults of one machine.
#[derive(Default)]
pub(crate) struct Faults {
    board: Mutex<Board>,
    changed: Condvar,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits or fails as the test asked for this call.
    pub(crate) fn strike(&self, fsid: FsId, moment: Moment) -> Result<(), Errno> {
        let mut board = self.lock();
        loop {
            match board.of.get(&(fsid, moment)).copied().filter(|_| !board.ending) {
                None => return Ok(()),
                Some(Fault::Errno(errno)) => return Err(Errno::from_raw(errno)),
                Some(Fault::DelayMs(ms)) => {
                    drop(board);
                    std::thread::sleep(Duration::from_millis(ms));
                    return Ok(());
                }
                Some(Fault::Hang) => {
                    board.hanging.push((fsid, moment));
                    board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
                    if let Some(at) = board.hanging.iter().position(|call| *call == (fsid, moment)) {
                        board.hanging.remove(at);
                    }
                }
            }
        }
    }

    /// Hangs until the end of the simulator if one of these is being unmounted.
    pub(crate) fn hang_behind_an_unmount(&self, of: &[FsId], call: (FsId, Moment)) -> Result<(), Errno> {
        let mut board = self.lock();
        if !of.iter().any(|fsid| board.unmounting.contains(fsid)) {
            return Ok(());
        }
        board.hanging.push(call);
        while !board.ending {
            board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
        board.hanging.clear();
        Err(Errno::ENXIO)
    }

    pub(crate) fn set_unmounting(&self, fsid: FsId) {
        self.lock().unmounting.insert(fsid);
    }

    pub(crate) fn set(&self, fsid: FsId, moment: Moment, fault: Option<Fault>) {
        let mut board = self.lock();
        match fault {
            Some(fault) => board.of.insert((fsid, moment), fault),
            None => board.of.remove(&(fsid, moment)),
        };
        self.changed.notify_all();
    }

    /// A call that hangs; the first of several.
    pub(crate) fn hanging(&self) -> Option<(FsId, Moment)> {
        self.lock().hanging.first().copied()
    }

    /// From here on nothing goes wrong, and what hangs goes on.
    pub(crate) fn end(&self) {
        self.lock().ending = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.lock().ending
    }
}
