//! Where a measurement takes place: a guest with its disks, its daemon and its host, and beside it the peers' jails over the same disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hv_vss_stories::{Guest, Kind, Mount, Stage};
use nix::mount::{MsFlags, mount};

use crate::contender::{self, qemu};
use crate::fetch::Peers;
use crate::guard::Guard;
use crate::jail::{Disk, Jail};
use crate::patience;
use crate::vmbus::Vmbus;

/// A host's patience: what the driver in base allows.
const LIMIT: Duration = Duration::from_secs(15);
/// Enough for 128 disks, and for 8 that are full of data.
const ROOM: &str = "mode=0755,size=8g";
/// Kilobytes that are dirty somewhere on this machine while it rests.
const CALM_KB: u64 = 4096;

/// The place. Dropped from the top: the peers' things first.
pub(crate) struct Arena {
    vmbus: Arc<Vmbus>,
    pub(crate) guest: Guest,
    disks: Vec<Disk>,
    table: Vec<Mount>,
    directory: PathBuf,
    jails: usize,
    _guard: Guard,
}

/// An empty stage, with the times that a user has.
pub(crate) fn stage() -> Stage {
    let stage = Stage::take(Kind::Ours).expect("a machine that can freeze: root, /dev/fuse, loop devices");
    let stage = stage.without_writers().with_real_times().limit(LIMIT);
    let nothing: Option<&str> = None;
    mount(nothing, &stage.scratch(""), nothing, MsFlags::MS_REMOUNT, Some(ROOM))
        .unwrap_or_else(|errno| panic!("can't have a larger tmpfs: {errno}"));
    stage
}

/// The disks' names.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("d{number:03}")).collect()
}

impl Arena {
    /// With so many disks, and a daemon that runs.
    pub(crate) fn with_disks(count: usize) -> Self {
        Self::on(names(count).iter().fold(stage(), |stage, name| stage.disk(name)), &names(count))
    }

    /// On a stage that has these disks.
    pub(crate) fn on(stage: Stage, names: &[String]) -> Self {
        let directory = stage.scratch("");
        let table: Vec<Mount> = names.iter().map(|name| stage.table_line(name)).collect();
        let disks: Vec<Disk> = names
            .iter()
            .zip(&table)
            .map(|(name, line)| Disk { name: name.clone(), on: line.on.clone().into() })
            .collect();
        let vmbus = Arc::new(Vmbus::mount(&directory.join("vmbus")));
        let guard = Guard::over(disks.iter().map(|disk| disk.on.as_path()));
        let guest = stage.start();
        Self { vmbus, guest, disks, table, directory, jails: 0, _guard: guard }
    }

    /// The daemon's mount table is the first so many disks from now on.
    pub(crate) fn use_first(&mut self, count: usize) {
        let lines = self.table[..count].to_vec();
        self.guest.table_changes(|table| *table = lines);
    }

    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.disks.iter().map(|disk| disk.on.as_path())
    }

    pub(crate) fn vmbus(&self) -> Arc<Vmbus> {
        Arc::clone(&self.vmbus)
    }

    /// A jail with the peers and the bare loop over the first so many disks.
    pub(crate) fn jail(&mut self, peers: &Peers, count: usize) -> Jail {
        self.jails += 1;
        let root = self.directory.join(format!("jail{}", self.jails));
        let bench = std::env::current_exe().expect("every process has a program");
        let programs = [
            (peers.qemu(), qemu::PROGRAM),
            (peers.linux(), contender::linux::PROGRAM),
            (bench, contender::bare::PROGRAM),
            ("/bin/dash".into(), "/bin/sh"),
            ("/bin/sleep".into(), "/bin/sleep"),
            ("/bin/date".into(), "/bin/date"),
            ("/usr/bin/dirname".into(), "/usr/bin/dirname"),
        ];
        let programs: Vec<(&Path, &str)> =
            programs.iter().map(|(from, to): &(PathBuf, _)| (from.as_path(), *to)).collect();
        let mut jail = Jail::build(&root, &self.disks[..count], &programs);
        jail.bind(&self.directory.join("vmbus"), "dev/vmbus");
        jail
    }

    /// Until nothing is dirty that somebody else would be made to wait for.
    pub(crate) fn calm_down(&self) {
        nix::unistd::sync();
        let mut tries = 0;
        patience::until("a machine at rest", || {
            tries += 1;
            // On a machine with other work it never is; then that work is in the figures of all contenders.
            dirty_kb() < CALM_KB || tries > 100
        });
    }
}

/// What is dirty or being written on the whole machine.
pub(crate) fn dirty_kb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    field("Dirty:") + field("Writeback:")
}
