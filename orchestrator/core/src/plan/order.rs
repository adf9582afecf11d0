//! In which order are filesystems frozen? Later mounts first, since they lie on earlier ones; and what lives in a file before the filesystem
//! that holds the file: suspending it still writes there. One filesystem mounted twice is frozen once.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use hv_vss_types::{FsId, Mount};

use super::{Judged, Verdict};
use crate::cycle::WorkerId;

/// The filesystems to freeze, first to last.
pub(super) fn freeze_order(judged: &[Judged]) -> Vec<(WorkerId, &Mount)> {
    let mut seen = HashSet::new();
    let mut left: Vec<(WorkerId, &Mount)> = Vec::new();
    for one in judged {
        if let Verdict::Freeze(worker) = one.verdict
            && seen.insert(one.mount.fsid)
        {
            left.push((worker, &one.mount));
        }
    }
    left.reverse();

    // Which of them holds each one's backing file, and how many backing files of those still left each of them holds.
    let places: HashMap<FsId, usize> = left.iter().enumerate().map(|(at, (_, mount))| (mount.fsid, at)).collect();
    let mount_points = MountPoints::of(judged);
    let holder = |at: usize| {
        let file = left[at].1.backing.as_deref()?;
        places.get(&mount_points.holder(file)?).copied().filter(|holder| *holder != at)
    };
    let holders: Vec<Option<usize>> = (0..left.len()).map(holder).collect();
    let mut files = vec![0_usize; left.len()];
    holders.iter().flatten().for_each(|holder| files[*holder] += 1);

    let mut order = Vec::with_capacity(left.len());
    let mut taken = vec![false; left.len()];
    while let Some(first) = taken.iter().position(|taken| !taken) {
        // Files can't hold each other in a circle; should a mount table claim it, mount order decides.
        let next = (first..left.len()).find(|at| !taken[*at] && files[*at] == 0).unwrap_or(first);
        taken[next] = true;
        holders[next].into_iter().for_each(|holder| files[holder] -= 1);
        order.push(left[next]);
    }
    order
}

/// Where filesystems are mounted; of several on one directory the latest.
struct MountPoints<'a>(HashMap<&'a Path, FsId>);

impl<'a> MountPoints<'a> {
    fn of(judged: &'a [Judged]) -> Self {
        Self(judged.iter().map(|one| (Path::new(&one.mount.on), one.mount.fsid)).collect())
    }

    /// The filesystem on which a file lies: that of the longest mount point which is part of its path.
    fn holder(&self, file: &str) -> Option<FsId> {
        Path::new(file).ancestors().find_map(|above| self.0.get(above).copied())
    }
}
