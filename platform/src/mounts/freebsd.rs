//! FreeBSD: getfsstat(2), the files behind md(4) disks by MDIOCQUERY (sys/sys/mdioctl.h), swap by the sysctl vm.swap_info (sys/vm/vm_param.h).
//!
//! FreeBSD swaps on devices only: a swap file is an md(4) disk with that file behind it.

#![allow(unsafe_code)] // getfsstat, md's ioctl and devname_r have no wrapper in nix.

use std::ffi::{CStr, c_char, c_uint};
use std::fs::File;
use std::mem::{offset_of, size_of_val};
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::Duration;

use nix::libc::{self, MNT_NOWAIT, MNT_RDONLY, PATH_MAX, statfs};

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

pub(super) fn with_files(mut mounts: Vec<Mount>) -> Vec<Mount> {
    // Without md(4) in the kernel there is no mdctl, and nothing to ask.
    let Ok(control) = File::options().read(true).write(true).open("/dev/mdctl") else { return mounts };
    for mount in &mut mounts {
        mount.backing = mount.from.strip_prefix("/dev/").and_then(unit).and_then(|unit| file_of(&control, unit));
    }
    let files: Vec<_> = swap_devices().iter().filter_map(|name| file_of(&control, unit(name)?)).collect();
    note_swap_files(&mut mounts, files);
    mounts
}

/// The unit of an md(4) disk from its name or one of its partitions': `md7`, `md7p2`, `md7s1a`.
fn unit(name: &str) -> Option<c_uint> {
    let digits = name.strip_prefix("md")?;
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// `struct md_ioctl` of sys/sys/mdioctl.h, version 0.
#[repr(C)]
struct MdIoctl {
    version: c_uint,
    unit: c_uint,
    kind: c_uint,
    file: *mut c_char,
    media_size: libc::off_t,
    sector_size: c_uint,
    options: c_uint,
    base: u64,
    fw_heads: libc::c_int,
    fw_sectors: libc::c_int,
    label: *mut c_char,
    pad: [libc::c_int; 96],
}

/// `enum md_types`: the disk is a file.
const MD_VNODE: c_uint = 2;

nix::ioctl_readwrite!(md_query, b'm', 2, MdIoctl);

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<MdIoctl>() == 448 && offset_of!(MdIoctl, label) == 56);
    assert!(nix::request_code_readwrite!(b'm', 2, size_of::<MdIoctl>()) == 0xc1c0_6d02);
};

/// The file behind an md(4) disk, if it has one.
fn file_of(control: &File, unit: c_uint) -> Option<String> {
    let mut path: [c_char; PATH_MAX as usize] = [0; PATH_MAX as usize];
    let mut label: [c_char; PATH_MAX as usize] = [0; PATH_MAX as usize];
    // SAFETY: numbers and pointers; all zero is a valid one.
    let mut query: MdIoctl = unsafe { std::mem::zeroed() };
    query.unit = unit;
    query.file = path.as_mut_ptr();
    query.label = label.as_mut_ptr();
    // SAFETY: the kernel fills the structure, and the two buffers with strings of at most PATH_MAX bytes, its own arrays' size.
    unsafe { md_query(control.as_raw_fd(), &raw mut query) }.ok()?;
    (query.kind == MD_VNODE).then(|| text(&path))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_md_disk_is_known_by_its_own_name_and_by_its_partitions() {
        assert_eq!(["md0", "md12p3", "md7s1a"].map(unit), [Some(0), Some(12), Some(7)]);
        assert_eq!(["ada0p2", "md", "mdctl", "ufs/md0"].map(unit), [None; 4]);
    }
}
