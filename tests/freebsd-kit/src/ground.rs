//! Two small UFS on md(4): `outer` on an image in the work directory, `inner` on an image that lies on `outer`. Taken away again at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_platform::mounts::{self, FsId, Mount, Source};

/// What the claims are tried on.
pub(crate) struct Ground {
    /// The first filesystem.
    pub(crate) outer: Disk,
    /// The one whose image lies on the first.
    pub(crate) inner: Disk,
}

/// One mounted image.
pub(crate) struct Disk {
    /// Where it is mounted.
    pub(crate) on: PathBuf,
    /// The kernel's id of it.
    pub(crate) id: FsId,
    /// The file behind it.
    pub(crate) image: PathBuf,
    device: String,
}

impl Ground {
    /// Makes and mounts both.
    pub(crate) fn prepare(work: &Path) -> Result<Self, String> {
        fs::create_dir_all(work).map_err(|error| format!("{}: {error}", work.display()))?;
        let work = work.canonicalize().map_err(|error| format!("{}: {error}", work.display()))?;
        let outer = Disk::make(work.join("outer.img"), work.join("outer"), "48m")?;
        let inner = Disk::make(outer.on.join("inner.img"), work.join("inner"), "12m")?;
        Ok(Self { outer, inner })
    }
}

impl Disk {
    fn make(image: PathBuf, on: PathBuf, size: &str) -> Result<Self, String> {
        run("truncate", &["-s", size, &text(&image)])?;
        fs::create_dir_all(&on).map_err(|error| format!("{}: {error}", on.display()))?;
        let device = format!("/dev/{}", run("mdconfig", &["-a", "-t", "vnode", "-f", &text(&image)])?);
        run("newfs", &["-U", &device])?;
        run("mount", &["-t", "ufs", &device, &text(&on)])?;
        let id = mount_at(&on).ok_or_else(|| format!("{} is mounted, but not in the mount table", on.display()))?.fsid;
        Ok(Self { on, id, image, device })
    }

    /// Its line in the kernel's mount table.
    pub(crate) fn mount(&self) -> Option<Mount> {
        mount_at(&self.on)
    }

    /// A file on it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.on.join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let gone = run("umount", &["-f", &text(&self.on)])
            .and_then(|_| run("mdconfig", &["-d", "-u", self.device.trim_start_matches("/dev/")]));
        if let Err(reason) = gone {
            println!("note: {} stays mounted: {reason}", self.on.display());
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Fields are dropped in their order, and outer can't go before what lies on it.
        std::mem::swap(&mut self.outer, &mut self.inner);
    }
}

/// A tmpfs, which goes when this is dropped.
pub(crate) struct Memory(pub(crate) FsId, PathBuf);

impl Memory {
    pub(crate) fn mounted_on(on: &Path) -> Result<Self, String> {
        fs::create_dir_all(on).map_err(|error| format!("{}: {error}", on.display()))?;
        run("mount", &["-t", "tmpfs", "tmpfs", &text(on)])?;
        let mount = mount_at(on).ok_or_else(|| format!("{} is mounted, but not in the mount table", on.display()))?;
        Ok(Self(mount.fsid, on.to_owned()))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Err(reason) = run("umount", &[&text(&self.1)]) {
            println!("note: {} stays mounted: {reason}", self.1.display());
        }
    }
}

fn mount_at(on: &Path) -> Option<Mount> {
    let mounts = mounts::read(&Source::Kernel).ok()?;
    mounts.into_iter().rev().find(|mount| Path::new(&mount.on) == on)
}

/// Runs a program of the base system and returns its first word.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().to_owned())
}

/// A path as an argument; ours are plain.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
