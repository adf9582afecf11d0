//! What a plugin is told in each call, and what it can tell and ask while the call is at work: the safe side of the header's structs.
//!
//! The lifetimes keep a plugin from keeping what belongs to the worker; nothing here can be sent to another thread, since the worker's functions
//! may be called on the calling one only.
#![allow(unsafe_code, reason = "reads the structs that come over the C ABI")]

use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::abi;

/// How the cycle stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing has failed so far.
    Ok,
    /// The freeze failed or was given up.
    Aborted,
    /// The Hyper-V host did not thaw in time; we let go by ourselves.
    Expired,
    /// The daemon died in between; this cleans up after it.
    Recovered,
    /// This machine was started from the backup, or was reset during it.
    Restored,
}

impl fmt::Display for Outcome {
    /// The word of `HV_VSS_OUTCOME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Aborted => "aborted",
            Self::Expired => "expired",
            Self::Recovered => "recovered",
            Self::Restored => "restored",
        })
    }
}

/// In which role the plugin is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It suspends one filesystem.
    Filesystem,
    /// It brings an application to rest.
    Application,
    /// It is told how a cycle ended.
    Observer,
}

/// How serious a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For developers.
    Debug,
    /// Normal business.
    Info,
    /// Worth a look.
    Warn,
    /// Something went wrong.
    Error,
}

/// Which half of a cycle a sub-step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before and at the freeze.
    Freeze,
    /// At and after the thaw.
    Thaw,
}

/// What happened to a sub-step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// It will be run in this cycle if nothing goes wrong before.
    Planned,
    /// It was started.
    Started,
    /// It ended well.
    Ended,
    /// It ended, and this sentence says what went wrong.
    Failed(&'a str),
}

/// One mounted filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// The filesystem's id, in the kernel's memory order.
    pub fsid: [u8; 8],
    /// Its type as the kernel names it: `ufs`, `zfs` ...
    pub fstype: &'a str,
    /// The directory it is mounted on.
    pub on: &'a str,
    /// What is mounted: a device, a dataset, a directory.
    pub from: &'a str,
    /// Mounted read-only.
    pub read_only: bool,
    /// The file that holds it, when it lies on a vnode-backed md(4).
    pub backing: Option<&'a str>,
    /// A swap file in use that lies on it.
    pub swap: Option<&'a str>,
}

impl<'a> Mount<'a> {
    /// # Safety
    /// `raw` must be valid as the header promises, for `'a`.
    pub(crate) unsafe fn from_raw(raw: *const abi::Mount) -> Self {
        // SAFETY: the promise above; all members read here are of version 1, which every worker gives whole.
        let raw = unsafe { *raw };
        // SAFETY: the worker passes null or a string that lives as long as the call; the same holds for the next four.
        let text = |pointer| unsafe { text(pointer) };
        Self {
            fsid: raw.fsid,
            fstype: text(raw.fstype).unwrap_or(""),
            on: text(raw.on).unwrap_or(""),
            from: text(raw.from).unwrap_or(""),
            read_only: raw.flags & abi::MOUNT_READ_ONLY != 0,
            backing: text(raw.backing),
            swap: text(raw.swap),
        }
    }
}

/// A string of the worker's: UTF-8 by the header's promise, `None` for a null pointer or for bytes that break the promise.
///
/// # Safety
/// `pointer` is null or a C string that lives for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a str> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { CStr::from_ptr(pointer) }.to_str().ok()
}

/// An array of pointers of the worker's.
///
/// # Safety
/// `first` is null (then the array is empty) or points to `count` pointers that live for `'a`.
pub(crate) unsafe fn pointers<'a, T>(first: *const *const T, count: u32) -> &'a [*const T] {
    if first.is_null() {
        return &[];
    }
    // SAFETY: the caller vouches for it.
    unsafe { std::slice::from_raw_parts(first, count as usize) }
}

/// The worker's functions, for as long as a call is at work.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    raw: *const abi::Host,
    call: PhantomData<&'a abi::Host>,
}

