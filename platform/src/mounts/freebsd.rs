//! FreeBSD: getfsstat(2), the files behind disks by GEOM's account of itself, swap by the sysctl vm.swap_info (sys/vm/vm_param.h).

#![allow(unsafe_code)] // getfsstat and devname_r have no wrapper in nix.

use std::ffi::{CStr, c_char, c_uint};
use std::mem::{offset_of, size_of_val};
use std::ptr;
use std::time::Duration;

use nix::libc::{self, MNT_NOWAIT, MNT_RDONLY, statfs};

use super::geom::Geom;
use super::{FsId, Mount, Table, note_swap_files};
use crate::sysctl_freebsd::{bytes, numbers};
use crate::{OsError, Result};

/// How often the table is looked at, a millisecond apart, before something in it is called hidden: an unmount with nothing to write is done by then.
const LOOKS: usize = 10;

/// In the kernel's order, which is that of mounting.
pub(super) fn mounts() -> Result<Table> {
    for _ in 1..LOOKS {
        let table = look()?;
        if table.hidden == 0 {
            return Ok(table);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    look()
}

fn look() -> Result<Table> {
    let mut table: Vec<statfs> = Vec::new();
    loop {
        let filled = getfsstat(&mut table)?;
        // Full to the last place: there may be more of them.
        if filled < table.len() {
            table.truncate(filled);
            // With MNT_NOWAIT the list leaves out what is being unmounted (vfs_busy() fails at once), and the count does not (kern_getfsstat(),
            // kernels since 14.0). Counted afterwards: what is gone meanwhile is no longer hidden.
            let hidden = getfsstat(&mut [])?.saturating_sub(filled);
            return Ok(Table { mounts: table.iter().map(mount).collect(), hidden });
        }
        // SAFETY: a statfs is numbers and characters; all zero is a valid one.
        table.resize(filled + 8, unsafe { std::mem::zeroed() });
    }
}

/// Fills the table, or counts the mounts if it is empty. Not waiting for fresh numbers of blocks (MNT_NOWAIT) is what lets it return while
/// filesystems are suspended.
fn getfsstat(table: &mut [statfs]) -> Result<usize> {
    let room = libc::c_long::try_from(size_of_val(table)).unwrap_or(libc::c_long::MAX);
    let place = if table.is_empty() { ptr::null_mut() } else { table.as_mut_ptr() };
    // SAFETY: `place` is null or has room for that many bytes.
    let filled = unsafe { libc::getfsstat(place, room, MNT_NOWAIT) };
    usize::try_from(filled).map_err(|_| OsError::last("read the mount table (getfsstat)"))
}

fn mount(from: &statfs) -> Mount {
    Mount {
        // SAFETY: an fsid_t is two 32-bit numbers, which as bytes are valid whatever they hold.
        fsid: FsId(unsafe { std::mem::transmute::<libc::fsid_t, [u8; 8]>(from.f_fsid) }),
        fstype: text(&from.f_fstypename),
        on: text(&from.f_mntonname),
        from: text(&from.f_mntfromname),
        read_only: from.f_flags & u64::from(MNT_RDONLY.cast_unsigned()) != 0,
        backing: None,
        swap: None,
    }
}

/// Labels, partitions and the like are followed down to the vnode disks of md(4). FreeBSD swaps on devices only: a swap file is such a disk.
pub(super) fn with_files(mut mounts: Vec<Mount>) -> Vec<Mount> {
    let Ok(mesh) = numbers(c"kern.geom.confxml").and_then(|mib| bytes(&mib)) else { return mounts };
    let geom = Geom::parse(&String::from_utf8_lossy(&mesh));
    for mount in mounts.iter_mut().filter(|mount| mount.from.starts_with("/dev/")) {
        mount.backing = geom.files_of(&mount.from).into_iter().next();
    }
    let files: Vec<_> = swap_devices().iter().flat_map(|name| geom.files_of(name)).collect();
    note_swap_files(&mut mounts, files);
    mounts
}

/// `struct xswdev` of sys/vm/vm_param.h, version 2.
#[repr(C)]
struct XswDev {
    version: c_uint,
    device: libc::dev_t,
    flags: libc::c_int,
    blocks: libc::c_int,
    used: libc::c_int,
}

const _: () = assert!(size_of::<XswDev>() == 32 && offset_of!(XswDev, device) == 8);

/// The names of the devices that are swapped on, without `/dev/`.
fn swap_devices() -> Vec<String> {
    let Ok(mib) = numbers(c"vm.swap_info") else { return Vec::new() };
    // The kernel has no list: the devices are asked for one after the other, until there is none with that number.
    let infos = (0..).map_while(|index| bytes(&[mib.as_slice(), &[index]].concat()).ok());
    infos.filter_map(|info| device_name(&info)).collect()
}

fn device_name(info: &[u8]) -> Option<String> {
    let device = info.get(offset_of!(XswDev, device)..).filter(|_| info.len() == size_of::<XswDev>())?.first_chunk()?;
    let mut name: [c_char; 64] = [0; 64];
    let length = libc::c_int::try_from(name.len()).ok()?;
    // SAFETY: `name` has that length, and what is written there ends in a zero.
    let found =
        unsafe { libc::devname_r(libc::dev_t::from_ne_bytes(*device), libc::S_IFCHR, name.as_mut_ptr(), length) };
    (!found.is_null()).then(|| text(&name))
}

/// A string the kernel put into an array of characters.
fn text(array: &[c_char]) -> String {
    let bytes: Vec<u8> = array.iter().map(|character| character.cast_unsigned()).collect();
    CStr::from_bytes_until_nul(&bytes).map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}
