//! An example of a filesystem plugin: freezes ext4 on Linux, where a freeze is an ioctl on a directory of the filesystem, belongs to nobody,
//! and outlives the process that asked for it.
//!
//! So the table says [`holds_survive_exit`](About::holds_survive_exit), and `thaw` can't go by what this process remembers: it may be a new one, told to
//! let go of what a dead one froze.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "two ioctls")]

use std::fs::File;
use std::os::fd::AsRawFd;

use hv_vss_plugin::{About, Claim, Failure, Mount, Opening, Plugin, Step, export_plugin};
use nix::errno::Errno;

mod ioctl {
    // linux/fs.h declares both with an int that the kernel ignores.
    nix::ioctl_readwrite!(freeze, b'X', 119, i32);
    nix::ioctl_readwrite!(thaw, b'X', 120, i32);
}

/// What this process froze: the filesystem, and the directory it was reached through, open until the thaw.
struct Fifreeze {
    held: Vec<([u8; 8], File)>,
}

impl Plugin for Fifreeze {
    const ABOUT: About = About {
        holds_survive_exit: true,
        ..About::filesystem("fifreeze", env!("CARGO_PKG_VERSION"), "Freezes ext4 on Linux, by FIFREEZE")
    };

    fn open(opening: Opening<'_>) -> Result<Self, Failure> {
        opening.config.refuse_unknown(&[])?;
        Ok(Self { held: Vec::with_capacity(64) })
    }

    fn check(&mut self, _step: &Step<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn claim(&mut self, _step: &Step<'_>, mount: &Mount<'_>) -> Claim {
        match mount.fstype {
            "ext4" if mount.read_only => Claim::Ignore("it is mounted read-only".into()),
            "ext4" => Claim::Freeze,
            _ => Claim::NotMine,
        }
    }

    fn freeze(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        let mount = mount_of(step)?;
        let directory = directory(&mount)?;
        // SAFETY: the directory is open, and the argument is a valid int.
        match unsafe { ioctl::freeze(directory.as_raw_fd(), &mut 0) } {
            Ok(_) => {
                self.held.push((mount.fsid, directory));
                Ok(())
            }
            Err(Errno::EBUSY) => Err(Failure::Refused(format!("{} is frozen already, by somebody else", mount.on))),
            Err(errno) => Err(Failure::Refused(format!("{} can't be frozen: {}", mount.on, errno.desc()))),
        }
    }

    fn thaw(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        let mount = mount_of(step)?;
        let ours = self.held.iter().position(|(fsid, _)| *fsid == mount.fsid).map(|at| self.held.remove(at).1);
        let was_ours = ours.is_some();
        let directory = ours.map_or_else(|| directory(&mount), Ok)?;
        // SAFETY: as above.
        match unsafe { ioctl::thaw(directory.as_raw_fd(), &mut 0) } {
            Ok(_) => Ok(()),
            Err(Errno::EINVAL) => {
                // It is not frozen. That is what was asked for; but if we froze it, somebody else has let it go meanwhile.
                if was_ours {
                    step.lost(&format!("{} was thawed by somebody else", mount.on));
                }
                Ok(())
            }
            Err(errno) => {
                self.held.push((mount.fsid, directory));
                Err(Failure::Refused(format!("{} can't be thawed: {}", mount.on, errno.desc())))
            }
        }
    }
}

fn mount_of<'a>(step: &Step<'a>) -> Result<Mount<'a>, Failure> {
    step.mounts().next().ok_or_else(|| Failure::Broken("called for no filesystem".into()))
}

fn directory(mount: &Mount<'_>) -> Result<File, Failure> {
    File::open(mount.on).map_err(|error| Failure::Refused(format!("{} can't be opened: {error}", mount.on)))
}

export_plugin!(Fifreeze);
