//! kmod/broker/vss_core.c behind the nodes: this file only passes calls in and keeps what the callbacks ask for.
#![allow(unsafe_code)] // Calls C and is called by it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use std::ptr::NonNull;
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use nix::errno::Errno;

use super::{ACCOUNT, Access, Driver, Effect, HEARD, MESSAGE, Node, Opener, Standing, WallClock};

/// `enum vss_node`.
const NODE_FS: c_int = 0;
const NODE_APP: c_int = 1;

/// `struct vss_core_config`.
#[repr(C)]
struct Config {
    max_apps: u32,
    timeout_ms: u32,
    freeze_timeout_ms: u32,
}

/// `struct vss_core_ops`.
#[repr(C)]
struct Ops {
    now_ns: extern "C" fn(*mut c_void) -> u64,
    send: unsafe extern "C" fn(*mut c_void, u64, *mut u8, usize) -> c_int,
    notify: extern "C" fn(*mut c_void, c_int),
    timer_arm: extern "C" fn(*mut c_void, u32),
    timer_cancel: extern "C" fn(*mut c_void),
    done: Option<extern "C" fn(*mut c_void, *const c_void, c_int)>,
    log: unsafe extern "C" fn(*mut c_void, c_int, *const c_char, c_int, u32, u64),
}

/// The struct of any of the ioctls, as bytes: nothing here looks into it.
#[repr(C, align(8))]
struct Argument([u8; ACCOUNT]);

unsafe extern "C" {
    fn vss_core_size() -> usize;
    fn vss_core_align() -> usize;
    fn vss_core_init(core: *mut c_void, config: *const Config, ops: *const Ops, arg: *mut c_void);
    fn vss_core_detach(core: *mut c_void);
    fn vss_core_set_timeout_ms(core: *mut c_void, timeout_ms: u32);
    fn vss_core_host_msg(core: *mut c_void, msg: *mut u8, len: usize, xactid: u64);
    fn vss_core_open(core: *mut c_void, node: c_int, pid: i32, opener: *mut c_int) -> c_int;
    fn vss_core_close(core: *mut c_void, opener: c_int);
    fn vss_core_ioctl(core: *mut c_void, opener: c_int, cmd: c_ulong, writing: c_int, data: *mut Argument) -> c_int;
    fn vss_core_is_readable(core: *const c_void, opener: c_int) -> c_int;
    fn vss_core_timeout(core: *mut c_void);
    fn vss_core_stage(core: *const c_void) -> c_int;
    fn vss_core_openers(core: *const c_void, node: c_int) -> c_int;
}

/// What the callbacks leave behind.
struct Kept {
    clock: WallClock,
    timer: Option<Monotonic>,
    effects: Vec<Effect>,
}

pub(crate) struct Ours {
    core: NonNull<c_void>,
    layout: Layout,
    /// The callbacks' `arg` points here; boxed, so that it stays where it is.
    kept: Box<RefCell<Kept>>,
}

// SAFETY: the core has no globals and no thread of its own; it may be called from any thread, one at a time, which `&mut self` ensures.
unsafe impl Send for Ours {}

impl Ours {
    pub(crate) fn new(clock: WallClock, limit: Duration) -> Self {
        // SAFETY: takes nothing and returns a constant.
        let size = unsafe { vss_core_size() };
        // SAFETY: as above.
        let align = unsafe { vss_core_align() };
        let layout = Layout::from_size_align(size, align).expect("vss_core says how large it is");
        // SAFETY: the core is not empty, so the layout isn't.
        let memory = unsafe { alloc_zeroed(layout) };
        let core = NonNull::new(memory.cast()).unwrap_or_else(|| handle_alloc_error(layout));
        let kept = Box::new(RefCell::new(Kept { clock, timer: None, effects: Vec::new() }));
        let config = Config { max_apps: 0, timeout_ms: milliseconds(limit), freeze_timeout_ms: 0 };
        let ops = Ops { now_ns, send, notify, timer_arm, timer_cancel, done: None, log };
        let arg = (&raw const *kept).cast_mut().cast();
        // SAFETY: the memory has the size and alignment the core asked for; config and ops are copied; kept outlives the core.
        unsafe { vss_core_init(core.as_ptr(), &raw const config, &raw const ops, arg) };
        Self { core, layout, kept }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.core.as_ptr().cast(), self.layout) };
    }
}

impl Driver for Ours {
    fn host_message(&mut self, xactid: u64, bytes: &[u8]) {
        let mut scratch = bytes.to_vec();
        // SAFETY: the core is initialised; the buffer is ours for the length of the call.
        unsafe { vss_core_host_msg(self.core.as_ptr(), scratch.as_mut_ptr(), scratch.len(), xactid) };
    }

    fn open(&mut self, node: Node, pid: u32) -> Result<Opener, Errno> {
        let mut opener = -1;
        let pid = i32::try_from(pid).unwrap_or(0);
        // SAFETY: the core is initialised, opener is written before the return.
        let error = unsafe { vss_core_open(self.core.as_ptr(), number_of(node), pid, &raw mut opener) };
        if error == 0 { Ok(opener) } else { Err(Errno::from_raw(error)) }
    }

    fn close(&mut self, opener: Opener) {
        // SAFETY: the core is initialised and checks the number.
        unsafe { vss_core_close(self.core.as_ptr(), opener) };
    }

