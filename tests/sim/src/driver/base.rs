//! The behaviour of the VSS driver in FreeBSD's base system, quirks and defects included, so that the daemon is seen to live with it.
//!
//! Each of these is in the driver's source and must stay here until it is repaired there:
//!
//! 1. READ with an empty queue succeeds and says so only by `status` 1; any other ioctl succeeds and does nothing.
//! 2. WRITE always succeeds: an answer that came too late is dropped without a word, and the node may be open read-only.
//! 3. `opt` is trusted: an answer with another `opt` than was asked stops a debug kernel.
//! 4. One request at a time: a FREEZE, THAW or CHECK that comes while one is queued is dropped and never answered.
//! 5. One receive buffer for all: whatever comes meanwhile, the dropped message included, overwrites the one that is to be echoed.
//! 6. The time limit is one for application and daemon together; at its end the host gets a failure and nobody else hears of it.
//! 7. An application that acknowledged a FREEZE which failed later is never told; nor is it told of a THAW that was answered with failure.
//! 8. Before the daemon's first open host messages wait unread, even a negotiation; after it, while the node is closed, all but the
//!    negotiation are failed.
//! 9. A close leaves the pending request to its timer.
//! 10. An application that acknowledges while the daemon's node is closed orphans the request; its timer then stops a debug kernel.
//! 11. The reader is woken before the timer is armed: an answer within the same instant stops a timer that is not running yet. It is armed
//!     afterwards and finds a recycled request. How long "the same instant" can be depends on the scheduler; here it is [`TOO_FAST`] after READ.
//! 12. An operation it doesn't know is not answered while the daemon is there.
//! 13. A detach kills the openers; the machine does that, since it knows their process ids.

use std::collections::VecDeque;
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use nix::errno::Errno;

use super::{
    ACCOUNT, Access, CHECK, Driver, Effect, FAIL, FREEZE, HEARD, MESSAGE, Node, Opener, READ, SUCCESS, Standing, THAW,
    WRITE, WallClock,
};
use crate::ic;

/// An answer that leaves sooner than this after READ meets quirk 11.
pub(crate) const TOO_FAST: Duration = Duration::from_millis(2);

/// The receive buffer: four pages.
const BUFFER: usize = 4 * 4096;
/// VSS's highest version.
const VERSION: (u16, u16) = (5, 0);
/// How many requests the driver has to recycle.
const POOL: usize = 4;
/// The flags of HOT_BACKUP's answer: no auto-recovery.
const NO_AUTO_RECOVERY: u32 = 5;
/// What a failed negotiation is answered with: an errno, where the host expects its own codes.
const NEGOTIATION_FAILED: u32 = 22;

const DAEMON: usize = 0;
const APPLICATION: usize = 1;

/// A request's place in the pool.
type Slot = usize;

#[derive(Clone, Default)]
struct Request {
    opt: u32,
    msgid: u64,
    xactid: u64,
    length: usize,
    /// Survives recycling, as the driver's callout does.
    timer: Option<Monotonic>,
    /// When the first of those it was handed to has READ it.
    first_read: Option<Monotonic>,
    /// It has been passed on to the second: by then its timer is surely armed.
    passed_on: bool,
}

#[derive(Default)]
struct Side {
    open: bool,
    to_notify: VecDeque<Slot>,
    to_ack: VecDeque<Slot>,
}

pub(crate) struct Base {
    clock: WallClock,
    limit: Duration,
    ring: VecDeque<(u64, Vec<u8>)>,
    buffer: Vec<u8>,
    sides: [Side; 2],
    daemon_was_there: bool,
    requests: [Request; POOL],
    free: Vec<Slot>,
    effects: Vec<Effect>,
}

impl Base {
    pub(crate) fn new(clock: WallClock, limit: Duration) -> Self {
        Self {
            clock,
            limit,
            ring: VecDeque::new(),
            buffer: vec![0; BUFFER],
            sides: [Side::default(), Side::default()],
            daemon_was_there: false,
            requests: Default::default(),
            free: (0..POOL).collect(),
            effects: Vec::new(),
        }
    }

    /// Works through the ring, unless nobody has ever opened the daemon's node (quirk 8).
    fn receive(&mut self) {
        while self.daemon_was_there || self.sides[DAEMON].open {
            let Some((xactid, bytes)) = self.ring.pop_front() else { break };
            let length = bytes.len().min(BUFFER);
            self.buffer[..length].copy_from_slice(&bytes[..length]);
            self.take_up(xactid, length);
        }
    }

