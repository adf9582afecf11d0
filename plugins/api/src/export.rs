//! The border: C functions that the worker calls, around the methods of a [`Plugin`]. No panic leaves them, and nothing they are given is kept.
#![allow(unsafe_code, reason = "these are the functions that the C ABI calls")]

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::step::{Host, Mount, Step, pointers, text};
use crate::{About, Claim, Config, Failure, Observer, Opening, Plugin, abi};

/// The table of a plugin, as [`export_plugin!`](crate::export_plugin) keeps it.
pub struct Table(abi::Plugin);

// SAFETY: written once, before anybody reads it, and it points only to strings that are never freed.
unsafe impl Sync for Table {}
// SAFETY: as above.
unsafe impl Send for Table {}

impl Table {
    /// Builds the table of the plugin `P`. Its strings live for ever: there is one table in a process.
    #[must_use]
    pub fn of<P: Plugin>() -> Self {
        let about = P::ABOUT;
        let mut roles = 0;
        if about.filesystem {
            roles |= abi::ROLE_FILESYSTEM;
        }
        if about.application {
            roles |= abi::ROLE_APPLICATION;
        }
        Self(abi::Plugin {
            roles,
            flags: if about.holds_survive_exit { abi::HOLDS_SURVIVE_EXIT } else { 0 },
            open: Some(open::<P>),
            check: Some(check::<P>),
            claim: Some(claim::<P>),
            freeze: Some(freeze::<P>),
            thaw: Some(thaw::<P>),
            close: Some(close::<P>),
            ..named(&about)
        })
    }

    /// Builds the table of the observer `O`.
    #[must_use]
    pub fn of_observer<O: Observer>() -> Self {
        Self(abi::Plugin {
            roles: abi::ROLE_OBSERVER,
            open: Some(observer_open::<O>),
            close: Some(observer_close::<O>),
            ended: Some(ended::<O>),
            ..named(&O::ABOUT)
        })
    }

    /// What the entry function returns.
    #[must_use]
    pub fn as_ptr(&self) -> *const abi::Plugin {
        &raw const self.0
    }
}

/// A table with the names of a plugin, and no function.
fn named(about: &About) -> abi::Plugin {
    let leaked = |text: &str| CString::new(text.replace('\0', "")).unwrap_or_default().into_raw().cast_const();
    abi::Plugin {
        size: size_of::<abi::Plugin>() as u32,
        abi: abi::PLUGIN_ABI,
        roles: 0,
        flags: 0,
        number: about.number.into(),
        reserved: 0,
        name: leaked(about.name),
        version: leaked(about.version),
        description: leaked(about.description),
        open: None,
        check: None,
        claim: None,
        freeze: None,
        thaw: None,
        close: None,
        ended: None,
    }
}

/// The worker's reason buffer.
struct Reason {
    at: *mut c_char,
    room: usize,
}

impl Reason {
    /// Writes as much of the sentence as there is room for, whole characters only, and the null byte.
    fn write(&self, sentence: &str) {
        if self.at.is_null() || self.room == 0 {
            return;
        }
        let sentence = sentence.split('\0').next().unwrap_or_default();
        let mut length = sentence.len().min(self.room - 1);
        while !sentence.is_char_boundary(length) {
            length -= 1;
        }
        // SAFETY: the worker lends `room` bytes at `at` until the call returns; nobody else looks at them meanwhile.
        let lent = unsafe { std::slice::from_raw_parts_mut(self.at.cast::<u8>(), self.room) };
        lent[..length].copy_from_slice(&sentence.as_bytes()[..length]);
        lent[length] = 0;
    }
}

unsafe extern "C" fn open<P: Plugin>(
    opening: *const abi::Opening,
    this: *mut *mut c_void,
    reason: *mut c_char,
    room: usize,
) -> i32 {
    // SAFETY: the worker passes a valid struct of at least version 1, and a place for our pointer.
    unsafe { opened_by(P::open, opening, this, &Reason { at: reason, room }) }
}

unsafe extern "C" fn observer_open<O: Observer>(
    opening: *const abi::Opening,
    this: *mut *mut c_void,
    reason: *mut c_char,
    room: usize,
) -> i32 {
    // SAFETY: the worker passes a valid struct of at least version 1, and a place for our pointer.
    unsafe { opened_by(O::open, opening, this, &Reason { at: reason, room }) }
}

