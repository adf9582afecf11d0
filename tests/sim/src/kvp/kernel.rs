//! The KVP driver of FreeBSD's base system, with the rules that its daemon has to keep.
//!
//! 1. One opener. (The kernel's second one gets *minus* EBUSY, which FUSE can't return.)
//! 2. Before REGISTER nothing can be read, and the host's messages wait.
//! 3. Readable means that an answer is owed: from the request until the write.
//! 4. A read waits, not interruptibly, for a count; the count outlives its daemon. The message is
//!    there only a moment after the node has become readable: [`CONVERTS`].
//! 5. A read of more than a message copies what lies behind the driver's buffer: a test failure.
//! 6. A write that nothing asked for meets a host message that is gone: a test failure.
//! 7. The thread wakes the reader before it sleeps. A wakeup within [`TOO_FAST`] is lost: the host
//!    has its answer, and the thread sleeps on.
//! 8. After [`PATIENCE`] the host gets a failure. Until the late write no request is passed on, and
//!    each of them fails after as long.
//! 9. An answer to an operation that the driver does not know reaches the host, and the write fails.
//! 10. The thread serves VSS, too, and goes on with KVP as long as there are messages.

use std::collections::VecDeque;
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use nix::errno::Errno;

use super::message::{BODY, DELETE, ENUMERATE, GET, GET_IP, SET, SET_IP};
use super::text::{to_utf8, to_utf16};
use crate::driver::Effect;
use crate::driver::base::negotiate;
use crate::ic::{self, HEADER};

/// How long the driver waits for its daemon.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer that comes sooner after its request wakes a thread that does not sleep yet.
const TOO_FAST: Duration = Duration::from_millis(2);
/// Between readable and the message.
const CONVERTS: Duration = Duration::from_micros(200);
/// The operation that registers; the same number as GET_IP.
const REGISTER: u8 = 4;
/// KVP's highest version.
const VERSION: (u16, u16) = (4, 0);

/// A message of the host that is in work: what it came with, and whether it was answered.
struct Current {
    xactid: u64,
    bytes: Vec<u8>,
    is_in_progress: bool,
    /// When the daemon was told of it.
    told: Monotonic,
}

pub(crate) struct Kvp {
    ring: VecDeque<(u64, Vec<u8>)>,
    is_open: bool,
    is_registered: bool,
    daemon_is_busy: bool,
    counts: u32,
    message: Box<[u8; BODY]>,
    current: Option<Current>,
    has_timed_out: bool,
    /// The message is converted and the count raised then.
    converts_at: Option<Monotonic>,
    /// The thread sleeps until then.
    sleeps_until: Option<Monotonic>,
    effects: Vec<Effect>,
    has_become_readable: bool,
}

impl Default for Kvp {
    fn default() -> Self {
        Self {
            ring: VecDeque::new(),
            is_open: false,
            is_registered: false,
            daemon_is_busy: false,
            counts: 0,
            message: Box::new([0; BODY]),
            current: None,
            has_timed_out: false,
            converts_at: None,
            sleeps_until: None,
            effects: Vec::new(),
            has_become_readable: false,
        }
    }
}

impl Kvp {
    pub(crate) fn host_message(&mut self, xactid: u64, bytes: &[u8]) {
        self.ring.push_back((xactid, bytes.to_vec()));
        self.run();
    }

    /// Whether the shared thread is in this driver.
    pub(crate) fn has_the_thread(&self) -> bool {
        self.sleeps_until.is_some()
    }

    fn note(&mut self, text: impl Into<String>) {
        self.effects.push(Effect::Note(format!("kvp: {}", text.into())));
    }

    fn panic(&mut self, text: &str) {
        self.effects.push(Effect::Panic(format!("kvp: {text}")));
    }

