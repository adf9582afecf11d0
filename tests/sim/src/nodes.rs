//! The directory with the device nodes, as a FUSE filesystem: it turns the kernel's requests into calls of the machine and of the
//! suspender, and knows no rule itself.
//!
//! Nothing here may wait: one thread serves all nodes, so that a release is always seen before the open that follows it. What can take time
//! (suspending) goes to a thread of its own together with its reply.

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, IoctlFlags, LockOwner,
    OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyOpen, ReplyPoll, ReplyWrite, Request, WriteFlags,
};

use crate::attributes::attributes;
use crate::driver::{Access, HEARD, Node, READ};
use crate::iclog::IcLog;
use crate::machine::{Machine, Readiness};
use crate::suspend::{Job, Suspender};
use crate::vfsfreeze::{Call, Freezer};

const SUSPEND: INodeNo = INodeNo(4);
const FREEZE: INodeNo = INodeNo(5);

struct Entry {
    name: &'static str,
    inode: INodeNo,
    mode: u16,
    node: Option<Node>,
}

/// The node of the key-value pairs.
const KVP: INodeNo = INodeNo(6);

/// The names and modes of FreeBSD's nodes.
const ENTRIES: [Entry; 5] = [
    Entry { name: "hv_fsvss_dev", inode: INodeNo(2), mode: 0o640, node: Some(Node::Filesystems) },
    Entry { name: "hv_appvss_dev", inode: INodeNo(3), mode: 0o640, node: Some(Node::Applications) },
    Entry { name: "ufssuspend", inode: SUSPEND, mode: 0o600, node: None },
    Entry { name: "vfsfreeze", inode: FREEZE, mode: 0o600, node: None },
    Entry { name: "hv_kvp_dev", inode: KVP, mode: 0o640, node: None },
];

/// In a handle: its descriptor is not open for writing.
const READS: u64 = 1 << 63;

/// Nothing is cached: a node may be there one moment and gone the next.
const AT_ONCE: Duration = Duration::ZERO;

pub(crate) struct Nodes {
    pub(crate) machine: Arc<Machine>,
    pub(crate) suspender: Arc<Suspender>,
    /// None: that module is not loaded.
    pub(crate) freezer: Option<Arc<Freezer>>,
    pub(crate) jobs: Sender<Job>,
    pub(crate) log: Arc<IcLog>,
    /// Numbers the opens of ufssuspend and vfsfreeze; the machine numbers those of the others.
    pub(crate) next_handle: std::sync::atomic::AtomicU64,
}

impl Nodes {
    fn attributes(inode: INodeNo) -> Option<FileAttr> {
        let (kind, perm) = match ENTRIES.iter().find(|entry| entry.inode == inode) {
            Some(entry) => (FileType::RegularFile, entry.mode),
            None if inode == INodeNo::ROOT => (FileType::Directory, 0o755),
            None => return None,
        };
        Some(attributes(inode, kind, perm, 0))
    }

    /// A handle for an open of ufssuspend or vfsfreeze.
    fn number(&self, inode: INodeNo, access: Access) -> Result<u64, nix::errno::Errno> {
        let mut handle = self.next_handle.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if access == Access::Reading {
            handle |= READS;
        }
        match (inode, &self.freezer) {
            (FREEZE, Some(freezer)) => freezer.open(handle).map(|()| handle),
            (FREEZE, None) => Err(nix::errno::Errno::ENXIO),
            _ => Ok(handle),
        }
    }

    fn queue(&self, job: Job) {
        // The thread at the other end lives as long as this filesystem; a job dropped here answers EIO by itself.
        let _ = self.jobs.send(job);
    }
}

/// The process that a thread belongs to. FUSE tells the thread, FreeBSD's drivers see the process.
fn process_of(thread: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    process.unwrap_or(thread)
}