impl Host<'_> {
    /// # Safety
    /// `raw` must be valid as the header promises while a value of this type exists.
    pub(crate) unsafe fn from_raw(raw: *const abi::Host) -> Self {
        Self { raw, call: PhantomData }
    }

    fn table(&self) -> abi::Host {
        let mut host = std::mem::MaybeUninit::<abi::Host>::zeroed();
        // SAFETY: valid by from_raw's promise; `size` is the first member of every version.
        let size = unsafe { (*self.raw.cast::<u32>()) as usize }.min(size_of::<abi::Host>());
        // SAFETY: at most as many bytes as either side has.
        unsafe { std::ptr::copy_nonoverlapping(self.raw.cast::<u8>(), host.as_mut_ptr().cast::<u8>(), size) };
        // SAFETY: zero bytes are a valid number and no function; all others came from such a struct.
        unsafe { host.assume_init() }
    }

    /// A process was started for a part of this step: should this process die before its thaw is answered, that one is ended with all that
    /// descends from it. `mark` stands in its environment as `HV_VSS_FAMILY`.
    pub fn started(&self, name: &str, phase: Phase, pid: i32, mark: &str) {
        let phase = match phase {
            Phase::Freeze => abi::PHASE_FREEZE,
            Phase::Thaw => abi::PHASE_THAW,
        };
        if let Some(started) = self.table().started {
            // SAFETY: called on the plugin's thread during a call, with strings that live through it.
            unsafe { started(self.raw, c_string(name).as_ptr(), phase, pid, c_string(mark).as_ptr()) }
        }
    }

    /// Sends one line to the log of hv_vss. Never blocks.
    pub fn log(&self, level: Level, text: &str) {
        let level = match level {
            Level::Debug => abi::LOG_DEBUG,
            Level::Info => abi::LOG_INFO,
            Level::Warn => abi::LOG_WARN,
            Level::Error => abi::LOG_ERROR,
        };
        if let Some(log) = self.table().log {
            // SAFETY: called on the plugin's thread during a call, with a string that lives through it.
            unsafe { log(self.raw, level, c_string(text).as_ptr()) }
        }
    }

    /// Reports what happened to a part of this step that has a name of its own. What was started in the freeze, and has not ended in the thaw,
    /// a later process of this plugin finds in [`Step::owed`].
    pub fn substep(&self, name: &str, phase: Phase, progress: Progress<'_>) {
        let phase = match phase {
            Phase::Freeze => abi::PHASE_FREEZE,
            Phase::Thaw => abi::PHASE_THAW,
        };
        let (progress, failure) = match progress {
            Progress::Planned => (abi::SUBSTEP_PLANNED, None),
            Progress::Started => (abi::SUBSTEP_STARTED, None),
            Progress::Ended => (abi::SUBSTEP_ENDED, None),
            Progress::Failed(why) => (abi::SUBSTEP_ENDED, Some(c_string(why))),
        };
        if let Some(substep) = self.table().substep {
            let failure = failure.as_ref().map_or(std::ptr::null(), |why| why.as_ptr());
            // SAFETY: called on the plugin's thread during a call, with strings that live through it.
            unsafe { substep(self.raw, c_string(name).as_ptr(), phase, progress, failure) }
        }
    }

    /// How long until the deadline of the call at work.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        // SAFETY: called on the plugin's thread during a call.
        self.table().time_left_ms.map_or(Duration::ZERO, |left| Duration::from_millis(unsafe { left(self.raw) }))
    }

    /// Whether the call at work should be given up. Cheap enough for a loop.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        // SAFETY: called on the plugin's thread during a call.
        self.table().cancelled.is_some_and(|cancelled| unsafe { cancelled(self.raw) } != 0)
    }

    /// In a thaw: what this plugin should have held did not stay at rest until now. The Hyper-V host hears that the backup is no good.
    pub fn lost(&self, why: &str) {
        if let Some(lost) = self.table().lost {
            // SAFETY: called on the plugin's thread during a call, with a string that lives through it.
            unsafe { lost(self.raw, c_string(why).as_ptr()) }
        }
    }
}

/// The text up to its first null byte: a C string can't hold one.
fn c_string(text: &str) -> CString {
    let until_null = text.split('\0').next().unwrap_or_default();
    CString::new(until_null).unwrap_or_default()
}

/// The worker's struct as far as the worker's goes; what an older worker did not know is zero.
///
/// # Safety
/// `raw` must be valid as the header promises: for as many bytes as its first member says.
unsafe fn as_far_as_given(raw: *const abi::Step) -> abi::Step {
    let mut step = std::mem::MaybeUninit::<abi::Step>::zeroed();
    // SAFETY: `size` is the first member of every version.
    let size = unsafe { (*raw.cast::<u32>()) as usize }.min(size_of::<abi::Step>());
    // SAFETY: at most as many bytes as either side has.
    unsafe { std::ptr::copy_nonoverlapping(raw.cast::<u8>(), step.as_mut_ptr().cast::<u8>(), size) };
    // SAFETY: zero bytes are a valid number and a null pointer; all others came from such a struct.
    unsafe { step.assume_init() }
}

/// What `check`, `claim`, `freeze`, `thaw` and `ended` are told. It also does all that [`Host`] does.
pub struct Step<'a> {
    given: abi::Step,
    host: Host<'a>,
    began: Instant,
}

impl<'a> Step<'a> {
    /// # Safety
    /// `raw` must be valid as the header promises, for `'a`.
    pub(crate) unsafe fn from_raw(raw: *const abi::Step) -> Self {
        // SAFETY: the promise above.
        let given = unsafe { as_far_as_given(raw) };
        // SAFETY: the worker's functions are valid while a call is at work.
        let host = unsafe { Host::from_raw(given.host) };
        Self { given, host, began: Instant::now() }
    }

