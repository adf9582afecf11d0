//! Freezes UFS, one descriptor for each filesystem: through our module `vfsfreeze` where it is loaded, else
//! through `/dev/ufssuspend`.
//!
//! The kernel's rules (FreeBSD: sys/ufs/ffs/ffs_suspend.c) shape this plugin: a descriptor holds one
//! filesystem; the caller of ufssuspend has one thread; and a holder owns no descriptor of a disk file, or
//! its death would not let go. In which order filesystems are frozen is the orchestrator's plan; each
//! freeze here is about one.

mod fitness;
mod verdict;
mod way;

use std::os::fd::RawFd;

use hv_vss_platform::mounts::FsId;
use hv_vss_platform::{clock, vfsfreeze};
use hv_vss_plugin::{About, Claim, Failure, Level, Mount, Opening, Plugin, Step, export_plugin};

use way::{Hold, Nodes, Way};

/// The device of UFSSUSPEND as FreeBSD names it.
const DEVICE: &str = "/dev/ufssuspend";

/// The plugin and what it holds.
pub struct Ufs {
    nodes: Nodes,
    held: Vec<Held>,
}

/// One held filesystem.
struct Held {
    filesystem: FsId,
    on: String,
    hold: Hold,
}

impl Plugin for Ufs {
    const ABOUT: About =
        About::filesystem("ufs", env!("CARGO_PKG_VERSION"), "Holds UFS, one descriptor for each filesystem")
            .with_number(50);

    fn open(opening: Opening<'_>) -> Result<Self, Failure> {
        opening.config.refuse_unknown(&["device", "vfsfreeze"])?;
        let ufssuspend = opening.config.get("device").unwrap_or(DEVICE).into();
        let nodes = Nodes::new(opening.config.get("vfsfreeze").unwrap_or(vfsfreeze::NODE).into(), ufssuspend);
        // Room for more filesystems than a machine has, so that no freeze allocates for this list.
        Ok(Self { nodes, held: Vec::with_capacity(64) })
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        // Opened, and closed again at once: it holds nothing.
        let way = self.nodes.find_way().map_err(|error| {
            Failure::Refused(format!(
                "no UFS can be frozen: {error}. The device of UFSSUSPEND belongs to every FreeBSD kernel with UFS, and only root outside of a jail may use it or vfsfreeze"
            ))
        })?;
        self.is_fit(way)?;
        step.log(Level::Info, &format!("UFS is held by {way}"));
        Ok(())
    }

    fn claim(&mut self, _step: &Step<'_>, mount: &Mount<'_>) -> Claim {
        let claim = verdict::on(mount);
        if claim == Claim::Freeze {
            self.nodes.prepare();
        }
        claim
    }

    fn freeze(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        let mount = only_mount(step)?;
        if let Some(held) = self.held.iter().find(|held| held.filesystem.0 == mount.fsid) {
            return Err(Failure::Refused(format!("{} is frozen already, as {}", mount.on, held.on)));
        }
        if let Claim::Veto(why) = verdict::on(&mount) {
            return Err(Failure::Refused(why));
        }
        let cannot =
            |error: hv_vss_platform::OsError| Failure::Refused(format!("{} can't be frozen: {error}", mount.on));
        let way = self.nodes.way().map_err(cannot)?;
        self.is_fit(way)?;
        if step.cancelled() {
            return Err(Failure::Refused(format!("given up before {} was frozen", mount.on)));
        }
        let filesystem = FsId(mount.fsid);
        let last = self.held.last().map(|last| last.hold.descriptor());
        let hold = self.nodes.hold(filesystem, step, last).map_err(cannot)?;
        step.log(Level::Debug, &format!("{} is held by {}", mount.on, hold.way()));
        self.held.push(Held { filesystem, on: mount.on.to_owned(), hold });
        Ok(())
    }

    fn thaw(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        let mount = only_mount(step)?;
        let Some(at) = self.held.iter().position(|held| held.filesystem.0 == mount.fsid) else { return Ok(()) };
        let Held { on, hold, .. } = self.held.remove(at);
        if let Err(why) = hold.let_go(clock::now() + step.time_left()) {
            step.lost(&format!("{on} {why}"));
        }
        Ok(())
    }
}

impl Ufs {
    fn is_fit(&self, way: Way) -> Result<(), Failure> {
        let holding: Vec<RawFd> =
            self.held.iter().map(|held| held.hold.descriptor()).chain(self.nodes.spare()).collect();
        fitness::to_hold(way, &holding)
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