    fn take_up(&mut self, xactid: u64, length: usize) {
        if ic::get16(&self.buffer, ic::AT_TYPE) == Some(ic::TYPE_NEGOTIATE) {
            let (length, status) = negotiate(&mut self.buffer, length, VERSION);
            return self.respond(xactid, length, status);
        }
        let operation = self.buffer[ic::AT_OPERATION];
        if !self.sides[DAEMON].open {
            match operation {
                ic::HOT_BACKUP => ic::put32(&mut self.buffer, ic::AT_VSS_FLAGS, NO_AUTO_RECOVERY),
                ic::GET_DM_INFO => ic::put32(&mut self.buffer, ic::AT_VSS_FLAGS, 0),
                _ => {}
            }
            return self.respond(xactid, length, ic::HV_E_FAIL);
        }
        match operation {
            ic::HOT_BACKUP => self.start(xactid, length, CHECK),
            ic::FREEZE => self.start(xactid, length, FREEZE),
            ic::THAW => self.start(xactid, length, THAW),
            ic::GET_DM_INFO => {
                ic::put32(&mut self.buffer, ic::AT_VSS_FLAGS, 0);
                self.respond(xactid, length, ic::HV_S_OK);
            }
            other => self.effects.push(Effect::Note(format!("driver: unknown operation {other} is not answered"))),
        }
    }

    fn start(&mut self, xactid: u64, length: usize, opt: u32) {
        let busy = self.sides.iter().any(|side| !side.to_notify.is_empty() || !side.to_ack.is_empty());
        let Some(slot) = self.free.last().copied().filter(|_| !busy) else {
            self.effects.push(Effect::Note("driver: a request came before the last was finished; dropped".into()));
            return;
        };
        self.free.pop();
        let side = if opt != THAW && self.sides[APPLICATION].open { APPLICATION } else { DAEMON };
        self.requests[slot] = Request {
            opt,
            msgid: self.clock.now_ns(),
            xactid,
            length,
            timer: Some(clock::now() + self.limit),
            first_read: None,
            passed_on: false,
        };
        self.hand(side, slot);
    }

    fn hand(&mut self, side: usize, slot: Slot) {
        self.sides[side].to_notify.push_back(slot);
        self.effects.push(Effect::Wake(opener_of(side)));
    }

    fn read(&mut self, side: usize) -> Vec<u8> {
        let mut message = vec![0; MESSAGE];
        let Some(slot) = self.sides[side].to_notify.pop_front() else {
            message[4..8].copy_from_slice(&FAIL.to_ne_bytes());
            return message;
        };
        self.sides[side].to_ack.push_back(slot);
        let request = &mut self.requests[slot];
        request.first_read.get_or_insert_with(clock::now);
        message[..4].copy_from_slice(&request.opt.to_ne_bytes());
        message[8..16].copy_from_slice(&request.msgid.to_ne_bytes());
        message
    }

    fn write(&mut self, side: usize, message: &[u8]) {
        let Some((opt, status, msgid)) = fields(message) else { return };
        let acknowledged = self.sides[side].to_ack.iter().position(|slot| self.requests[*slot].msgid == msgid);
        let Some(slot) = acknowledged.and_then(|place| self.sides[side].to_ack.remove(place)) else {
            self.effects.push(Effect::Note(format!("driver: nobody waits for an answer to {msgid}; dropped")));
            return;
        };
        if opt != self.requests[slot].opt {
            self.effects.push(Effect::Panic(format!(
                "Mismatched VSS operation: asked {}, answered {opt}",
                self.requests[slot].opt
            )));
            return;
        }
        let passes_on = match (side, opt) {
            (DAEMON, THAW) => self.sides[APPLICATION].open && status == SUCCESS,
            (APPLICATION, CHECK | FREEZE) => status == SUCCESS,
            _ => false,
        };
        if side == APPLICATION && !self.sides[DAEMON].open {
            // Quirk 10: in no queue any more, and its timer runs.
            self.effects.push(Effect::Note("driver: the daemon's node is closed; the request is lost".into()));
        } else if passes_on {
            self.requests[slot].passed_on = true;
            self.hand(1 - side, slot);
        } else {
            self.stop_timer(slot);
            self.finish(slot, if status == SUCCESS { ic::HV_S_OK } else { ic::HV_E_FAIL });
        }
    }

    /// Quirk 11: what is not armed yet can't be stopped.
    fn stop_timer(&mut self, slot: Slot) {
        let request = &mut self.requests[slot];
        let in_time = request.passed_on || request.first_read.is_some_and(|at| at.until(clock::now()) >= TOO_FAST);
        if in_time {
            request.timer = None;
        } else {
            self.effects.push(Effect::Note("driver: answered within the instant; a stray timer is left behind".into()));
        }
    }

    fn finish(&mut self, slot: Slot, status: u32) {
        let Request { opt, xactid, length, .. } = self.requests[slot];
        if opt == CHECK {
            ic::put32(&mut self.buffer, ic::AT_VSS_FLAGS, NO_AUTO_RECOVERY);
        }
        self.respond(xactid, length, status);
        self.free.push(slot);
    }

    fn respond(&mut self, xactid: u64, length: usize, status: u32) {
        ic::put32(&mut self.buffer, ic::AT_STATUS, status);
        self.buffer[ic::AT_FLAGS] = ic::FLAGS_OF_AN_ANSWER;
        self.effects.push(Effect::Send { xactid, bytes: self.buffer[..length].to_vec() });
    }
}

