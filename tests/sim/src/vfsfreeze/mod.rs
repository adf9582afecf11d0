//! `/dev/vfsfreeze` with the rules of kmod/vfsfreeze/vfsfreeze.4, and real filesystems behind it.
//!
//! As in the kernel each hold has a thread of its own, which freezes, waits until it is told or until its
//! time is over, and thaws. No request waits but a flush, which has a thread, too.

mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fuser::{Notifier, PollHandle, ReplyIoctl};
use hv_vss_platform::mounts::{FsId, Mount, holder};
use nix::errno::Errno;

use crate::driver::Access;
use crate::faults::{Faults, Moment};
use crate::iclog::{Event, IcLog};
use crate::suspend::{Frozen, Holding};
use crate::table::MountFile;
pub use wire::{FLUSH, HOLD, RELEASE, STATE, VERSION};
use wire::{Request, State};

/// The module's sysctl `max_hold_ms`.
const MAX_HOLD: Duration = Duration::from_secs(600);
/// How long the end of the simulator waits for threads that freeze.
const LAST_FREEZE: Duration = Duration::from_secs(2);
/// How often a thread looks whether somebody else's freeze of its filesystem is over.
const ANOTHERS: Duration = Duration::from_millis(1);

/// A hold, from its request on.
struct Hold {
    holding: Holding,
    /// The filesystem that holds its image file.
    lies_on: Option<FsId>,
    gate_only: bool,
    begun: Instant,
    until: Instant,
    held: Option<Instant>,
    ended: Option<Instant>,
    state: State,
    error: i32,
    quiesced: bool,
    let_go: bool,
}

#[derive(Default)]
struct Open {
    /// The latest hold, by its number.
    hold: Option<u64>,
    changed: bool,
    poll: Option<PollHandle>,
}

#[derive(Default)]
struct Inner {
    opens: BTreeMap<u64, Open>,
    /// Those that descriptors point to and those that have not ended.
    holds: BTreeMap<u64, Hold>,
    next: u64,
    threads: usize,
    stopping: bool,
    refusals: Vec<String>,
    in_a_jail: bool,
}

pub(crate) struct Freezer {
    table: Arc<MountFile>,
    faults: Arc<Faults>,
    log: Arc<IcLog>,
    inner: Mutex<Inner>,
    changed: Condvar,
    notifier: OnceLock<Notifier>,
}

impl Freezer {
    pub(crate) fn new(table: Arc<MountFile>, faults: Arc<Faults>, log: Arc<IcLog>) -> Self {
        let (inner, changed, notifier) = (Mutex::default(), Condvar::new(), OnceLock::new());
        Self { table, faults, log, inner, changed, notifier }
    }

    pub(crate) fn connect(&self, notifier: Notifier) {
        // Called once, by `serve`; a second call would change nothing.
        let _ = self.notifier.set(notifier);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self, handle: u64) -> Result<(), Errno> {
        let mut inner = self.lock();
        if inner.in_a_jail {
            return Err(Errno::EPERM);
        }
        if inner.stopping {
            return Err(Errno::ESHUTDOWN);
        }
        inner.opens.insert(handle, Open::default());
        Ok(())
    }