/// # Safety
/// `opening` is a valid struct of at least version 1, and `this` a place for a pointer.
unsafe fn opened_by<T>(
    constructor: fn(Opening<'_>) -> Result<T, Failure>,
    opening: *const abi::Opening,
    this: *mut *mut c_void,
    reason: &Reason,
) -> i32 {
    guarded("open", reason, || {
        // SAFETY: promised above.
        let raw = unsafe { *opening };
        // SAFETY: it lists setting_count pointers to settings that live through the call.
        let listed = unsafe { pointers(raw.settings, raw.setting_count) };
        let mut config = Config::default();
        for setting in listed {
            // SAFETY: each pointer leads to a setting of at least version 1.
            let setting = unsafe { **setting };
            // SAFETY: a string that lives through the call.
            let key = unsafe { text(setting.key) }.unwrap_or_default();
            // SAFETY: a string that lives through the call.
            let value = unsafe { text(setting.value) }.unwrap_or_default();
            config.settings.push((key.to_owned(), value.to_owned()));
        }
        // SAFETY: a string that lives through the call.
        config.json = unsafe { text(raw.json) }.unwrap_or_default().to_owned();
        // SAFETY: the worker's functions are valid while the plugin is.
        let host = unsafe { Host::from_raw(raw.host) };
        let plugin = constructor(Opening { config, host })?;
        // SAFETY: promised above.
        unsafe { *this = Box::into_raw(Box::new(plugin)).cast() };
        Ok(abi::DONE)
    })
}

unsafe extern "C" fn check<P: Plugin>(
    this: *mut c_void,
    step: *const abi::Step,
    reason: *mut c_char,
    room: usize,
) -> i32 {
    // SAFETY: the worker passes what open gave it, and a valid step.
    unsafe { with_step::<P>("check", this, step, &Reason { at: reason, room }, P::check) }
}

unsafe extern "C" fn freeze<P: Plugin>(
    this: *mut c_void,
    step: *const abi::Step,
    reason: *mut c_char,
    room: usize,
) -> i32 {
    // SAFETY: the worker passes what open gave it, and a valid step.
    unsafe { with_step::<P>("freeze", this, step, &Reason { at: reason, room }, P::freeze) }
}

unsafe extern "C" fn thaw<P: Plugin>(
    this: *mut c_void,
    step: *const abi::Step,
    reason: *mut c_char,
    room: usize,
) -> i32 {
    // SAFETY: the worker passes what open gave it, and a valid step.
    unsafe { with_step::<P>("thaw", this, step, &Reason { at: reason, room }, P::thaw) }
}

unsafe extern "C" fn claim<P: Plugin>(
    this: *mut c_void,
    step: *const abi::Step,
    mount: *const abi::Mount,
    reason: *mut c_char,
    room: usize,
) -> i32 {
    let reason = Reason { at: reason, room };
    guarded("claim", &reason, || {
        // SAFETY: the worker passes what open gave it; one call at a time, so nobody else has a reference.
        let plugin = unsafe { &mut *this.cast::<P>() };
        // SAFETY: valid through the call.
        let step = unsafe { Step::from_raw(step) };
        // SAFETY: valid through the call.
        let mount = unsafe { Mount::from_raw(mount) };
        Ok(match plugin.claim(&step, &mount) {
            Claim::Freeze => abi::CLAIM_FREEZE,
            Claim::NotMine => abi::CLAIM_NOT_MINE,
            Claim::Ignore(why) => {
                reason.write(&why);
                abi::CLAIM_IGNORE
            }
            Claim::Veto(why) => {
                reason.write(&why);
                abi::CLAIM_VETO
            }
        })
    })
}

unsafe extern "C" fn ended<O: Observer>(
    this: *mut c_void,
    step: *const abi::Step,
    record: *const c_char,
    reason: *mut c_char,
    room: usize,
) -> i32 {
    guarded("ended", &Reason { at: reason, room }, || {
        // SAFETY: the worker passes what open gave it; one call at a time, so nobody else has a reference.
        let observer = unsafe { &mut *this.cast::<O>() };
        // SAFETY: valid through the call.
        let step = unsafe { Step::from_raw(step) };
        // SAFETY: a string that lives through the call.
        let record = unsafe { text(record) }.unwrap_or_default();
        observer.ended(&step, record).map(|()| abi::DONE)
    })
}

unsafe extern "C" fn close<P: Plugin>(this: *mut c_void) {
    // SAFETY: what open gave the worker, given back once, with the last call.
    unsafe { closed_by(P::close, this) }
}

unsafe extern "C" fn observer_close<O: Observer>(this: *mut c_void) {
    // SAFETY: what open gave the worker, given back once, with the last call.
    unsafe { closed_by(O::close, this) }
}

/// # Safety
/// `this` came from [`opened_by`] for the same `T`, and is not used again.
unsafe fn closed_by<T>(last: fn(T), this: *mut c_void) {
    let nowhere = Reason { at: std::ptr::null_mut(), room: 0 };
    guarded("close", &nowhere, || {
        // SAFETY: promised above.
        last(*unsafe { Box::from_raw(this.cast::<T>()) });
        Ok(abi::DONE)
    });
}

/// # Safety
/// `this` came from [`open`] for the same `P`, and `step` is valid through the call.
unsafe fn with_step<P: Plugin>(
    call: &str,
    this: *mut c_void,
    step: *const abi::Step,
    reason: &Reason,
    method: fn(&mut P, &Step<'_>) -> Result<(), Failure>,
) -> i32 {
    guarded(call, reason, || {
        // SAFETY: promised above; one call at a time, so nobody else has a reference.
        let plugin = unsafe { &mut *this.cast::<P>() };
        // SAFETY: promised above.
        let step = unsafe { Step::from_raw(step) };
        method(plugin, &step).map(|()| abi::DONE)
    })
}

/// Runs a method, and puts every way in which it can end as one of the ABI's results.
///
/// After a panic the plugin goes on being called: its `thaw` is the one way to let go of what it holds, so trying is better than not.
fn guarded(call: &str, reason: &Reason, method: impl FnOnce() -> Result<i32, Failure>) -> i32 {
    remember_where_panics_happen();
    match catch_unwind(AssertUnwindSafe(method)) {
        Ok(Ok(code)) => code,
        Ok(Err(Failure::Refused(why))) => {
            reason.write(&why);
            abi::REFUSED
        }
        Ok(Err(Failure::Broken(why))) => {
            reason.write(&why);
            abi::BROKEN
        }
        Err(payload) => {
            let place = LAST_PANIC.with_borrow_mut(Option::take).unwrap_or_else(|| "an unknown place".to_owned());
            reason.write(&format!("panicked in {call}: {} (at {place})", message_of(payload.as_ref())));
            // A payload whose destructor panics would unwind into C here: it is not worth its memory.
            std::mem::forget(payload);
            abi::BROKEN
        }
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces the panic hook that prints: stderr may be a pipe that nobody empties just now, and printing to it would block.
fn remember_where_panics_happen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            LAST_PANIC.with_borrow_mut(|last| *last = info.location().map(ToString::to_string));
        }));
    });
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