    /// The cycle's id, as the log and the history show it.
    #[must_use]
    pub fn cycle(&self) -> &'a str {
        // SAFETY: a string of the worker's that lives as long as the call.
        unsafe { text(self.given.cycle) }.unwrap_or("")
    }

    /// How the cycle stands.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.given.outcome {
            abi::OUTCOME_OK => Outcome::Ok,
            abi::OUTCOME_EXPIRED => Outcome::Expired,
            abi::OUTCOME_RECOVERED => Outcome::Recovered,
            abi::OUTCOME_RESTORED => Outcome::Restored,
            // A word that only a later worker knows is in any case not "ok".
            _ => Outcome::Aborted,
        }
    }

    /// The role in which the plugin is called; none in a check or a claim.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self.given.role {
            abi::ROLE_FILESYSTEM => Some(Role::Filesystem),
            abi::ROLE_APPLICATION => Some(Role::Application),
            abi::ROLE_OBSERVER => Some(Role::Observer),
            _ => None,
        }
    }

    /// As a filesystem plugin: the one filesystem this is about. As an application plugin: all that will be or were frozen.
    pub fn mounts(&self) -> impl Iterator<Item = Mount<'a>> + use<'a> {
        let step = &self.given;
        // SAFETY: the worker gives mount_count pointers, each to a mount that lives as long as the call.
        let mounts = unsafe { pointers(step.mounts, step.mount_count) };
        // SAFETY: as above.
        mounts.iter().map(|mount| unsafe { Mount::from_raw(*mount) })
    }

    /// The instant at which the process is killed if the call has not been answered.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.began + Duration::from_millis(self.given.time_left_ms)
    }

    /// The same instant on CLOCK_MONOTONIC, in nanoseconds, for other processes to share.
    #[must_use]
    pub fn deadline_ns(&self) -> u64 {
        self.given.deadline_ns
    }

    /// In a freeze: when thaw is called by itself, should nobody ask for it. Nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn expiry_ns(&self) -> Option<u64> {
        Some(self.given.expiry_ns).filter(|at| *at != 0)
    }

    /// In a thaw: the sub-steps that an earlier process of this plugin started and did not live to let go of. Empty when this process did the
    /// freeze itself.
    pub fn owed(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let step = &self.given;
        // SAFETY: the worker gives owed_count pointers, each to a string that lives as long as the call.
        let owed = unsafe { pointers(step.owed, step.owed_count) };
        // SAFETY: as above.
        owed.iter().filter_map(|name| unsafe { text(*name) })
    }

    /// In the freeze of a rehearsal: the one sub-step to be done, and no other. A plugin that has none of this name refuses.
    #[must_use]
    pub fn only(&self) -> Option<&'a str> {
        // SAFETY: null, also where an older worker knew no such member, or a string of the worker's that lives as long as the call.
        unsafe { text(self.given.only) }
    }

    /// The worker's functions.
    #[must_use]
    pub fn host(&self) -> Host<'a> {
        self.host
    }

    /// [`Host::log`].
    pub fn log(&self, level: Level, text: &str) {
        self.host.log(level, text);
    }

    /// [`Host::substep`].
    pub fn substep(&self, name: &str, phase: Phase, progress: Progress<'_>) {
        self.host.substep(name, phase, progress);
    }

    /// [`Host::cancelled`].
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.host.cancelled()
    }

    /// [`Host::time_left`].
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.host.time_left()
    }

    /// Whether this is a rehearsal and no backup.
    #[must_use]
    pub fn rehearsal(&self) -> bool {
        self.given.rehearsal != 0
    }

    /// [`Host::started`].
    pub fn started(&self, name: &str, phase: Phase, pid: i32, mark: &str) {
        self.host.started(name, phase, pid, mark);
    }

    /// [`Host::lost`].
    pub fn lost(&self, why: &str) {
        self.host.lost(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_host_did_not_know_of_is_not_there_and_a_longer_step_is_read_as_far_as_it_is_known() {
        // SAFETY: zero bytes are valid for every member.
        let mut raw: abi::Step = unsafe { std::mem::zeroed() };
        (raw.role, raw.only) = (abi::ROLE_APPLICATION, c"10-app".as_ptr());
        let only = |size: usize| {
            raw.size = u32::try_from(size).unwrap();
            // SAFETY: a struct of our own, at least as long as it says but for the last case, which is cut to what is known.
            let step = unsafe { Step::from_raw(&raw const raw) };
            assert_eq!(step.role(), Some(Role::Application));
            step.only()
        };
        let whole = size_of::<abi::Step>();
        let [older, same, newer] = [std::mem::offset_of!(abi::Step, only), whole, whole + 64].map(only);
        assert_eq!([older, same, newer], [None, Some("10-app"), Some("10-app")]);
    }
}
