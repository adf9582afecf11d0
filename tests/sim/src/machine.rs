//! The simulated machine's VSS half: one driver behind its nodes, the link to the host, and the timer between them.
//!
//! One lock guards the driver. What the driver wants done is done after the lock is free: a wake-up written to /dev/fuse under it could meet
//! the FUSE thread waiting for the same lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use fuser::{Notifier, PollHandle, ReplyData};
use hv_vss_platform::clock::{self, Monotonic};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::driver::{Access, Driver, Effect, Kind, Node, Opener, READ, Standing, WRITE, WallClock};
use crate::iclog::{Event, IcLog};
use crate::kvp::kernel::Kvp;

/// An answer on its way to the host's reader.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) at: Monotonic,
    pub(crate) bytes: Vec<u8>,
}

/// One open file of a node.
struct Open {
    opener: Opener,
    access: Access,
    pid: u32,
    poll: Option<PollHandle>,
}

/// One open file of the key-value pairs' node.
struct KvpOpen {
    pid: u32,
    is_dead: bool,
    poll: Option<PollHandle>,
    /// A read that waits: its reply, size and offset.
    read: Option<(ReplyData, usize, u64)>,
}

/// Called with what the kernel would have said.
type Stop = Box<dyn Fn(&str) + Send + Sync>;

struct Inner {
    driver: Box<dyn Driver>,
    kvp: Kvp,
    kvp_present: bool,
    kvp_opens: BTreeMap<u64, KvpOpen>,
    /// Messages for the driver in base while the thread that it shares sleeps in the other.
    behind_kvp: VecDeque<(u64, Vec<u8>)>,
    present: bool,
    limit: Duration,
    opens: BTreeMap<u64, Open>,
    next_handle: u64,
    sent: BTreeMap<u64, Monotonic>,
    answers: BTreeMap<u64, Arrived>,
    next_xactid: u64,
    /// Delivered in place of the request's own `opt`, unless 0; and which it was.
    garbled: u32,
    garbled_was: [u8; 4],
}

pub(crate) struct Machine {
    kind: Kind,
    clock: WallClock,
    inner: Mutex<Inner>,
    changed: Condvar,
    notifier: OnceLock<Notifier>,
    /// What to do when a debug kernel would have stopped: thaw all, say so, end.
    stop: OnceLock<Stop>,
}

/// What poll(2) is to say of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Nothing,
    Readable,
    Gone,
}

impl Machine {
    pub(crate) fn new(kind: Kind, limit: Duration) -> Self {
        let clock = WallClock::default();
        Self {
            kind,
            inner: Mutex::new(Inner {
                driver: kind.attach(clock.clone(), limit),
                kvp: Kvp::default(),
                kvp_present: true,
                kvp_opens: BTreeMap::new(),
                behind_kvp: VecDeque::new(),
                present: true,
                limit,
                opens: BTreeMap::new(),
                next_handle: 1,
                sent: BTreeMap::new(),
                answers: BTreeMap::new(),
                next_xactid: 1,
                garbled: 0,
                garbled_was: [0; 4],
            }),
            clock,
            changed: Condvar::new(),
            notifier: OnceLock::new(),
            stop: OnceLock::new(),
        }
    }

