//! FITHAW beside the resumes: each has a thread of its own.
//!
//! FreeBSD's UFSRESUME writes nothing that it waits for. Linux's FITHAW does: that of an image writes to the filesystem that holds the image
//! file, and waits while that one is frozen. So the resume of an image is answered at once, and its FITHAW ends when nothing holds it up any
//! more.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use hv_vss_platform::mounts::FsId;

use super::freezer::Frozen;

/// A FITHAW in work.
struct Thaw {
    fsid: FsId,
    /// The filesystem that holds the image file, if it is one that can be suspended.
    lies_on: Option<FsId>,
    thread: JoinHandle<()>,
}

/// The FITHAWs that have not been waited for.
#[derive(Default)]
pub(super) struct Thaws(Mutex<Vec<Thaw>>);

impl Thaws {
    /// Begins one, and waits for each that nothing holds up now. `held`: what is still suspended.
    pub(super) fn begin(&self, fsid: FsId, lies_on: Option<FsId>, frozen: Frozen, held: &BTreeSet<FsId>) {
        let thread = std::thread::spawn(move || drop(frozen));
        let mut thaws = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        thaws.push(Thaw { fsid, lies_on, thread });
        while let Some(at) = free(&thaws, held) {
            join(thaws.swap_remove(at));
        }
    }

    /// Waits for the FITHAW of this filesystem, before it is frozen anew.
    pub(super) fn finish(&self, fsid: FsId) {
        self.join_those(|thaw| thaw.fsid == fsid);
    }

    /// Waits for all, once everything is let go.
    pub(super) fn finish_all(&self) {
        self.join_those(|_| true);
    }

    fn join_those(&self, which: impl Fn(&Thaw) -> bool) {
        let mut thaws = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (joined, kept) = std::mem::take(&mut *thaws).into_iter().partition(which);
        *thaws = kept;
        joined.into_iter().for_each(join);
    }
}

/// One that waits for no filesystem which is suspended, or whose own FITHAW is in work.
fn free(thaws: &[Thaw], held: &BTreeSet<FsId>) -> Option<usize> {
    let waits_for = |fsid: FsId| held.contains(&fsid) || thaws.iter().any(|other| other.fsid == fsid);
    thaws.iter().position(|thaw| !thaw.lies_on.is_some_and(waits_for))
}

fn join(thaw: Thaw) {
    // A panic in it has been printed; there is nothing else to do about it.
    let _ = thaw.thread.join();
}