    /// The task: works through the ring, and sleeps for each message.
    fn run(&mut self) {
        while self.is_registered && self.sleeps_until.is_none() {
            let Some((xactid, mut bytes)) = self.ring.pop_front() else { break };
            let now = clock::now();
            if ic::get16(&bytes, ic::AT_TYPE) == Some(ic::TYPE_NEGOTIATE) {
                let length = bytes.len();
                let (length, status) = negotiate(&mut bytes, length, VERSION);
                bytes.truncate(length);
                self.current = Some(Current { xactid, bytes, is_in_progress: true, told: now });
                self.respond(status);
                self.has_timed_out = true;
                continue;
            }
            bytes.resize(HEADER + BODY, 0);
            self.current = Some(Current { xactid, bytes, is_in_progress: true, told: now });
            self.sleeps_until = Some(now + PATIENCE);
            if self.daemon_is_busy {
                self.note("the daemon has not answered the last request: this one is not passed on");
            } else {
                self.has_timed_out = false;
                self.daemon_is_busy = true;
                self.has_become_readable = true;
                self.converts_at = Some(now + CONVERTS);
            }
        }
    }

    fn respond(&mut self, status: u32) {
        let Some(current) = self.current.as_mut().filter(|current| current.is_in_progress) else { return };
        current.is_in_progress = false;
        let mut bytes = current.bytes.clone();
        ic::put32(&mut bytes, ic::AT_STATUS, status);
        bytes[ic::AT_FLAGS] = ic::FLAGS_OF_AN_ANSWER;
        self.effects.push(Effect::Send { xactid: current.xactid, bytes });
    }

    /// The thread wakes up, by a write or after its time.
    fn wake(&mut self) {
        self.sleeps_until = None;
        self.has_timed_out = true;
        self.respond(ic::HV_E_FAIL);
        self.run();
    }

    pub(crate) fn open(&mut self) -> Result<(), Errno> {
        if self.is_open {
            return Err(Errno::EBUSY);
        }
        self.is_open = true;
        self.daemon_is_busy = false;
        Ok(())
    }

    pub(crate) fn close(&mut self) {
        self.is_open = false;
        self.is_registered = false;
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.daemon_is_busy
    }

    /// What read(2) gives; none: it waits.
    pub(crate) fn read(&mut self, size: usize, offset: u64) -> Result<Option<Vec<u8>>, Errno> {
        if !self.is_registered {
            return Err(Errno::EPERM);
        }
        if size > BODY {
            self.panic(&format!("a read of {size} bytes gets what lies behind the driver's {BODY}"));
        }
        if self.counts == 0 {
            return Ok(None);
        }
        self.counts -= 1;
        let left = usize::try_from(offset).ok().and_then(|offset| (BODY + 1).checked_sub(offset)).unwrap_or(0);
        Ok(Some(self.message[..size.min(left).min(BODY)].to_vec()))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let length = bytes.len().min(BODY);
        self.message[..length].copy_from_slice(&bytes[..length]);
        if length < BODY {
            self.note(format!("a message of {length} bytes ends in what the kernel's heap held"));
        }
        if !self.is_registered {
            if self.message[0] != REGISTER {
                return Err(Errno::EINVAL);
            }
            self.is_registered = true;
            self.run();
            return Ok(());
        }
        let mut result = Ok(());
        if !self.has_timed_out {
            let now = clock::now();
            let Some(current) = self.current.as_mut().filter(|current| current.is_in_progress && self.daemon_is_busy)
            else {
                self.panic("a write that nothing asked for meets a host message that is gone");
                return Ok(());
            };
            let told = current.told;
            result = to_host(&self.message, &mut current.bytes[HEADER..]);
            let status = u32::from_ne_bytes(*self.message.first_chunk().unwrap_or(&[0; 4]));
            self.respond(status);
            self.daemon_is_busy = false;
            if told.until(now) < TOO_FAST {
                self.note("a wakeup before the sleep is lost; the thread sleeps on");
            } else {
                self.wake();
            }
            return result;
        }
        if self.daemon_is_busy {
            self.note("a late answer is dropped");
        } else {
            self.panic("a write that nothing asked for");
        }
        self.daemon_is_busy = false;
        result
    }

    pub(crate) fn next_timer(&self) -> Option<Monotonic> {
        [self.converts_at, self.sleeps_until].into_iter().flatten().min()
    }

