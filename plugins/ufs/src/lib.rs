//! Freezes UFS through `/dev/ufssuspend`, one descriptor for each filesystem.
//!
//! The kernel's rules (FreeBSD: sys/ufs/ffs/ffs_suspend.c) shape this plugin: a descriptor holds one filesystem; the caller has one thread; and a
//! holder owns no descriptor of a disk file, or its death would not let go. In which order filesystems are suspended is the
//! orchestrator's plan; each freeze here is about one.

mod fitness;
mod verdict;

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use hv_vss_platform::mounts::FsId;
use hv_vss_platform::{descriptors, ufssuspend};
use hv_vss_plugin::{About, Claim, Failure, Mount, Opening, Plugin, Step, export_plugin};

/// The device as FreeBSD names it.
const DEVICE: &str = "/dev/ufssuspend";

/// The plugin and what it holds.
pub struct Ufs {
    device: PathBuf,
    held: Vec<Suspension>,
}

/// One suspended filesystem. Dropping it lets go, too: the kernel resumes at the last close.
struct Suspension {
    filesystem: FsId,
    on: String,
    descriptor: OwnedFd,
}

impl Plugin for Ufs {
    const ABOUT: About =
        About::filesystem("ufs", env!("CARGO_PKG_VERSION"), "Suspends UFS, one descriptor for each filesystem")
            .with_number(50);

    fn open(opening: Opening<'_>) -> Result<Self, Failure> {
        opening.config.refuse_unknown(&["device"])?;
        let device = PathBuf::from(opening.config.get("device").unwrap_or(DEVICE));
        // Room for more filesystems than a machine has, so that no freeze allocates for this list.
        Ok(Self { device, held: Vec::with_capacity(64) })
    }

    fn check(&mut self, _step: &Step<'_>) -> Result<(), Failure> {
        self.is_fit()?;
        // Opened, and closed again at once: it holds nothing.
        match ufssuspend::open(&self.device) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::Refused(format!(
                "no UFS can be frozen: {error}. The device belongs to every FreeBSD kernel with UFS, and only root outside of a jail may use it"
            ))),
        }
    }

    fn claim(&mut self, _step: &Step<'_>, mount: &Mount<'_>) -> Claim {
        verdict::on(mount)
    }

    fn freeze(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        let mount = only_mount(step)?;
        if let Some(held) = self.held.iter().find(|held| held.filesystem.0 == mount.fsid) {
            return Err(Failure::Refused(format!("{} is frozen already, as {}", mount.on, held.on)));
        }
        if let Claim::Veto(why) = verdict::on(&mount) {
            return Err(Failure::Refused(why));
        }
        self.is_fit()?;
        let cannot =
            |error: hv_vss_platform::OsError| Failure::Refused(format!("{} can't be frozen: {error}", mount.on));
        let descriptor = ufssuspend::open(&self.device).and_then(|new| self.above_the_others(new)).map_err(cannot)?;
        let suspension = Suspension { filesystem: FsId(mount.fsid), on: mount.on.to_owned(), descriptor };
        // The last moment to turn back: once in the kernel, the call can't be interrupted.
        if step.cancelled() {
            return Err(Failure::Refused(format!("given up before {} was frozen", mount.on)));
        }
        ufssuspend::suspend(&suspension.descriptor, suspension.filesystem).map_err(cannot)?;
        self.held.push(suspension);
        Ok(())
    }

    fn thaw(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        let mount = only_mount(step)?;
        let Some(at) = self.held.iter().position(|held| held.filesystem.0 == mount.fsid) else { return Ok(()) };
        let suspension = self.held.remove(at);
        // The close at the end of this function resumes as well, without a word when there is nothing to resume; so ask first.
        if let Err(error) = ufssuspend::resume(&suspension.descriptor) {
            step.lost(&format!("{} was not suspended any more: {error}", suspension.on));
        }
        Ok(())
    }
}

impl Ufs {
    /// At the end of a process the kernel closes its descriptors in ascending order, and filesystems have to be released in freezing order: this
    /// one's number must be above those that hold already.
    fn above_the_others(&self, new: OwnedFd) -> hv_vss_platform::Result<OwnedFd> {
        match self.held.last().map(|last| last.descriptor.as_raw_fd()) {
            Some(last) if last > new.as_raw_fd() => descriptors::move_up(new, last + 1),
            _ => Ok(new),
        }
    }

    fn is_fit(&self) -> Result<(), Failure> {
        let holding: Vec<RawFd> = self.held.iter().map(|held| held.descriptor.as_raw_fd()).collect();
        fitness::to_suspend(&holding)
    }
}

/// The orchestrator names one filesystem in each call; a step without one is its mistake, and must not become a success.
fn only_mount<'a>(step: &Step<'a>) -> Result<Mount<'a>, Failure> {
    let mut mounts = step.mounts();
    match (mounts.next(), mounts.next()) {
        (Some(mount), None) => Ok(mount),
        _ => Err(Failure::Broken("called for no filesystem, or for several at once".to_owned())),
    }
}

export_plugin!(Ufs);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_of_holds_ascend_whatever_was_closed_before() {
        let null = || ufssuspend::open(std::path::Path::new("/dev/null")).unwrap();
        let mut ufs = Ufs { device: PathBuf::new(), held: Vec::new() };
        let freed = [null(), null()];
        for number in 0..3 {
            let descriptor = ufs.above_the_others(null()).unwrap();
            ufs.held.push(Suspension { filesystem: FsId([number; 8]), on: String::new(), descriptor });
        }
        drop(freed);
        let last = ufs.above_the_others(null()).unwrap();
        assert!(ufs.held.iter().all(|held| held.descriptor.as_raw_fd() < last.as_raw_fd()));
    }
}
