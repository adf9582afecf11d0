//! The C header `include/hv_vss_plugin.h`, line by line in Rust. Only layouts and numbers: what they mean stands in the header.
//!
//! A plugin author has no use for this file; the worker and the SDK do. `tests/layout.rs` compiles a C program against the header and
//! compares every size and offset with these, so the two can't drift apart.

use std::ffi::{c_char, c_void};

/// The version of the ABI that this file describes.
pub const PLUGIN_ABI: u32 = 1;
/// The name of the one symbol a plugin exports; its type is [`Entry`].
pub const ENTRY_SYMBOL: &str = "hv_vss_plugin_v1";

/// A call is done.
pub const DONE: i32 = 0;
/// A call is refused, with a sentence.
pub const REFUSED: i32 = 1;
/// The plugin failed, with a sentence.
pub const BROKEN: i32 = 2;

/// `claim`: the plugin will freeze it.
pub const CLAIM_FREEZE: i32 = 16;
/// `claim`: it needs no freezing.
pub const CLAIM_IGNORE: i32 = 17;
/// `claim`: it can't be frozen, and a backup without it would be wrong.
pub const CLAIM_VETO: i32 = 18;
/// `claim`: ask the next plugin.
pub const CLAIM_NOT_MINE: i32 = 19;

/// Bit of `roles`: suspends filesystems.
pub const ROLE_FILESYSTEM: u32 = 1;
/// Bit of `roles`: brings an application to rest.
pub const ROLE_APPLICATION: u32 = 2;
/// Bit of `roles`: is told how cycles ended.
pub const ROLE_OBSERVER: u32 = 4;

/// Bit of a plugin's `flags`: what it holds outlives its process.
pub const HOLDS_SURVIVE_EXIT: u32 = 1;

/// Outcome: nothing has failed so far.
pub const OUTCOME_OK: u32 = 0;
/// Outcome: the freeze failed or was given up.
pub const OUTCOME_ABORTED: u32 = 1;
/// Outcome: let go without having been asked to, in time.
pub const OUTCOME_EXPIRED: u32 = 2;
/// Outcome: the daemon died in between.
pub const OUTCOME_RECOVERED: u32 = 3;
/// Outcome: started from the backup, or reset during it.
pub const OUTCOME_RESTORED: u32 = 4;

/// Log level: for developers.
pub const LOG_DEBUG: i32 = 0;
/// Log level: normal business.
pub const LOG_INFO: i32 = 1;
/// Log level: worth a look.
pub const LOG_WARN: i32 = 2;
/// Log level: something went wrong.
pub const LOG_ERROR: i32 = 3;

/// Phase of a sub-step: before and at the freeze.
pub const PHASE_FREEZE: i32 = 0;
/// Phase of a sub-step: at and after the thaw.
pub const PHASE_THAW: i32 = 1;

/// Progress of a sub-step: it will be run if nothing goes wrong before.
pub const SUBSTEP_PLANNED: i32 = 0;
/// Progress of a sub-step: it was started.
pub const SUBSTEP_STARTED: i32 = 1;
/// Progress of a sub-step: it ended.
pub const SUBSTEP_ENDED: i32 = 2;

/// Bit of a mount's `flags`: mounted read-only.
pub const MOUNT_READ_ONLY: u32 = 1;

/// `struct hv_vss_mount`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Mount {
    pub size: u32,
    pub flags: u32,
    pub fsid: [u8; 8],
    pub fstype: *const c_char,
    pub on: *const c_char,
    pub from: *const c_char,
    pub backing: *const c_char,
    pub swap: *const c_char,
}

/// `struct hv_vss_host`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Host {
    pub size: u32,
    pub abi: u32,
    pub log: Option<unsafe extern "C" fn(host: *const Host, level: i32, text: *const c_char)>,
    pub substep: Option<
        unsafe extern "C" fn(host: *const Host, name: *const c_char, phase: i32, progress: i32, failure: *const c_char),
    >,
    pub time_left_ms: Option<unsafe extern "C" fn(host: *const Host) -> u64>,
    pub cancelled: Option<unsafe extern "C" fn(host: *const Host) -> i32>,
    pub lost: Option<unsafe extern "C" fn(host: *const Host, why: *const c_char)>,
    pub started:
        Option<unsafe extern "C" fn(host: *const Host, name: *const c_char, phase: i32, pid: i32, mark: *const c_char)>,
}

/// `struct hv_vss_setting`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Setting {
    pub size: u32,
    pub reserved: u32,
    pub key: *const c_char,
    pub value: *const c_char,
}

/// `struct hv_vss_opening`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Opening {
    pub size: u32,
    pub setting_count: u32,
    pub settings: *const *const Setting,
    pub json: *const c_char,
    pub host: *const Host,
}

/// `struct hv_vss_step`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Step {
    pub size: u32,
    pub outcome: u32,
    pub role: u32,
    pub mount_count: u32,
    pub cycle: *const c_char,
    pub host: *const Host,
    pub mounts: *const *const Mount,
    pub deadline_ns: u64,
    pub time_left_ms: u64,
    pub expiry_ns: u64,
    pub owed: *const *const c_char,
    pub owed_count: u32,
    pub reserved: u32,
    pub only: *const c_char,
    pub rehearsal: u32,
    pub reserved2: u32,
}

/// The type of `open`.
pub type OpenFn = unsafe extern "C" fn(*const Opening, *mut *mut c_void, *mut c_char, usize) -> i32;
/// The type of `check`, `freeze` and `thaw`.
pub type StepFn = unsafe extern "C" fn(*mut c_void, *const Step, *mut c_char, usize) -> i32;
/// The type of `claim`.
pub type ClaimFn = unsafe extern "C" fn(*mut c_void, *const Step, *const Mount, *mut c_char, usize) -> i32;
/// The type of `ended`.
pub type EndedFn = unsafe extern "C" fn(*mut c_void, *const Step, *const c_char, *mut c_char, usize) -> i32;
/// The type of `close`.
pub type CloseFn = unsafe extern "C" fn(*mut c_void);

/// `struct hv_vss_plugin`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the header says it")]
pub struct Plugin {
    pub size: u32,
    pub abi: u32,
    pub roles: u32,
    pub flags: u32,
    pub number: u32,
    pub reserved: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub description: *const c_char,
    pub open: Option<OpenFn>,
    pub check: Option<StepFn>,
    pub claim: Option<ClaimFn>,
    pub freeze: Option<StepFn>,
    pub thaw: Option<StepFn>,
    pub close: Option<CloseFn>,
    pub ended: Option<EndedFn>,
}

/// The type of `hv_vss_plugin_v1`.
pub type Entry = unsafe extern "C" fn() -> *const Plugin;
