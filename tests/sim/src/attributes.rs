//! What a FUSE filesystem of ours tells of its files: root's, without a past.

use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

/// A file, or a directory, of this many bytes.
#[must_use]
pub fn attributes(ino: INodeNo, kind: FileType, perm: u16, size: u64) -> FileAttr {
    let then = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino,
        size,
        blocks: size / 512,
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