    pub(crate) fn timer(&mut self, now: Monotonic) {
        if self.converts_at.is_some_and(|at| at <= now) {
            self.converts_at = None;
            if let Some(current) = &self.current {
                *self.message = to_user(&current.bytes[HEADER..]);
            }
            self.counts += 1;
        }
        if self.sleeps_until.is_some_and(|at| at <= now) {
            self.note("the thread has slept for all of its time");
            self.wake();
        }
    }

    /// Whether pollers are to be woken, and what else is to be done.
    pub(crate) fn take_effects(&mut self) -> (bool, Vec<Effect>) {
        (std::mem::take(&mut self.has_become_readable), std::mem::take(&mut self.effects))
    }
}

fn units(host: &[u8], at: usize, count: usize) -> impl Iterator<Item = u16> {
    // The driver takes sizes in bytes for numbers of units, and reads on behind the field.
    let bytes = host.get(at..).unwrap_or_default();
    bytes.chunks_exact(2).take(count).map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
}

/// Where a text lies with the host and with the daemon, and how many units and bytes it may have.
type Place = (usize, usize, usize);

/// Addresses: with the host each lies two bytes before its place with the daemon.
const OF_ADDRESSES: [Place; 5] =
    [(4, 128, 128), (262, 1024, 1024), (2310, 1024, 1024), (4358, 512, 512), (5382, 1024, 1024)];

fn to_user(host: &[u8]) -> [u8; BODY] {
    let mut user = [0; BODY];
    (user[0], user[1]) = (host[0], host[1]);
    let size = |at: usize| ic::get32(host, at).unwrap_or(0) as usize;
    let mut put = |at: usize, text: &[u8]| user[at..at + text.len()].copy_from_slice(text);
    match host[0] {
        GET => put(16, &to_utf8(units(host, 16, size(8)), 511)),
        SET => {
            match size(4) {
                1 => put(528, &to_utf8(units(host, 528, size(12)), 2047)),
                #[allow(
                    clippy::cast_possible_wrap,
                    clippy::cast_possible_truncation,
                    reason = "as the driver prints it"
                )]
                4 => put(528, (size(528) as i32).to_string().as_bytes()),
                8 => put(528, &(size(528) as u64 | (size(532) as u64) << 32).to_string().into_bytes()),
                _ => {}
            }
            put(16, &to_utf8(units(host, 16, size(8)), 511));
        }
        DELETE => put(8, &to_utf8(units(host, 8, size(4)), 511)),
        ENUMERATE => put(4, &host[4..8]),
        GET_IP => put(4, &to_utf8(units(host, 2, 128), 128)),
        SET_IP => {
            put(260, &host[258..260]);
            for (at, count, room) in OF_ADDRESSES {
                put(at, &to_utf8(units(host, at - 2, count), room));
            }
        }
        _ => {}
    }
    user
}

/// The answer's texts, by the operation that the *host* had asked for.
fn to_host(user: &[u8; BODY], host: &mut [u8]) -> Result<(), Errno> {
    let text = |at: usize| user[at..].split(|byte| *byte == 0).next().unwrap_or_default();
    match host[0] {
        GET => put(host, 528, Some(12), 1022, text(528)),
        ENUMERATE => {
            put(host, 20, Some(12), 254, text(20));
            put(host, 532, Some(16), 1022, text(532));
        }
        GET_IP => {
            OF_ADDRESSES.iter().for_each(|(at, count, _)| put(host, at - 2, None, *count, text(*at)));
            host[258..260].copy_from_slice(&user[260..262]);
        }
        SET | DELETE | SET_IP => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// As many units as there is room for, and the size of all of them.
fn put(host: &mut [u8], at: usize, size_at: Option<usize>, most: usize, text: &[u8]) {
    let units = to_utf16(text);
    for (place, unit) in units.iter().take(most).enumerate() {
        ic::put16(host, at + 2 * place, *unit);
    }
    if let Some(size_at) = size_at {
        ic::put32(host, size_at, u32::try_from(2 * (units.len() + 1)).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests;