/// Chooses the highest version of each kind that is not above ours; the length of the answer and its status.
pub(crate) fn negotiate(buffer: &mut [u8], length: usize, ours: (u16, u16)) -> (usize, u32) {
    let refused = (length, NEGOTIATION_FAILED);
    let counts = (ic::get16(buffer, ic::HEADER), ic::get16(buffer, ic::HEADER + 2));
    let (Some(frameworks), Some(messages)) = counts else { return refused };
    let (frameworks, messages) = (usize::from(frameworks), usize::from(messages));
    let needed = ic::AT_NEGOTIATED + 4 * (frameworks + messages);
    if length < needed || frameworks == 0 || messages == 0 {
        return refused;
    }
    let version = |place: usize| {
        let at = ic::AT_NEGOTIATED + 4 * place;
        (ic::get16(buffer, at).unwrap_or(0), ic::get16(buffer, at + 2).unwrap_or(0))
    };
    let framework = (0..frameworks).map(version).filter(|offered| *offered <= (3, 0)).max();
    let message = (frameworks..frameworks + messages).map(version).filter(|offered| *offered <= ours).max();
    let (Some(framework), Some(message)) = (framework, message) else { return refused };
    ic::put16(buffer, ic::HEADER, 1);
    ic::put16(buffer, ic::HEADER + 2, 1);
    for (place, (major, minor)) in [framework, message].into_iter().enumerate() {
        ic::put16(buffer, ic::AT_NEGOTIATED + 4 * place, major);
        ic::put16(buffer, ic::AT_NEGOTIATED + 4 * place + 2, minor);
    }
    ic::put16(buffer, ic::AT_DATA_SIZE, 16);
    (ic::AT_NEGOTIATED + 8, ic::HV_S_OK)
}

impl Driver for Base {
    fn host_message(&mut self, xactid: u64, bytes: &[u8]) {
        self.ring.push_back((xactid, bytes.to_vec()));
        self.receive();
    }

    fn open(&mut self, node: Node, _pid: u32) -> Result<Opener, Errno> {
        let side = side_of(node);
        if self.sides[side].open {
            return Err(Errno::EBUSY);
        }
        self.sides[side].open = true;
        if side == DAEMON {
            self.receive();
            self.daemon_was_there = true;
        }
        Ok(opener_of(side))
    }

    fn close(&mut self, opener: Opener) {
        self.sides[side_at(opener)].open = false;
    }

    fn ioctl(&mut self, opener: Opener, command: u32, _access: Access, input: &[u8]) -> Result<Vec<u8>, Errno> {
        match command {
            READ => return Ok(self.read(side_at(opener))),
            WRITE => self.write(side_at(opener), input),
            _ => {}
        }
        // As the kernel copies out what no driver has filled.
        Ok(vec![0; if command == HEARD { ACCOUNT } else { MESSAGE }])
    }

    fn is_readable(&self, opener: Opener) -> bool {
        !self.sides[side_at(opener)].to_notify.is_empty()
    }

    fn next_timer(&self) -> Option<Monotonic> {
        self.requests.iter().filter_map(|request| request.timer).min()
    }

    fn timer(&mut self, now: Monotonic) {
        for slot in 0..POOL {
            if self.requests[slot].timer.is_none_or(|at| at > now) {
                continue;
            }
            self.requests[slot].timer = None;
            let mut found = false;
            for side in &mut self.sides {
                for queue in [&mut side.to_notify, &mut side.to_ack] {
                    let before = queue.len();
                    queue.retain(|queued| *queued != slot);
                    found |= queue.len() < before;
                }
            }
            if found {
                self.finish(slot, ic::HV_E_FAIL);
            } else {
                self.effects.push(Effect::Panic("timeout but fail to find request".into()));
            }
        }
    }

    fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    fn detach(&mut self) {}

    fn standing(&self) -> Standing {
        Standing {
            daemon_open: self.sides[DAEMON].open,
            apps_open: self.sides[APPLICATION].open.into(),
            pending: self.free.len() < POOL,
        }
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}

fn side_of(node: Node) -> usize {
    match node {
        Node::Filesystems => DAEMON,
        Node::Applications => APPLICATION,
    }
}

fn side_at(opener: Opener) -> usize {
    if opener == 0 { DAEMON } else { APPLICATION }
}

fn opener_of(side: usize) -> Opener {
    if side == DAEMON { 0 } else { 1 }
}

/// `opt`, `status` and `msgid` of a message.
fn fields(message: &[u8]) -> Option<(u32, u32, u64)> {
    Some((
        u32::from_ne_bytes(*message.first_chunk()?),
        u32::from_ne_bytes(*message.get(4..)?.first_chunk()?),
        u64::from_ne_bytes(*message.get(8..)?.first_chunk()?),
    ))
}

#[cfg(test)]
mod tests;
