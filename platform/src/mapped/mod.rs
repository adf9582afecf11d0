//! Which processes have a file of a filesystem mapped shared and writable?
//!
//! Stores to such a mapping need no system call. A suspension of UFS does not stop them, and UFSRESUME throws the stored pages away
//! (docs/ufssuspend.md).

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;
#[cfg(any(target_os = "freebsd", test))]
mod vmmap;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hv_vss_types::{FsId, MappedScan, Mapping, Monotonic, Mount, holder};

use crate::{Result, clock};

/// The filesystems to look for, by the device number that the kernel gives with a mapping. Made before the first suspend: stat(2) of a
/// mount point can wait for a suspended filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filesystems {
    mounts: Vec<(Option<u64>, Mount)>,
}

impl Filesystems {
    /// These mounts, each looked at once.
    #[must_use]
    pub fn of(mounts: &[Mount]) -> Self {
        let device = |on: &str| fs::metadata(Path::new(on)).map(|about| about.dev()).ok();
        Self { mounts: mounts.iter().map(|mount| (device(&mount.on), mount.clone())).collect() }
    }

    /// The filesystem of a mapped file. Without a device number the path decides.
    fn find(&self, device: Option<u64>, file: Option<&str>) -> Option<FsId> {
        if device.is_some() {
            return self.mounts.iter().find(|(other, _)| *other == device).map(|(_, mount)| mount.fsid);
        }
        let mounts: Vec<Mount> = self.mounts.iter().map(|(_, mount)| mount.clone()).collect();
        holder(&mounts, file?).map(|mount| mount.fsid)
    }
}

/// One mapping as the system tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    device: Option<u64>,
    file: Option<String>,
}

/// A process as the system lists it.
struct Process {
    pid: i32,
    program: String,
}

/// Looks at every process, until `latest` at the longest.
///
/// # Errors
/// When the processes can't be listed.
pub fn scan(filesystems: &Filesystems, latest: Monotonic) -> Result<MappedScan> {
    let began = clock::now();
    let mut scan = MappedScan { complete: true, ..MappedScan::default() };
    for process in system::processes()? {
        if clock::now() >= latest {
            scan.complete = false;
            break;
        }
        scan.processes += 1;
        match system::mappings(process.pid) {
            Ok(found) => scan.mappings.extend(of_process(filesystems, &process, found)),
            Err(error) if system::is_gone(&error) => {}
            Err(_) => scan.unreadable += 1,
        }
    }
    scan.took = began.until(clock::now());
    Ok(scan)
}

fn of_process(filesystems: &Filesystems, process: &Process, found: Vec<Found>) -> Vec<Mapping> {
    let named = |found: Found| {
        Some(Mapping {
            pid: process.pid,
            program: process.program.clone(),
            fsid: filesystems.find(found.device, found.file.as_deref())?,
            file: found.file,
            stopped: false,
        })
    };
    let mut mappings: Vec<Mapping> = found.into_iter().filter_map(named).collect();
    mappings.sort();
    mappings.dedup();
    // Asked after the mappings were read: a process that is stopped now has made none since.
    if !mappings.is_empty() && system::is_stopped(process.pid) {
        mappings.iter_mut().for_each(|mapping| mapping.stopped = true);
    }
    mappings
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use nix::sys::mman::{MapFlags, ProtFlags};

    use super::*;

    fn mount(on: &str) -> Mount {
        Mount {
            fsid: FsId([7; 8]),
            fstype: "ufs".into(),
            on: on.into(),
            from: "x".into(),
            read_only: false,
            backing: None,
            swap: None,
        }
    }

    struct Mapped(std::ptr::NonNull<std::ffi::c_void>);

    impl Mapped {
        #[allow(unsafe_code)] // mmap(2) has no safe wrapper.
        fn of(file: &File, flags: MapFlags) -> Self {
            let size = NonZeroUsize::new(4096).unwrap();
            let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            // SAFETY: a new mapping at an address that the kernel chooses; nothing refers to it.
            Self(unsafe { nix::sys::mman::mmap(None, size, access, flags, file, 0) }.unwrap())
        }
    }

    impl Drop for Mapped {
        #[allow(unsafe_code)] // As above.
        fn drop(&mut self) {
            // SAFETY: mapped in `of` with this length, and nothing refers to it.
            let _ = unsafe { nix::sys::mman::munmap(self.0, 4096) };
        }
    }

    fn look(filesystems: &Filesystems) -> Vec<Mapping> {
        let own = i32::try_from(std::process::id()).unwrap();
        let scan = scan(filesystems, clock::now() + Duration::from_secs(20)).unwrap();
        assert!(scan.complete && scan.processes > 0, "{scan:?}");
        scan.mappings.into_iter().filter(|mapping| mapping.pid == own).collect()
    }

    #[test]
    fn a_shared_writable_mapping_is_found_and_a_private_one_is_not() {
        let directory = std::env::temp_dir().join(format!("hv_vss-mapped-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("counter");
        fs::write(&path, [0; 4096]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let filesystems = Filesystems::of(&[mount(directory.to_str().unwrap())]);
        let of_file = || look(&filesystems).into_iter().filter(|found| found.file.as_deref() == path.to_str()).count();

        let private = Mapped::of(&file, MapFlags::MAP_PRIVATE);
        assert_eq!(of_file(), 0);
        let shared = [Mapped::of(&file, MapFlags::MAP_SHARED), Mapped::of(&file, MapFlags::MAP_SHARED)];
        assert_eq!(of_file(), 1, "twice mapped, once listed");
        fs::remove_file(&path).unwrap();
        let found = look(&filesystems);
        let unlinked = found.iter().filter(|found| found.file.is_none()).count();
        assert_eq!(unlinked, 1, "{found:?}");
        drop((private, shared));
        fs::remove_dir(&directory).unwrap();
        assert!(!look(&filesystems).iter().any(|found| found.file.is_none()));
    }

    #[test]
    fn without_a_device_number_the_path_decides() {
        let filesystems = Filesystems { mounts: vec![(Some(3), mount("/data"))] };
        let find = |device, file| filesystems.find(device, file).is_some();
        assert!(find(Some(3), None) && find(None, Some("/data/db")));
        assert!(!find(Some(4), Some("/data/db")) && !find(None, Some("/database")) && !find(None, None));
    }

    #[test]
    fn a_scan_out_of_time_says_that_it_is_not_complete() {
        let scan = scan(&Filesystems::default(), clock::now()).unwrap();
        assert!(!scan.complete && scan.processes == 0);
    }
}
