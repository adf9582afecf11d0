//! FreeBSD: the sysctl kern.proc.filedesc, since /dev/fd shows only 0 to 2 without fdescfs. Structures from sys/user.h, the packing of the
//! records from sys/kern/kern_descrip.c (each is `kf_structsize` long, its path cut after the last byte).

use std::mem::offset_of;
use std::os::fd::RawFd;

use nix::libc::{self, CTL_KERN, KERN_PROC, KERN_PROC_FILEDESC, kinfo_file};
use nix::unistd::getpid;

use crate::sysctl_freebsd::{bytes, int_at};
use crate::{OsError, Result};

/// The union behind `kf_offset` begins with the vnode's type (`kf_file_type`); libc keeps the union private.
const VNODE_TYPE: usize = offset_of!(kinfo_file, kf_offset) + size_of::<i64>();
const PATH: usize = offset_of!(kinfo_file, kf_path);

const _: () = assert!(size_of::<kinfo_file>() == 1392, "sys/user.h: KINFO_FILE_SIZE");
const _: () = assert!(PATH == 1392 - 1024 && VNODE_TYPE == 32);

pub(super) fn disk_files(known: &[RawFd]) -> Result<Vec<(RawFd, String)>> {
    let list = bytes(&[CTL_KERN, KERN_PROC, KERN_PROC_FILEDESC, getpid().as_raw()])
        .map_err(|cause| OsError::new("list this process's descriptors (sysctl kern.proc.filedesc)", cause))?;
    let mut files: Vec<_> = records(&list).filter_map(disk_file).filter(|(fd, _)| !known.contains(fd)).collect();
    files.sort_unstable();
    Ok(files)
}

fn records(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::try_from(int_at(list, offset_of!(kinfo_file, kf_structsize))).ok()?;
        let (record, rest) = list.split_at_checked(length).filter(|_| length > VNODE_TYPE)?;
        list = rest;
        Some(record)
    })
}

/// A vnode or a named pipe of this process's table, but no device. Negative numbers are the working directory and the like, which the kernel
/// lets go of after the table.
fn disk_file(record: &[u8]) -> Option<(RawFd, String)> {
    let fd = int_at(record, offset_of!(kinfo_file, kf_fd));
    let kind = int_at(record, offset_of!(kinfo_file, kf_type));
    let counts = match kind {
        libc::KF_TYPE_VNODE => int_at(record, VNODE_TYPE) != libc::KF_VTYPE_VCHR,
        libc::KF_TYPE_FIFO => true,
        _ => false,
    };
    (fd >= 0 && counts).then(|| {
        let path = record.get(PATH..).unwrap_or_default();
        let path = path.split(|byte| *byte == 0).next().filter(|path| !path.is_empty());
        (fd, path.map_or_else(|| "a file".to_owned(), |path| String::from_utf8_lossy(path).into_owned()))
    })
}

pub(super) fn close_from(first: RawFd) {
    // SAFETY: no memory is involved; that nobody owns these descriptors is the caller's promise.
    unsafe { libc::closefrom(first) };
}
