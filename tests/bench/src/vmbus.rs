//! A stand-in for Linux's /dev/vmbus/hv_vss, for hv_vss_daemon: a FUSE directory with that one file, and the kernel's half of the conversation
//! (Linux: drivers/hv/hv_snapshot.c, tools/hv/hv_vss_daemon.c, include/uapi/linux/hyperv.h).
//!
//! A message has 12 bytes: the operation in the first one; in the answer a 32-bit error in its place. The daemon registers with operation 129 and
//! is told a 32-bit version.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, Notifier, OpenFlags, PollEvents, PollFlags, PollHandle, PollNotifier, ReplyAttr, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyPoll, ReplyWrite, Request, WriteFlags,
};

const NAME: &str = "hv_vss";
const NODE: INodeNo = INodeNo(2);
const MESSAGE: usize = 12;
const REGISTER: u8 = 129;
const AT_ONCE: Duration = Duration::ZERO;
/// Longer than any freeze here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the host asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    HotBackup = 2,
    Freeze = 5,
    Thaw = 6,
}

#[derive(Default)]
struct Inner {
    registered: bool,
    to_daemon: VecDeque<Vec<u8>>,
    answer: Option<(Instant, Vec<u8>)>,
    poll: Option<PollHandle>,
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// The stand-in, mounted. Dropping it takes it away.
pub(crate) struct Vmbus {
    shared: Arc<Shared>,
    notifier: Notifier,
    _session: BackgroundSession,
}

impl Vmbus {
    /// Mounts it on this directory.
    pub(crate) fn mount(on: &Path) -> Self {
        std::fs::create_dir_all(on).unwrap_or_else(|error| panic!("can't make {}: {error}", on.display()));
        let shared = Arc::new(Shared::default());
        let mut options = Config::default();
        options.mount_options = vec![MountOption::FSName("hv-vss-bench".into())];
        let session = fuser::spawn_mount(Node(Arc::clone(&shared)), on, &options)
            .unwrap_or_else(|error| panic!("can't mount a stand-in on {}: {error}", on.display()));
        Self { shared, notifier: session.notifier(), _session: session }
    }

    /// The next daemon is expected.
    pub(crate) fn forget(&self) {
        *self.shared.lock() = Inner::default();
    }

    /// Until a daemon has registered.
    pub(crate) fn wait_for_registration(&self) {
        self.shared.wait("its registration", |inner| inner.registered.then_some(()));
    }

    /// Asks, and waits for the answer.
    ///
    /// # Panics
    /// When there is none, or it is a failure.
    pub(crate) fn ask(&self, operation: Operation) -> Duration {
        let mut message = vec![0; MESSAGE];
        message[0] = operation as u8;
        let asked = Instant::now();
        let poll = {
            let mut inner = self.shared.lock();
            inner.to_daemon.push_back(message);
            inner.poll.take()
        };
        // Without the lock: the FUSE thread may want it. Refused only when the poller is gone.
        poll.into_iter().for_each(|poll| drop(self.notifier.poll(poll)));
        let (at, answer) = self.shared.wait("its answer", |inner| inner.answer.take());
        assert_eq!(answer.get(..4), Some(&[0; 4][..]), "hv_vss_daemon, asked to {operation:?}, answered with an error");
        at - asked
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, what: &str, mut ready: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut inner = self.lock();
        loop {
            if let Some(it) = ready(&mut inner) {
                return it;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "hv_vss_daemon: waited in vain for {what}");
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

struct Node(Arc<Shared>);

fn attributes(inode: INodeNo) -> Option<FileAttr> {
    let (kind, perm) = match inode {
        INodeNo::ROOT => (FileType::Directory, 0o755),
        NODE => (FileType::RegularFile, 0o600),
        _ => return None,
    };
    Some(hv_vss_sim::attributes(inode, kind, perm, 0))
}

impl Filesystem for Node {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match attributes(NODE).filter(|_| parent == INodeNo::ROOT && name == NAME) {
            Some(attributes) => reply.entry(&AT_ONCE, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(inode) {
            Some(attributes) => reply.attr(&AT_ONCE, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(1), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NONSEEKABLE);
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        if inner.registered {
            inner.answer = Some((now, data.to_vec()));
        } else if data.first() == Some(&REGISTER) {
            inner.registered = true;
            inner.to_daemon.push_back(u32::from(REGISTER).to_ne_bytes().to_vec());
        }
        drop(inner);
        reply.written(u32::try_from(data.len()).unwrap_or(0));
        self.0.changed.notify_all();
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        _size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.lock().to_daemon.pop_front() {
            Some(message) => reply.data(&message),
            None => reply.error(Errno::EAGAIN),
        }
    }

    fn flush(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn poll(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        notifier: PollNotifier,
        _events: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        let mut inner = self.0.lock();
        if flags.contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY) {
            inner.poll = Some(notifier.handle());
        }
        let readable = !inner.to_daemon.is_empty();
        drop(inner);
        reply.poll(if readable { PollEvents::POLLIN } else { PollEvents::empty() });
    }
}