    fn ioctl(&mut self, opener: Opener, command: u32, access: Access, input: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut argument = Argument([0; ACCOUNT]);
        let length = if command == HEARD { ACCOUNT } else { MESSAGE };
        let known = input.len().min(length);
        argument.0[..known].copy_from_slice(&input[..known]);
        let writing = c_int::from(access == Access::Writing);
        // SAFETY: the core is initialised and touches only as much as the command says.
        let error =
            unsafe { vss_core_ioctl(self.core.as_ptr(), opener, c_ulong::from(command), writing, &raw mut argument) };
        if error == 0 { Ok(argument.0[..length].to_vec()) } else { Err(Errno::from_raw(error)) }
    }

    fn is_readable(&self, opener: Opener) -> bool {
        // SAFETY: the core is initialised and only read.
        unsafe { vss_core_is_readable(self.core.as_ptr(), opener) != 0 }
    }

    fn next_timer(&self) -> Option<Monotonic> {
        self.kept.borrow().timer
    }

    fn timer(&mut self, _now: Monotonic) {
        self.kept.borrow_mut().timer = None;
        // SAFETY: the core is initialised.
        unsafe { vss_core_timeout(self.core.as_ptr()) };
    }

    fn set_limit(&mut self, limit: Duration) {
        // SAFETY: the core is initialised.
        unsafe { vss_core_set_timeout_ms(self.core.as_ptr(), milliseconds(limit)) };
    }

    fn detach(&mut self) {
        // SAFETY: the core is initialised.
        unsafe { vss_core_detach(self.core.as_ptr()) };
    }

    fn standing(&self) -> Standing {
        // SAFETY: the core is initialised and only read.
        let daemons = unsafe { vss_core_openers(self.core.as_ptr(), NODE_FS) };
        // SAFETY: as above.
        let apps = unsafe { vss_core_openers(self.core.as_ptr(), NODE_APP) };
        // SAFETY: as above.
        let stage = unsafe { vss_core_stage(self.core.as_ptr()) };
        Standing { daemon_open: daemons > 0, apps_open: u32::try_from(apps).unwrap_or(0), pending: stage != 0 }
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.kept.borrow_mut().effects)
    }
}

fn number_of(node: Node) -> c_int {
    match node {
        Node::Filesystems => NODE_FS,
        Node::Applications => NODE_APP,
    }
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

fn kept<'a>(arg: *mut c_void) -> &'a RefCell<Kept> {
    // SAFETY: `arg` is what `new` handed to vss_core_init; the box lives as long as the core, and callbacks run only inside calls on it.
    unsafe { &*arg.cast::<RefCell<Kept>>() }
}

extern "C" fn now_ns(arg: *mut c_void) -> u64 {
    kept(arg).borrow().clock.now_ns()
}

unsafe extern "C" fn send(arg: *mut c_void, xactid: u64, msg: *mut u8, len: usize) -> c_int {
    // SAFETY: the core lends `len` bytes for the length of this call.
    let bytes = unsafe { std::slice::from_raw_parts(msg, len) }.to_vec();
    kept(arg).borrow_mut().effects.push(Effect::Send { xactid, bytes });
    0
}

extern "C" fn notify(arg: *mut c_void, opener: c_int) {
    kept(arg).borrow_mut().effects.push(Effect::Wake(opener));
}

extern "C" fn timer_arm(arg: *mut c_void, ms: u32) {
    kept(arg).borrow_mut().timer = Some(clock::now() + Duration::from_millis(ms.into()));
}

extern "C" fn timer_cancel(arg: *mut c_void) {
    kept(arg).borrow_mut().timer = None;
}

unsafe extern "C" fn log(arg: *mut c_void, _level: c_int, what: *const c_char, opener: c_int, opt: u32, msgid: u64) {
    // SAFETY: the core passes a static phrase.
    let what = unsafe { CStr::from_ptr(what) }.to_string_lossy();
    let line = format!("driver: {what} (opener {opener}, opt {opt}, msgid {msgid})");
    kept(arg).borrow_mut().effects.push(Effect::Note(line));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{READ, WRITE};
    use crate::ic::{self, Answer};

    #[test]
    fn a_check_goes_through_the_core_and_back_to_the_host() {
        let mut driver = Ours::new(WallClock::default(), Duration::from_secs(1));
        let daemon = driver.open(Node::Filesystems, 1).unwrap();
        driver.host_message(41, &ic::request(ic::HOT_BACKUP, 7));
        assert!(driver.is_readable(daemon));
        assert!(driver.next_timer().is_some());

        let message = driver.ioctl(daemon, READ, Access::Writing, &[]).unwrap();
        assert_eq!(message[0], 1, "opt is CHECK");
        driver.ioctl(daemon, WRITE, Access::Writing, &message).unwrap();

        let sent = driver.take_effects().into_iter().find_map(|effect| match effect {
            Effect::Send { xactid: 41, bytes } => Answer::read(&bytes),
            _ => None,
        });
        let answer = sent.unwrap();
        assert!(answer.is_ok());
        assert_eq!((answer.transaction, answer.flags, answer.vss_flags), (7, 5, Some(5)));
        assert_eq!(driver.next_timer(), None);
    }

    #[test]
    fn an_unknown_ioctl_tells_the_two_drivers_apart() {
        let probe = nix::request_code_none!(b'v', 1) as u32;
        let mut ours = Ours::new(WallClock::default(), Duration::from_secs(1));
        let daemon = ours.open(Node::Filesystems, 1).unwrap();
        assert_eq!(ours.ioctl(daemon, probe, Access::Writing, &[]).unwrap_err(), Errno::ENOTTY);
        let mut base = crate::driver::base::Base::new(WallClock::default(), Duration::from_secs(1));
        let daemon = base.open(Node::Filesystems, 1).unwrap();
        assert_eq!(base.ioctl(daemon, probe, Access::Writing, &[]).unwrap(), [0; MESSAGE]);
    }
}
