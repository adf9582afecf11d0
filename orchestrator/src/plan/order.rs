//! In which order are filesystems frozen? Later mounts first, since they lie on earlier ones; and what lives in a file before the filesystem
//! that holds the file: suspending it still writes there. One filesystem mounted twice is frozen once.

use std::path::Path;

use hv_vss_platform::mounts::{FsId, Mount};

use super::{Judged, Verdict};
use crate::cycle::HostId;

/// The filesystems to freeze, first to last.
pub(super) fn freeze_order(judged: &[Judged]) -> Vec<(HostId, &Mount)> {
    let mut left: Vec<(HostId, &Mount)> = Vec::new();
    for one in judged {
        if let Verdict::Freeze(host) = one.verdict
            && !left.iter().any(|(_, mount)| mount.fsid == one.mount.fsid)
        {
            left.push((host, &one.mount));
        }
    }
    left.reverse();

    let table: Vec<&Mount> = judged.iter().map(|one| &one.mount).collect();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let holds_a_backing_file = |candidate: &Mount| {
            left.iter().any(|(_, other)| other.fsid != candidate.fsid && lies_on(other, &table) == Some(candidate.fsid))
        };
        // Files can't hold each other in a circle; should a mount table claim it, mount order decides.
        let next = left.iter().position(|(_, mount)| !holds_a_backing_file(mount)).unwrap_or(0);
        order.push(left.remove(next));
    }
    order
}

/// The filesystem on which the backing file of `mount` lies, if it has one: that of the longest mount point which is part of its path, and of
/// those the latest.
fn lies_on(mount: &Mount, table: &[&Mount]) -> Option<FsId> {
    let file = Path::new(mount.backing.as_ref()?);
    let holds = table.iter().filter(|other| file.starts_with(&other.on));
    holds.max_by_key(|other| Path::new(&other.on).components().count()).map(|other| other.fsid)
}
