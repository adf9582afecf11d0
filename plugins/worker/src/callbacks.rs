//! What a plugin may call: log, sub-step, time left, cancelled, lost.
//!
//! The functions ignore the pointer they are given and find the call at work in a thread-local: a plugin that passes garbage, or calls from a
//! thread of its own or between calls, then does no harm, and gets nothing.
#![allow(unsafe_code, reason = "these are the functions that the C ABI lends to plugins, with strings of theirs")]

use std::cell::RefCell;
use std::ffi::{CStr, c_char};
use std::rc::Rc;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_plugin::abi;
use hv_vss_wire::{Event, Level, Phase, Progress};

use crate::debt::Debt;
use crate::link::{Link, one_line};

/// Whether a call may be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Check, claim, freeze and ended: at the deadline, when cancelled, and when the orchestrator is gone.
    UntilToldOrAlone,
    /// A thaw that was asked for: only when cancelled. That the orchestrator died meanwhile is no reason to stop letting go.
    UntilTold,
    /// A thaw nobody asked for.
    ToTheEnd,
}

/// How many log lines a plugin may send in one call. What is beyond is dropped and counted, however fast it is read: the orchestrator that reads it has a
/// backup to take meanwhile.
const LINES_IN_A_CALL: u32 = 2000;

/// The call at work.
pub struct AtWork {
    /// The socket for what the plugin says.
    pub link: Rc<RefCell<Link>>,
    /// The request's id; none when the worker acts on its own.
    pub id: Option<u64>,
    /// Until when.
    pub deadline: Monotonic,
    /// Whether it may be given up.
    pub patience: Patience,
    /// What the plugin said about a hold that did not hold.
    pub lost: Option<String>,
    /// What has been let go, for the record that outlives the orchestrator.
    pub debt: Rc<Debt>,
    /// How many log lines it has sent.
    pub lines: u32,
}

thread_local! {
    static AT_WORK: RefCell<Option<AtWork>> = const { RefCell::new(None) };
}

/// Runs a call of the plugin; what it calls back meanwhile is about `at_work`, which is given back at the end.
pub fn during<R>(at_work: AtWork, call: impl FnOnce() -> R) -> (R, Option<AtWork>) {
    AT_WORK.set(Some(at_work));
    let result = call();
    let at_work = AT_WORK.take();
    if let Some(at_work) = &at_work {
        at_work.link.borrow_mut().tell_of_dropped_lines();
    }
    (result, at_work)
}

/// The functions, as the header has them.
pub static HOST: abi::Host = abi::Host {
    size: size_of::<abi::Host>() as u32,
    abi: abi::PLUGIN_ABI,
    log: Some(log),
    substep: Some(substep),
    time_left_ms: Some(time_left_ms),
    cancelled: Some(cancelled),
    lost: Some(lost),
    started: Some(started),
};

/// Does something with the call at work, if there is one on this thread.
fn at_work<R>(f: impl FnOnce(&mut AtWork) -> R) -> Option<R> {
    AT_WORK.try_with(|cell| cell.try_borrow_mut().ok()?.as_mut().map(f)).ok().flatten()
}

/// A string of the plugin's; null counts as empty.
///
/// # Safety
/// `text` is null or a C string.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller, who got it from a plugin that promised it to us.
    one_line(&unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

unsafe extern "C" fn log(_: *const abi::Host, level: i32, line: *const c_char) {
    // SAFETY: the header asks plugins for a C string.
    let line = unsafe { text(line) };
    let level = match level {
        abi::LOG_DEBUG => Level::Debug,
        abi::LOG_INFO => Level::Info,
        abi::LOG_WARN => Level::Warn,
        _ => Level::Error,
    };
    at_work(|call| {
        call.lines += 1;
        let mut link = call.link.borrow_mut();
        if call.lines > LINES_IN_A_CALL { link.drop_line() } else { link.log(level, &line) }
    });
}

unsafe extern "C" fn substep(
    _: *const abi::Host,
    name: *const c_char,
    phase: i32,
    progress: i32,
    failure: *const c_char,
) {
    // SAFETY: the header asks plugins for a C string.
    let name = unsafe { text(name) };
    let progress = match progress {
        abi::SUBSTEP_PLANNED => Progress::Planned,
        abi::SUBSTEP_STARTED => Progress::Started,
        // SAFETY: null or a C string, says the header.
        _ => Progress::Ended { failure: (!failure.is_null()).then(|| unsafe { text(failure) }) },
    };
    let phase = if phase == abi::PHASE_FREEZE { Phase::Freeze } else { Phase::Thaw };
    at_work(|call| {
        let settled = (phase == Phase::Thaw && matches!(progress, Progress::Ended { .. })).then(|| name.clone());
        let alone = {
            let mut link = call.link.borrow_mut();
            link.send_substep(&Event::Substep { name, phase, progress });
            link.end().is_some()
        };
        if let Some(name) = settled {
            call.debt.settled(name, alone);
        }
    });
}

unsafe extern "C" fn time_left_ms(_: *const abi::Host) -> u64 {
    at_work(|call| u64::try_from(clock::now().until(call.deadline).as_millis()).unwrap_or(u64::MAX)).unwrap_or(0)
}

unsafe extern "C" fn cancelled(_: *const abi::Host) -> i32 {
    let given_up = at_work(|call| {
        let mut link = call.link.borrow_mut();
        link.flush();
        link.read();
        let told = call.id.is_some_and(|id| link.is_given_up(id));
        match call.patience {
            Patience::UntilToldOrAlone => told || link.end().is_some() || clock::now() >= call.deadline,
            Patience::UntilTold => told,
            Patience::ToTheEnd => false,
        }
    });
    // Nobody waits for what is done outside of a call.
    i32::from(given_up.unwrap_or(true))
}

unsafe extern "C" fn lost(_: *const abi::Host, why: *const c_char) {
    // SAFETY: the header asks plugins for a C string.
    let why = unsafe { text(why) };
    at_work(|call| call.lost = Some(why));
}

unsafe extern "C" fn started(_: *const abi::Host, name: *const c_char, phase: i32, pid: i32, mark: *const c_char) {
    // SAFETY: the header asks plugins for a C string.
    let name = unsafe { text(name) };
    // SAFETY: as above.
    let mark = unsafe { text(mark) };
    let phase = if phase == abi::PHASE_FREEZE { Phase::Freeze } else { Phase::Thaw };
    at_work(|call| call.link.borrow_mut().send_substep(&Event::Process { name, phase, pid, mark }));
}
