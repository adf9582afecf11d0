//! A copy of a disk's image as a host's backup takes it, what ext4's own tools say of it, and the copy mounted as by a machine that is started from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_stories::Guest;
use nix::mount::{MntFlags, umount2};

use crate::{run, text};

/// A copied image. It is unmounted and removed when it is dropped.
pub struct Copy {
    image: PathBuf,
    on: Option<PathBuf>,
}

impl Copy {
    /// Copies a disk's image from below, without the guest. Holes stay holes.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn take(guest: &Guest, disk: &str, name: &str) -> Self {
        let image = guest.stage().scratch(&format!("{disk}.{name}"));
        run(Command::new("cp").arg("--sparse=always").arg(guest.image(disk)).arg(&image));
        Self { image, on: None }
    }

    /// Whether its journal would have to be replayed before it can be used.
    ///
    /// # Panics
    /// When dumpe2fs can't read it.
    #[must_use]
    #[track_caller]
    pub fn needs_recovery(&self) -> bool {
        let said = run(Command::new("dumpe2fs").arg("-h").arg(&self.image));
        let features = said.lines().find(|line| line.starts_with("Filesystem features:"));
        features.unwrap_or_else(|| panic!("dumpe2fs says nothing of features:\n{said}")).contains("needs_recovery")
    }

    /// Claims that a full check, which may repair nothing, finds nothing. What was deleted while a server had it open is freed first, as each mount does:
    /// it lies in ext4's list of orphans until it is closed.
    ///
    /// # Panics
    /// When it does.
    #[track_caller]
    pub fn is_clean(&self) {
        assert!(!self.needs_recovery(), "its journal would have to be replayed");
        let freed = Command::new("fsck.ext4").arg("-p").arg(&self.image).output().expect("e2fsprogs");
        assert!(matches!(freed.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&freed.stdout));
        run(Command::new("fsck.ext4").arg("-fn").arg(&self.image));
    }

    /// Mounts it: its directory.
    ///
    /// # Panics
    /// When it can't be mounted.
    #[track_caller]
    pub fn mounted(&mut self) -> PathBuf {
        if let Some(on) = &self.on {
            return on.clone();
        }
        let on = PathBuf::from(format!("{}.mounted", text(&self.image)));
        fs::create_dir(&on).unwrap_or_else(|error| panic!("can't make {}: {error}", on.display()));
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&self.image).arg(&on));
        self.on = Some(on.clone());
        on
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(on) = &self.on {
            // Detached: a server that was killed a moment ago may still be on its way out.
            let _ = umount2(on, MntFlags::MNT_DETACH);
            let _ = fs::remove_dir(on);
        }
        let _ = fs::remove_file(&self.image);
    }
}

/// Points a symbolic link elsewhere: what a disk's copy links to lies in the other disk's copy.
///
/// # Panics
/// When that fails.
#[track_caller]
pub fn relink(link: &Path, to: &Path) {
    run(Command::new("ln").arg("-sfn").arg(to).arg(link));
}
