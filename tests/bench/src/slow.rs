//! Storage that writes no more than so many bytes a second: a FUSE directory with image files in it, for loop devices. Everything that is written,
//! by whomever and to whichever of them, shares the one rate, as on one disk; one thread serves it, so that a read waits behind the writes before it.
//!
//! The bytes themselves lie in ordinary files of the benchmark's tmpfs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};

/// Nothing changes behind the kernel's back.
const LONG: Duration = Duration::from_secs(3600);

/// The storage, mounted. Dropping it takes it away.
pub(crate) struct Slow {
    directory: PathBuf,
    rate: Arc<Rate>,
    _session: BackgroundSession,
}

/// Bytes a second; 0: as fast as it goes.
#[derive(Default)]
struct Rate {
    bytes_per_second: AtomicU64,
    /// When what was written so far would be on the disk.
    busy_until: Mutex<Option<Instant>>,
    written: AtomicU64,
}

impl Slow {
    /// Mounts it on this directory, with image files of these names and this size; they lie in `store`.
    pub(crate) fn mount(on: &Path, store: &Path, names: &[String], bytes: u64) -> Self {
        for directory in [on, store] {
            std::fs::create_dir_all(directory)
                .unwrap_or_else(|error| panic!("can't make {}: {error}", directory.display()));
        }
        let mut files = BTreeMap::new();
        for (inode, name) in (2..).zip(names) {
            let path = store.join(name);
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
            let file = file.and_then(|file| file.set_len(bytes).map(|()| file));
            let file = file.unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
            files.insert(inode, Image { name: name.clone(), file });
        }
        let rate = Arc::new(Rate::default());
        let mut options = Config::default();
        options.mount_options = vec![MountOption::FSName("hv-vss-bench-slow".into())];
        let session = fuser::spawn_mount(Storage { files, rate: Arc::clone(&rate) }, on, &options)
            .unwrap_or_else(|error| panic!("can't mount the slow storage on {}: {error}", on.display()));
        Self { directory: on.to_owned(), rate, _session: session }
    }

    /// An image's path.
    pub(crate) fn image(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// From now on it takes so many bytes a second; 0: as fast as it goes.
    pub(crate) fn hold_to(&self, bytes_per_second: u64) {
        self.rate.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// How many bytes were written so far.
    pub(crate) fn written(&self) -> u64 {
        self.rate.written.load(Ordering::Relaxed)
    }
}

impl Rate {
    /// Waits as long as a disk would need for so many bytes after all that came before.
    fn take(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        let rate = self.bytes_per_second.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let takes = Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate);
        let until = {
            let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
            let until = busy_until.unwrap_or_else(Instant::now).max(Instant::now()) + takes;
            *busy_until = Some(until);
            until
        };
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

struct Image {
    name: String,
    file: File,
}

struct Storage {
    files: BTreeMap<u64, Image>,
    rate: Arc<Rate>,
}

impl Storage {
    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match self.files.get(&inode.0) {
            Some(image) => (FileType::RegularFile, 0o600, image.file.metadata().ok()?.len()),
            None if inode == INodeNo::ROOT => (FileType::Directory, 0o755, 0),
            None => return None,
        };
        Some(hv_vss_sim::attributes(inode, kind, perm, size))
    }
}

impl Filesystem for Storage {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.files.iter().find(|(_, image)| parent == INodeNo::ROOT && OsStr::new(&image.name) == name);
        match found.and_then(|(inode, _)| self.attributes(INodeNo(*inode))) {
            Some(attributes) => reply.entry(&LONG, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&LONG, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let sized = match (self.files.get(&inode.0), size) {
            (Some(image), Some(size)) => image.file.set_len(size),
            _ => Ok(()),
        };
        match (sized, self.attributes(inode)) {
            (Ok(()), Some(attributes)) => reply.attr(&LONG, &attributes),
            _ => reply.error(Errno::EIO),
        }
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; size as usize];
        match self.files.get(&inode.0).map(|image| image.file.read_at(&mut bytes, offset)) {
            Some(Ok(read)) => reply.data(&bytes[..read]),
            _ => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.rate.take(data.len());
        match self.files.get(&inode.0).map(|image| image.file.write_all_at(data, offset)) {
            Some(Ok(())) => reply.written(u32::try_from(data.len()).unwrap_or(0)),
            _ => reply.error(Errno::EIO),
        }
    }

    fn fsync(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        // Every write is on the disk before it is answered.
        reply.ok();
    }

    fn flush(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
