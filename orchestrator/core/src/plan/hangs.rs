//! Plans that hang a FreeBSD kernel whatever the order: they are refused, and no exemption helps.

use std::path::Path;

use hv_vss_types::{Mount, holder};

use super::{Judged, Verdict};

/// A sentence for each reason why these mounts can't be suspended together.
pub(super) fn reasons(judged: &[Judged]) -> Vec<String> {
    let mounts: Vec<Mount> = judged.iter().map(|one| one.mount.clone()).collect();
    let frozen: Vec<&Mount> =
        judged.iter().filter(|one| matches!(one.verdict, Verdict::Freeze(_))).map(|one| &one.mount).collect();
    let holds = |path: &str| holder(&mounts, path).filter(|mount| frozen.iter().any(|other| other.fsid == mount.fsid));
    let mut reasons = shared_images(&frozen, holds);
    reasons.extend(mounts.iter().filter_map(|mount| union(mount, &mounts, &frozen)));
    reasons
}

/// The writers of the first stop the one thread that md(4) has for the disk. The resume of the second needs that thread while it has the lock
/// of every resume.
fn shared_images<'a>(frozen: &[&Mount], holds: impl Fn(&str) -> Option<&'a Mount>) -> Vec<String> {
    let mut reasons = Vec::new();
    for (at, one) in frozen.iter().enumerate() {
        let Some(file) = one.backing.as_deref() else { continue };
        let earlier = |other: &&&Mount| other.fsid != one.fsid && other.backing.as_deref() == Some(file);
        if let (Some(other), Some(below)) = (frozen[..at].iter().find(earlier), holds(file)) {
            reasons.push(format!(
                "{} and {} are on one md(4) disk, whose file {file} lies on {}: the kernel can hang for good when all three are \
                 resumed. Give each an image of its own, or unmount one of them for the backup",
                other.on, one.on, below.on
            ));
        }
    }
    reasons
}

/// unionfs locks the vnodes of both its layers. Over suspended UFS it hangs in one order or in the other (FreeBSD 14, seen).
fn union(mount: &Mount, mounts: &[Mount], frozen: &[&Mount]) -> Option<String> {
    if mount.fstype != "unionfs" {
        return None;
    }
    let others: Vec<Mount> = mounts.iter().filter(|other| other.fsid != mount.fsid).cloned().collect();
    // "<above>:/upper", or "<below>:/lower".
    let named = mount.from.split_once(":/").map(|(_, path)| format!("/{path}"));
    let layers = [Some(mount.on.clone()), named];
    let below = layers.iter().flatten().find_map(|layer| {
        let below = holder(&others, Path::new(layer).to_str()?)?;
        frozen.iter().any(|other| other.fsid == below.fsid).then_some(below)
    })?;
    Some(format!(
        "the unionfs on {} lies over {}, and the kernel can hang for good when filesystems below a unionfs are suspended: unmount it for \
         the backup. No exemption helps",
        mount.on, below.on
    ))
}
