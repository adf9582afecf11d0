//! The ground the tests stand on: a mount namespace of their own, a tmpfs in it, and real ext4 filesystems on loop images.
//!
//! Nothing outside can be frozen by mistake: the namespace is private to the calling thread and its children, and whatever is mounted here
//! is thawed and unmounted when the [`Ground`] is dropped, on a panic too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use hv_vss_platform::mounts::{FsId, Mount};
use hv_vss_testbed::{Need, can_run};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::suspend::thaw_by_force;

/// What a ground needs.
pub const NEEDS: &[Need] = &[Need::Root, Need::Fuse, Need::Loop, Need::Ext4, Need::Mount];
/// How large an image is: enough for a journal and the daemon's programs with all their debug information. Most of it is never touched, and
/// takes no memory.
const IMAGE_BYTES: u64 = 128 << 20;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A private mount namespace with a tmpfs and what was mounted on it.
#[derive(Debug)]
pub struct Ground {
    directory: PathBuf,
    disks: Vec<Disk>,
    before: File,
}

/// A real filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its name in the test.
    pub name: String,
    /// Where it is mounted.
    pub on: PathBuf,
    /// The file it is on.
    pub image: PathBuf,
    /// The id the mount table gives it.
    pub fsid: FsId,
}

/// Why this machine can't run such tests; none if it can.
#[must_use]
pub fn missing() -> Option<String> {
    hv_vss_testbed::missing(NEEDS)
}

impl Ground {
    /// Takes a namespace for this thread. None where the test is skipped, since one of [`NEEDS`] is missing.
    ///
    /// # Panics
    /// Where nothing may be skipped, and when the set-up itself fails.
    #[must_use]
    pub fn take() -> Option<Self> {
        can_run(NEEDS).then(|| Self::set_up().unwrap_or_else(|why| panic!("can't set up a place for the test: {why}")))
    }

    fn set_up() -> Result<Self, String> {
        let failed = |what: &'static str| move |error: nix::Error| format!("{what}: {error}");
        let before = File::open("/proc/thread-self/ns/mnt").map_err(|error| format!("/proc: {error}"))?;
        unshare(CloneFlags::CLONE_NEWNS).map_err(failed("a mount namespace"))?;
        let nothing: Option<&str> = None;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
            .map_err(failed("making it private"))?;
        let name = format!("hv-vss-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let ground = Self { directory, disks: Vec::new(), before };
        mount(Some("tmpfs"), &ground.directory, Some("tmpfs"), MsFlags::empty(), Some("mode=0755,size=1g"))
            .map_err(failed("a tmpfs"))?;
        Ok(ground)
    }

    /// The tmpfs: never frozen.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A directory on the tmpfs, made if need be.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn subdirectory(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
        path
    }

    /// Makes an ext4 filesystem on the image file `image` and mounts it on `on`; both are made as need be. An image that is there keeps its size, if it is
    /// large enough.
    ///
    /// # Panics
    /// When that fails.
    pub fn disk(&mut self, name: &str, image: &Path, on: &Path) -> Disk {
        let number = u8::try_from(self.disks.len() + 1).expect("a test has few disks");
        let make = |path: &Path| fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        make(on);
        image.parent().into_iter().for_each(make);
        let file = File::options().create(true).truncate(false).write(true).open(image);
        let file = file.unwrap_or_else(|error| panic!("can't make {}: {error}", image.display()));
        if file.metadata().is_ok_and(|about| about.len() < IMAGE_BYTES) {
            file.set_len(IMAGE_BYTES).unwrap_or_else(|error| panic!("can't size {}: {error}", image.display()));
        }
        drop(file);
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-J", "size=4", "-E", "nodiscard"]).arg(image));
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(on));
        let disk = Disk {
            name: name.to_owned(),
            on: on.to_owned(),
            image: image.to_owned(),
            fsid: FsId([0xd1, 0x5c, 0, 0, 0, 0, 0, number]),
        };
        self.disks.push(disk.clone());
        disk
    }

    /// Thaws every disk, whoever froze it. All at once, since the thaw of one writes to the image file that lies on another, and a freeze that
    /// was asked for in the wrong order waits for the thaw of the other.
    pub fn thaw_all(&self) {
        std::thread::scope(|scope| {
            self.disks.iter().for_each(|disk| drop(scope.spawn(|| thaw_by_force(&disk.on))));
        });
    }

    /// What is mounted, oldest first.
    #[must_use]
    pub fn disks(&self) -> &[Disk] {
        &self.disks
    }
}

impl Disk {
    /// The line a FreeBSD mount table would have for it.
    #[must_use]
    pub fn as_ufs(&self) -> Mount {
        Mount {
            fsid: self.fsid,
            fstype: "ufs".into(),
            on: self.on.display().to_string(),
            from: format!("/dev/md-{}", self.name),
            read_only: false,
            backing: Some(self.image.display().to_string()),
            swap: None,
        }
    }
}

/// Writes a mount table file.
///
/// # Panics
/// When that fails.
pub fn write_mount_table(path: &Path, mounts: &[Mount]) {
    let lines: Vec<String> =
        mounts.iter().map(|mount| serde_json::to_string(mount).expect("a mount is JSON")).collect();
    let text = lines.join("\n") + "\n";
    // Renamed into place: a reader sees the old one or the new one, never half of it.
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .unwrap_or_else(|error| panic!("can't write {}: {error}", path.display()));
}

fn run(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("can't run {command:?} (packages e2fsprogs, mount): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
}

impl Drop for Ground {
    fn drop(&mut self) {
        // All of them first: unmounting one waits for the image's filesystem, and that may be another of these.
        self.thaw_all();
        for disk in self.disks.iter().rev() {
            let _ = umount2(&disk.on, MntFlags::MNT_DETACH);
        }
        let _ = umount2(&self.directory, MntFlags::MNT_DETACH);
        // Back to where we were: the harness may run the next test on this thread.
        let _ = setns(&self.before, CloneFlags::CLONE_NEWNS);
        let _ = fs::remove_dir(&self.directory);
    }
}