    pub(crate) fn connect(&self, notifier: Notifier, stop: impl Fn(&str) + Send + Sync + 'static) {
        // Called once, by `serve`; a second call would change nothing.
        let _ = self.notifier.set(notifier);
        let _ = self.stop.set(Box::new(stop));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees the lock, then does what the driver asked for.
    fn settle(&self, mut inner: MutexGuard<'_, Inner>, log: &IcLog) {
        // The other driver's messages have waited for this thread.
        while !inner.kvp.has_the_thread() || self.kind == Kind::Ours {
            let Some((xactid, bytes)) = inner.behind_kvp.pop_front() else { break };
            inner.driver.host_message(xactid, &bytes);
        }
        let mut effects = inner.driver.take_effects();
        let mut wake = Vec::new();
        let (is_readable, more) = inner.kvp.take_effects();
        effects.extend(more);
        if is_readable {
            wake.extend(inner.kvp_opens.values_mut().filter_map(|open| open.poll.take()));
        }
        let reads = inner.serve_kvp_reads();
        let mut panic = None;
        for effect in effects {
            match effect {
                Effect::Wake(opener) => {
                    let of_opener = inner.opens.values_mut().filter(|open| open.opener == opener);
                    wake.extend(of_opener.filter_map(|open| open.poll.take()));
                }
                Effect::Send { xactid, bytes } => {
                    log.sent_to_host(xactid, &bytes);
                    inner.answers.insert(xactid, Arrived { at: clock::now(), bytes });
                }
                Effect::Note(text) => log.note(text),
                Effect::Panic(why) => panic = Some(why),
            }
        }
        drop(inner);
        self.changed.notify_all();
        self.wake(wake);
        for (reply, result) in reads {
            answer_read(reply, result);
        }
        if let (Some(why), Some(stop)) = (panic, self.stop.get()) {
            log.add(Event::Panic { text: why.clone() });
            stop(&why);
        }
    }

    fn wake(&self, handles: Vec<PollHandle>) {
        let Some(notifier) = self.notifier.get() else { return };
        for handle in handles {
            // Refused only when that poller is gone, and then there is nobody to wake.
            let _ = notifier.poll(handle);
        }
    }

    pub(crate) fn open(&self, node: Node, access: Access, pid: u32, log: &IcLog) -> Result<u64, Errno> {
        let mut inner = self.lock();
        if !inner.present {
            return Err(Errno::ENXIO);
        }
        let opened = inner.driver.open(node, pid);
        let result = opened.map(|opener| {
            let handle = inner.next_handle;
            inner.next_handle += 1;
            inner.opens.insert(handle, Open { opener, access, pid, poll: None });
            handle
        });
        log.note(format!("process {pid} opens {node:?}: {result:?}"));
        self.settle(inner, log);
        result
    }

    pub(crate) fn close(&self, handle: u64, log: &IcLog) {
        let mut inner = self.lock();
        if let Some(open) = inner.opens.remove(&handle)
            && open.opener >= 0
        {
            inner.driver.close(open.opener);
        }
        self.settle(inner, log);
    }

    pub(crate) fn ioctl(&self, handle: u64, command: u32, input: &[u8], log: &IcLog) -> Result<Vec<u8>, Errno> {
        let mut inner = self.lock();
        let Some(open) = inner.opens.get(&handle) else { return Err(Errno::EBADF) };
        let (opener, access) = (open.opener, open.access);
        if !inner.present || opener < 0 {
            return Err(Errno::ENXIO);
        }
        let mut input = input.to_vec();
        let garbled = inner.garbled.to_ne_bytes();
        if inner.garbled != 0 && command == WRITE && input.starts_with(&garbled) {
            input[..4].copy_from_slice(&inner.garbled_was);
        }
        let mut result = inner.driver.ioctl(opener, command, access, &input);
        if let Ok(message) = &mut result
            && inner.garbled != 0
            && command == READ
            && message[..4] != [0; 4]
        {
            inner.garbled_was.copy_from_slice(&message[..4]);
            message[..4].copy_from_slice(&garbled);
        }
        self.settle(inner, log);
        result
    }

    /// Looks, and remembers whom to wake. Both under one lock, so that nothing can come in between.
    pub(crate) fn poll(&self, handle: u64, waits: Option<PollHandle>) -> Readiness {
        let mut inner = self.lock();
        let present = inner.present;
        let Some(open) = inner.opens.get_mut(&handle) else { return Readiness::Gone };
        if waits.is_some() {
            open.poll = waits;
        }
        let opener = open.opener;
        match present && opener >= 0 {
            false => Readiness::Gone,
            true if inner.driver.is_readable(opener) => Readiness::Readable,
            true => Readiness::Nothing,
        }
    }

    pub(crate) fn host_sends(&self, bytes: &[u8], log: &IcLog) -> u64 {
        let mut inner = self.lock();
        let xactid = inner.next_xactid;
        inner.next_xactid += 1;
        inner.sent.insert(xactid, clock::now());
        log.sent_to_guest(xactid, bytes);
        if inner.present {
            inner.behind_kvp.push_back((xactid, bytes.to_vec()));
        }
        self.settle(inner, log);
        self.changed.notify_all();
        xactid
    }

    /// Waits for the answer to a message; with how long after the sending it came.
    pub(crate) fn host_waits(&self, xactid: u64, patience: Duration) -> Option<(Duration, Arrived)> {
        let deadline = clock::now() + patience;
        let mut inner = self.lock();
        loop {
            if let Some(arrived) = inner.answers.get(&xactid) {
                let sent = inner.sent.get(&xactid).copied().unwrap_or(arrived.at);
                return Some((sent.until(arrived.at), arrived.clone()));
            }
            let left = clock::now().until(deadline);
            if left.is_zero() {
                return None;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The timer's thread: sleeps until the driver's next instant or until something changes.
    pub(crate) fn run_timers(&self, log: &IcLog) {
        loop {
            let mut inner = self.lock();
            let now = clock::now();
            match inner.driver.next_timer().into_iter().chain(inner.kvp.next_timer()).min() {
                Some(due) if due <= now => {
                    // Only the one whose time has come: the driver in base looks at all of its requests.
                    if inner.driver.next_timer().is_some_and(|due| due <= now) {
                        inner.driver.timer(now);
                    }
                    inner.kvp.timer(now);
                    self.settle(inner, log);
                }
                Some(due) => drop(self.changed.wait_timeout(inner, now.until(due))),
                None => drop(self.changed.wait(inner)),
            }
        }
    }

    pub(crate) fn shift_clock(&self, ms: i64) {
        self.clock.shift_by(ms);
    }

    /// From now on READ delivers another `opt`; 0: no more.
    pub(crate) fn garble(&self, opt: u32) {
        self.lock().garbled = opt;
    }

    pub(crate) fn set_limit(&self, limit: Duration) {
        let mut inner = self.lock();
        inner.limit = limit;
        inner.driver.set_limit(limit);
    }

    /// The device goes, as when its driver is detached, or comes back. The in-base driver kills the openers in doing so (quirk 13).
    pub(crate) fn set_present(&self, present: bool, log: &IcLog) {
        let mut inner = self.lock();
        if inner.present == present {
            return;
        }
        inner.present = present;
        if present {
            // A new device: whoever still has the old one open keeps a dead descriptor.
            for open in inner.opens.values_mut() {
                open.opener = -1;
            }
            inner.driver = self.kind.attach(self.clock.clone(), inner.limit);
            return;
        }
        inner.driver.detach();
        let wake = inner.opens.values_mut().filter_map(|open| open.poll.take()).collect();
        let victims: Vec<u32> = inner.opens.values().map(|open| open.pid).collect();
        self.settle(inner, log);
        self.wake(wake);
        if self.kind == Kind::Base {
            for pid in victims.into_iter().filter_map(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1) {
                // It may have ended by itself a moment ago.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    pub(crate) fn kvp_open(&self, pid: u32, log: &IcLog) -> Result<u64, Errno> {
        let mut inner = self.lock();
        if !inner.kvp_present {
            return Err(Errno::ENXIO);
        }
        let result = inner.kvp.open().map(|()| {
            let handle = inner.next_handle;
            inner.next_handle += 1;
            inner.kvp_opens.insert(handle, KvpOpen { pid, is_dead: false, poll: None, read: None });
            handle
        });
        log.note(format!("process {pid} opens hv_kvp_dev: {result:?}"));
        self.settle(inner, log);
        result
    }

    /// Whether the handle was one of the key-value pairs' node.
    pub(crate) fn kvp_close(&self, handle: u64, log: &IcLog) {
        let mut inner = self.lock();
        if inner.kvp_opens.remove(&handle).is_some_and(|open| !open.is_dead) {
            inner.kvp.close();
        }
        self.settle(inner, log);
    }

    pub(crate) fn kvp_read(&self, handle: u64, size: usize, offset: u64, reply: ReplyData, log: &IcLog) {
        let mut inner = self.lock();
        let result = match inner.kvp_opens.get(&handle) {
            Some(open) if !open.is_dead => inner.kvp.read(size, offset),
            _ => Err(Errno::ENXIO),
        };
        match (result, inner.kvp_opens.get_mut(&handle)) {
            (Ok(None), Some(open)) => {
                log.note("kvp: a read waits, and nothing can interrupt it");
                open.read = Some((reply, size, offset));
                self.settle(inner, log);
            }
            (result, _) => {
                self.settle(inner, log);
                answer_read(reply, result.map(Option::unwrap_or_default));
            }
        }
    }

    pub(crate) fn kvp_write(&self, handle: u64, bytes: &[u8], log: &IcLog) -> Result<(), Errno> {
        let mut inner = self.lock();
        let result = match inner.kvp_opens.get(&handle) {
            Some(open) if !open.is_dead => inner.kvp.write(bytes),
            _ => Err(Errno::ENXIO),
        };
        self.settle(inner, log);
        result
    }

    pub(crate) fn kvp_poll(&self, handle: u64, waits: Option<PollHandle>) -> Readiness {
        let mut inner = self.lock();
        let is_readable = inner.kvp.is_readable();
        match inner.kvp_opens.get_mut(&handle) {
            Some(open) if !open.is_dead => {
                if waits.is_some() {
                    open.poll = waits;
                }
                if is_readable { Readiness::Readable } else { Readiness::Nothing }
            }
            _ => Readiness::Gone,
        }
    }

    pub(crate) fn host_sends_kvp(&self, bytes: &[u8], log: &IcLog) -> u64 {
        let mut inner = self.lock();
        let xactid = inner.next_xactid;
        inner.next_xactid += 1;
        inner.sent.insert(xactid, clock::now());
        log.sent_to_guest(xactid, bytes);
        if inner.kvp_present {
            inner.kvp.host_message(xactid, bytes);
        }
        self.settle(inner, log);
        xactid
    }

    /// The key-value pairs' device goes, and its driver kills the process that opened it; or it comes back.
    pub(crate) fn set_kvp_present(&self, present: bool, log: &IcLog) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.kvp_present, present) == present {
            return;
        }
        inner.kvp = Kvp::default();
        let wake = inner.kvp_opens.values_mut().filter_map(|open| open.poll.take()).collect();
        let alive = inner.kvp_opens.values_mut().filter(|open| !open.is_dead);
        let killed = alive.map(|open| {
            open.is_dead = true;
            open.pid
        });
        let victims: Vec<u32> = killed.collect();
        self.settle(inner, log);
        self.wake(wake);
        for pid in victims.into_iter().filter_map(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1) {
            // It may have ended by itself a moment ago.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    pub(crate) fn is_kvp_present(&self) -> bool {
        self.lock().kvp_present
    }

    pub(crate) fn is_present(&self) -> bool {
        self.lock().present
    }

    pub(crate) fn standing(&self) -> Standing {
        self.lock().driver.standing()
    }
}

impl Inner {
    /// Reads that waited and have a message now.
    fn serve_kvp_reads(&mut self) -> Vec<(ReplyData, Result<Vec<u8>, Errno>)> {
        let mut served = Vec::new();
        for open in self.kvp_opens.values_mut() {
            let Some((reply, size, offset)) = open.read.take() else { continue };
            let result = if open.is_dead { Err(Errno::ENXIO) } else { self.kvp.read(size, offset) };
            match result {
                Ok(None) => open.read = Some((reply, size, offset)),
                Ok(Some(bytes)) => served.push((reply, Ok(bytes))),
                Err(errno) => served.push((reply, Err(errno))),
            }
        }
        served
    }
}

fn answer_read(reply: ReplyData, result: Result<Vec<u8>, Errno>) {
    match result {
        Ok(bytes) => reply.data(&bytes),
        Err(errno) => reply.error(fuser::Errno::from_i32(errno as i32)),
    }
}