impl Filesystem for Nodes {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let entry = ENTRIES.iter().find(|entry| parent == INodeNo::ROOT && entry.name == name);
        let present = entry.filter(|entry| match entry.inode {
            SUSPEND => true,
            FREEZE => self.freezer.is_some(),
            KVP => self.machine.is_kvp_present(),
            _ => self.machine.is_present(),
        });
        match present.and_then(|entry| Self::attributes(entry.inode)) {
            Some(attributes) => reply.entry(&AT_ONCE, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match Self::attributes(inode) {
            Some(attributes) => reply.attr(&AT_ONCE, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let seen = usize::try_from(offset).unwrap_or(usize::MAX);
        for (place, entry) in (1..).zip(&ENTRIES).skip(seen) {
            if reply.add(entry.inode, place, FileType::RegularFile, entry.name) {
                break;
            }
        }
        reply.ok();
    }

    fn open(&self, request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let access = if flags.acc_mode() == OpenAccMode::O_RDONLY { Access::Reading } else { Access::Writing };
        let node = ENTRIES.iter().find(|entry| entry.inode == inode).and_then(|entry| entry.node);
        let opened = match node {
            None if inode == KVP => self.machine.kvp_open(process_of(request.pid()), &self.log),
            Some(node) => self.machine.open(node, access, process_of(request.pid()), &self.log),
            None => self.number(inode, access),
        };
        match opened {
            // That one is read and written with an offset.
            Ok(handle) if inode == KVP => reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO),
            Ok(handle) => {
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NONSEEKABLE);
            }
            Err(errno) => reply.error(Errno::from_i32(errno as i32)),
        }
    }

    fn flush(&self, request: &Request, inode: INodeNo, handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        if inode == SUSPEND {
            self.queue(Job::Flush { handle: handle.0, pid: request.pid(), reply });
        } else {
            reply.ok();
        }
    }

    fn release(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        if inode == SUSPEND {
            return self.queue(Job::Close { handle: handle.0, reply });
        }
        if let (FREEZE, Some(freezer)) = (inode, &self.freezer) {
            freezer.close(handle.0);
            return reply.ok();
        }
        if inode == KVP {
            self.machine.kvp_close(handle.0, &self.log);
            return reply.ok();
        }
        self.machine.close(handle.0, &self.log);
        reply.ok();
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if inode == KVP {
            self.machine.kvp_read(handle.0, size as usize, offset, reply, &self.log);
        } else {
            reply.error(Errno::ENODEV);
        }
    }

    fn write(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if inode != KVP {
            return reply.error(Errno::ENODEV);
        }
        match self.machine.kvp_write(handle.0, data, &self.log) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(Errno::from_i32(errno as i32)),
        }
    }

    fn ioctl(
        &self,
        request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _flags: IoctlFlags,
        command: u32,
        input: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        if inode == SUSPEND {
            if let Some(errno) = self.suspender.refuses_at_once(command) {
                return reply.error(Errno::from_i32(errno as i32));
            }
            let job = Job::Ioctl { handle: handle.0, pid: request.pid(), command, input: input.to_vec(), reply };
            return self.queue(job);
        }
        if let (FREEZE, Some(freezer)) = (inode, &self.freezer) {
            let access = if handle.0 & READS != 0 { Access::Reading } else { Access::Writing };
            let call = Call { handle: handle.0, pid: request.pid(), access, command, input: input.to_vec() };
            return freezer.ioctl(call, reply);
        }
        match self.machine.ioctl(handle.0, command, input, &self.log) {
            Ok(message) if command == READ || command == HEARD => reply.ioctl(0, &message),
            Ok(_) => reply.ioctl(0, &[]),
            Err(errno) => reply.error(Errno::from_i32(errno as i32)),
        }
    }

    fn poll(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        notifier: PollNotifier,
        _events: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        let node = ENTRIES.iter().any(|entry| entry.inode == inode && entry.node.is_some());
        let waits = flags.contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY).then(|| notifier.handle());
        let readiness = match &self.freezer {
            _ if inode == KVP => self.machine.kvp_poll(handle.0, waits),
            _ if node => self.machine.poll(handle.0, waits),
            Some(freezer) if inode == FREEZE && freezer.is_readable(handle.0, waits) => Readiness::Readable,
            _ => Readiness::Nothing,
        };
        reply.poll(match readiness {
            Readiness::Nothing => PollEvents::empty(),
            Readiness::Readable => PollEvents::POLLIN,
            Readiness::Gone => PollEvents::POLLIN | PollEvents::POLLHUP,
        });
    }
}