    /// The last close: lets go and waits for nothing.
    pub(crate) fn close(&self, handle: u64) {
        let mut inner = self.lock();
        let open = inner.opens.remove(&handle);
        if let Some(id) = open.and_then(|open| open.hold)
            && let Some(hold) = inner.holds.get_mut(&id)
        {
            hold.let_go = true;
            if hold.ended.is_some() {
                inner.holds.remove(&id);
            }
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Answers at once, or, for a flush, from a thread.
    pub(crate) fn ioctl(self: &Arc<Self>, call: Call, reply: ReplyIoctl) {
        let done = self.request(&call).and_then(|request| match request {
            Request::Version => Ok(Some(wire::version(MAX_HOLD))),
            Request::State => self.state(call.handle).map(Some),
            Request::Release => self.release(call.handle).map(|()| Some(Vec::new())),
            Request::Hold { fsid, limit, gate_only } => {
                let held = self.hold(&call, fsid, limit, gate_only);
                held.map(|()| Some(Vec::new())).map_err(|(errno, why)| {
                    let sentence = format!("{errno:?} to process {} for {fsid}: {why}", call.pid);
                    self.log.note(format!("vfsfreeze: {sentence}"));
                    self.lock().refusals.push(sentence);
                    errno
                })
            }
            Request::Flush { .. } => Ok(None),
        });
        match done {
            Ok(Some(bytes)) => reply.ioctl(0, &bytes),
            Err(errno) => reply.error(fuser::Errno::from_i32(errno as i32)),
            Ok(None) => {
                let freezer = Arc::clone(self);
                std::thread::spawn(move || match freezer.flush(&call) {
                    Ok(()) => reply.ioctl(0, &[]),
                    Err(errno) => reply.error(fuser::Errno::from_i32(errno as i32)),
                });
            }
        }
    }

    fn request(&self, call: &Call) -> Result<Request, Errno> {
        if self.lock().in_a_jail {
            return Err(Errno::EPERM);
        }
        let request = wire::request(call.command, &call.input, MAX_HOLD);
        let writes = !matches!(request, Ok(Request::Version | Request::State) | Err(Errno::ENOTTY));
        if writes && call.access == Access::Reading { Err(Errno::EPERM) } else { request }
    }

    fn mount(&self, fsid: FsId, gate_only: bool) -> Result<Mount, (Errno, String)> {
        let mounts = self.table.mounts().map_err(|why| (Errno::EIO, why))?;
        let mount = mounts.iter().find(|mount| mount.fsid == fsid);
        let mount = mount.ok_or_else(|| (Errno::ENOENT, "no mount has this id".to_owned()))?;
        let may = match mount.fstype.as_str() {
            "ufs" | "msdosfs" | "tmpfs" => true,
            "zfs" => gate_only,
            _ => false,
        };
        if !may {
            return Err((Errno::EOPNOTSUPP, format!("{} is a {}", mount.on, mount.fstype)));
        }
        if mount.read_only {
            return Err((Errno::EROFS, format!("{} is mounted read-only", mount.on)));
        }
        Ok(mount.clone())
    }

    fn flush(&self, call: &Call) -> Result<(), Errno> {
        let Ok(Request::Flush { fsid }) = self.request(call) else { return Err(Errno::EINVAL) };
        let mount = self.mount(fsid, true).map_err(|(errno, _)| errno)?;
        if self.holdings().iter().any(|holding| holding.fsid == fsid) {
            return Err(Errno::EBUSY);
        }
        let directory = std::fs::File::open(&mount.on).map_err(|_| Errno::EIO)?;
        nix::unistd::syncfs(&directory)
    }

    fn hold(
        self: &Arc<Self>,
        call: &Call,
        fsid: FsId,
        limit: Duration,
        gate_only: bool,
    ) -> Result<(), (Errno, String)> {
        let mount = self.mount(fsid, gate_only)?;
        let mounts = self.table.mounts().map_err(|why| (Errno::EIO, why))?;
        let lies_on = mount.backing.as_deref().and_then(|image| holder(&mounts, image)).map(|other| other.fsid);
        let lies_on = lies_on.filter(|other| *other != fsid);
        let mut inner = self.lock();
        if inner.stopping {
            return Err((Errno::ESHUTDOWN, "the simulator is ending".to_owned()));
        }
        let is_active = |hold: &Hold| hold.ended.is_none();
        let earlier = inner.opens.get(&call.handle).ok_or((Errno::EBADF, "not open".to_owned()))?.hold;
        if earlier.and_then(|id| inner.holds.get(&id)).is_some_and(is_active) {
            return Err((Errno::EBUSY, "this descriptor holds something".to_owned()));
        }
        if inner.holds.values().any(|hold| is_active(hold) && hold.holding.fsid == fsid) {
            return Err((Errno::EBUSY, format!("{} is held already", mount.on)));
        }
        if let Some(earlier) = earlier {
            inner.holds.remove(&earlier);
        }
        inner.next += 1;
        let id = inner.next;
        let begun = Instant::now();
        let holding = Holding { fsid, on: mount.on.clone(), pid: call.pid };
        let hold = Hold {
            holding,
            lies_on,
            gate_only,
            begun,
            until: begun + limit,
            held: None,
            ended: None,
            state: State::Begun,
            error: 0,
            quiesced: false,
            let_go: false,
        };
        inner.holds.insert(id, hold);
        if let Some(open) = inner.opens.get_mut(&call.handle) {
            open.hold = Some(id);
            open.changed = false;
        }
        inner.threads += 1;
        drop(inner);
        let freezer = Arc::clone(self);
        std::thread::spawn(move || {
            freezer.run(id, fsid, &PathBuf::from(mount.on));
            freezer.lock().threads -= 1;
            freezer.changed.notify_all();
        });
        Ok(())
    }

    /// The thread of a hold.
    fn run(&self, id: u64, fsid: FsId, on: &Path) {
        if let Some(how) = self.over(id) {
            return self.end(id, how, 0);
        }
        let frozen = match self.freeze(id, fsid, on) {
            Ok(frozen) => frozen,
            Err(errno) => return self.end(id, State::Failed, errno as i32),
        };
        self.log.add(Event::Frozen { on: on.display().to_string() });
        if self.over(id).is_none() {
            self.publish(id, |hold| {
                hold.state = State::Held;
                hold.held = Some(Instant::now());
                hold.quiesced = !hold.gate_only;
            });
        }
        let mut inner = self.lock();
        let how = loop {
            let Some(hold) = inner.holds.get(&id) else { break State::Released };
            match how_over(hold) {
                Some(how) => break how,
                None => {
                    let left = hold.until.saturating_duration_since(Instant::now());
                    inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        };
        drop(inner);
        // An errno has no meaning here: a resume can't fail.
        let _ = self.faults.strike(fsid, Moment::Resume);
        // Linux's FITHAW of an image writes to the filesystem below and waits for it; the kernel's resume does not.
        let thawed = Event::Thawed { on: on.display().to_string() };
        if self.lies_on_something_held(id) {
            self.log.add(thawed);
            self.end(id, how, 0);
            drop(frozen);
        } else {
            drop(frozen);
            self.log.add(thawed);
            self.end(id, how, 0);
        }
    }

    fn lies_on_something_held(&self, id: u64) -> bool {
        let below = self.lock().holds.get(&id).and_then(|hold| hold.lies_on);
        below.is_some_and(|below| self.holdings().iter().any(|holding| holding.fsid == below))
    }

    /// Waits for somebody else's suspension of it, as the kernel does.
    fn freeze(&self, id: u64, fsid: FsId, on: &Path) -> Result<Frozen, Errno> {
        self.faults.strike(fsid, Moment::Suspend)?;
        loop {
            match Frozen::freeze(on) {
                Err(Errno::EBUSY) if self.over(id).is_none() => sleep(ANOTHERS),
                done => return done,
            }
        }
    }

    fn over(&self, id: u64) -> Option<State> {
        self.lock().holds.get(&id).map_or(Some(State::Released), how_over)
    }

    fn end(&self, id: u64, how: State, error: i32) {
        self.publish(id, |hold| {
            hold.state = how;
            hold.error = error;
            hold.ended = Some(Instant::now());
        });
        let mut inner = self.lock();
        // Its descriptor has been closed: nobody will ask.
        if !inner.opens.values().any(|open| open.hold == Some(id)) {
            inner.holds.remove(&id);
        }
    }

    fn publish(&self, id: u64, change: impl FnOnce(&mut Hold)) {
        let mut inner = self.lock();
        if let Some(hold) = inner.holds.get_mut(&id) {
            change(hold);
        }
        let open = inner.opens.values_mut().find(|open| open.hold == Some(id));
        let poller = open.and_then(|open| {
            open.changed = true;
            open.poll.take()
        });
        drop(inner);
        self.changed.notify_all();
        if let (Some(poller), Some(notifier)) = (poller, self.notifier.get()) {
            // Refused only when that poller is gone, and then there is nobody to wake.
            let _ = notifier.poll(poller);
        }
    }

    fn state(&self, handle: u64) -> Result<Vec<u8>, Errno> {
        let mut inner = self.lock();
        let open = inner.opens.get_mut(&handle).ok_or(Errno::EBADF)?;
        open.changed = false;
        let hold = open.hold.and_then(|id| inner.holds.get(&id));
        Ok(wire::state(hold.map(|hold| {
            let now = hold.ended.unwrap_or_else(Instant::now);
            wire::Report {
                state: hold.state,
                error: hold.error,
                gate_only: hold.gate_only,
                quiesced: hold.quiesced,
                left: if hold.ended.is_some() { Duration::ZERO } else { hold.until.saturating_duration_since(now) },
                begin: hold.held.unwrap_or(now).saturating_duration_since(hold.begun),
                held: hold.held.map_or(Duration::ZERO, |held| now.saturating_duration_since(held)),
            }
        })))
    }

    fn release(&self, handle: u64) -> Result<(), Errno> {
        let mut inner = self.lock();
        let id = inner.opens.get(&handle).ok_or(Errno::EBADF)?.hold.ok_or(Errno::EINVAL)?;
        if let Some(hold) = inner.holds.get_mut(&id) {
            hold.let_go = true;
        }
        drop(inner);
        self.changed.notify_all();
        Ok(())
    }

    /// Looks, and remembers whom to wake, under one lock.
    pub(crate) fn is_readable(&self, handle: u64, waits: Option<PollHandle>) -> bool {
        let mut inner = self.lock();
        let Some(open) = inner.opens.get_mut(&handle) else { return true };
        if waits.is_some() {
            open.poll = waits;
        }
        open.changed
    }

    /// The time of its hold is over.
    pub(crate) fn expire(&self, fsid: FsId) {
        let now = Instant::now();
        self.lock().holds.values_mut().filter(|hold| hold.holding.fsid == fsid).for_each(|hold| hold.until = now);
        self.changed.notify_all();
    }

    pub(crate) fn set_jail(&self, in_a_jail: bool) {
        self.lock().in_a_jail = in_a_jail;
    }

    /// What is held in this moment.
    pub(crate) fn holdings(&self) -> Vec<Holding> {
        let inner = self.lock();
        let held = inner.holds.values().filter(|hold| hold.held.is_some() && hold.ended.is_none());
        held.map(|hold| hold.holding.clone()).collect()
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        self.lock().refusals.clone()
    }

    /// As at a shutdown: everything is let go, and nothing new is taken.
    pub(crate) fn stop(&self) {
        self.faults.end();
        let mut inner = self.lock();
        inner.stopping = true;
        inner.holds.values_mut().for_each(|hold| hold.let_go = true);
        self.changed.notify_all();
        let deadline = Instant::now() + LAST_FREEZE;
        while inner.threads > 0 && Instant::now() < deadline {
            inner = self.changed.wait_timeout(inner, ANOTHERS).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// An ioctl of a descriptor.
pub(crate) struct Call {
    pub(crate) handle: u64,
    pub(crate) pid: u32,
    pub(crate) access: Access,
    pub(crate) command: u32,
    pub(crate) input: Vec<u8>,
}

fn how_over(hold: &Hold) -> Option<State> {
    match (hold.let_go, Instant::now() < hold.until) {
        (true, _) => Some(State::Released),
        (false, true) => None,
        (false, false) => Some(State::Expired),
    }
}
