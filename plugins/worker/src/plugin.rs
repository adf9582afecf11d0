//! A loaded plugin: each call with the C structs around it, and every way in which it can end as an answer.
#![allow(unsafe_code, reason = "calls the plugin's functions over the C ABI")]

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::rc::Rc;
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_platform::mounts::Mount;
use hv_vss_plugin::abi;
use hv_vss_wire::{About, Answer, Claim, Outcome, Role, Step};
use serde_json::{Map, Value};

use crate::callbacks::{self, AtWork, Patience};
use crate::debt::Debt;
use crate::link::{Link, one_line};
use crate::load::Loaded;
use crate::marshal::{CMounts, CSettings, CStrings, c_string, outcome};
use crate::process::Backstop;

/// The time for open and close, which have none on the wire: the orchestrator kills a worker whose answer it is tired of waiting for.
const UNTIMED: Duration = Duration::from_secs(600);

/// A plugin in this process.
pub struct Plugin {
    table: abi::Plugin,
    about: About,
    this: *mut c_void,
    link: Rc<RefCell<Link>>,
    debt: Rc<Debt>,
    reason: Reason,
}

/// The calls that take a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed<'a> {
    /// Could you?
    Check,
    /// Come to rest.
    Freeze {
        /// In which role.
        role: Role,
        /// When it is let go without being told to.
        expiry: Monotonic,
        /// The one sub-step to be done; none: all.
        only: Option<&'a str>,
        /// No backup is taken.
        rehearsal: bool,
    },
    /// Let go.
    Thaw {
        /// In which role.
        role: Role,
        /// No backup is taken.
        rehearsal: bool,
    },
}

impl Deed<'_> {
    const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Freeze { .. } => "freeze",
            Self::Thaw { .. } => "thaw",
        }
    }
}

/// How a call is made: for which request, with how much patience.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The request's id; none when the worker acts on its own.
    pub id: Option<u64>,
    /// Whether it may be given up.
    pub patience: Patience,
}

/// How a call ended that is neither done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It can't be done now; a sentence.
    Refused(String),
    /// The plugin failed; a sentence.
    Broken(String),
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(reason) => Self::Refused { reason },
            Failure::Broken(reason) => Self::Broken { reason },
        }
    }
}

/// A thaw or freeze that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What the plugin said about a hold that had not held.
    pub lost: Option<String>,
}

impl Plugin {
    /// A plugin that is loaded, but not open.
    #[must_use]
    pub fn new(loaded: Loaded, link: Rc<RefCell<Link>>, debt: Rc<Debt>) -> Self {
        let Loaded { table, about, .. } = loaded;
        Self { table, about, this: std::ptr::null_mut(), link, debt, reason: Reason::new() }
    }

    /// What it says of itself.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Gives it its configuration.
    ///
    /// # Errors
    /// When it does not want to work so.
    pub fn open(&mut self, id: u64, config: &Map<String, Value>) -> Result<(), Failure> {
        let settings = CSettings::of(config);
        let opening = abi::Opening {
            size: size_of::<abi::Opening>() as u32,
            setting_count: count(settings.pointers()),
            settings: settings.pointers().as_ptr(),
            json: settings.json(),
            host: &raw const callbacks::HOST,
        };
        let Some(open) = self.table.open else { return Err(self.lacks("open")) };
        let this = &raw mut self.this;
        let (buffer, room) = self.reason.lend();
        let order = Order { id: Some(id), patience: Patience::UntilToldOrAlone };
        let deadline = clock::now() + UNTIMED;
        // SAFETY: all that the pointers lead to lives through the call.
        let (code, _) = self.called(order, deadline, || unsafe { open(&raw const opening, this, buffer, room) });
        self.judged("open", code)
    }

    /// Check, freeze or thaw.
    ///
    /// # Errors
    /// When it refuses or fails.
    pub fn step(&mut self, order: Order, deed: Deed<'_>, step: &Step, owed: &[String]) -> Result<Done, Failure> {
        let (role, expiry, only, rehearsal) = match deed {
            Deed::Check => (None, None, None, false),
            Deed::Freeze { role, expiry, only, rehearsal } => (Some(role), Some(expiry), only, rehearsal),
            Deed::Thaw { role, rehearsal } => (Some(role), None, None, rehearsal),
        };
        let function = match deed {
            Deed::Check => self.table.check,
            Deed::Freeze { .. } => self.table.freeze,
            Deed::Thaw { .. } => self.table.thaw,
        };
        let Some(function) = function else { return Err(self.lacks(deed.name())) };
        let mounts = CMounts::of(&step.mounts);
        let owed = CStrings::of(owed);
        let cycle = c_string(&step.cycle);
        let only = only.map(c_string);
        let mut raw = self.raw_step(step, cycle.as_ptr(), &mounts);
        raw.role = match role {
            None => 0,
            Some(Role::Filesystem) => abi::ROLE_FILESYSTEM,
            Some(Role::Application) => abi::ROLE_APPLICATION,
        };
        raw.expiry_ns = expiry.map_or(0, Monotonic::as_ns);
        raw.rehearsal = u32::from(rehearsal);
        raw.owed = owed.pointers().as_ptr();
        raw.owed_count = count(owed.pointers());
        raw.only = only.as_ref().map_or(std::ptr::null(), |name| name.as_ptr());

        let this = self.this;
        let (buffer, room) = self.reason.lend();
        // SAFETY: `this` is what open gave us; all that the pointers lead to lives through the call.
        let call = || unsafe { function(this, &raw const raw, buffer, room) };
        let (code, lost) = self.called(order, step.deadline, call);
        self.judged(deed.name(), code).map(|()| Done { lost })
    }

    /// Tells an observer that a cycle is over.
    ///
    /// # Errors
    /// When it refuses or fails.
    pub fn ended(&mut self, order: Order, step: &Step, record: &str) -> Result<(), Failure> {
        let Some(ended) = self.table.ended.filter(|_| self.about.observer) else { return Err(self.lacks("ended")) };
        let mounts = CMounts::of(&step.mounts);
        let (cycle, record) = (c_string(&step.cycle), c_string(record));
        let raw = abi::Step { role: abi::ROLE_OBSERVER, ..self.raw_step(step, cycle.as_ptr(), &mounts) };
        let this = self.this;
        let (buffer, room) = self.reason.lend();
        // SAFETY: as in step().
        let call = || unsafe { ended(this, &raw const raw, record.as_ptr(), buffer, room) };
        let (code, _) = self.called(order, step.deadline, call);
        self.judged("ended", code)
    }

    /// Whose is each of these mounts? One claim for each.
    ///
    /// # Errors
    /// When it fails, or is given up in between.
    pub fn claims(&mut self, order: Order, step: &Step, mounts: &[Mount]) -> Result<Vec<Claim>, Failure> {
        let Some(claim) = self.table.claim.filter(|_| self.about.filesystem) else {
            return Ok(vec![Claim::NotMine; mounts.len()]);
        };
        let (about, all) = (CMounts::of(&step.mounts), CMounts::of(mounts));
        let cycle = c_string(&step.cycle);
        let mut claims = Vec::with_capacity(mounts.len());
        for mount in all.pointers() {
            let raw = self.raw_step(step, cycle.as_ptr(), &about);
            let this = self.this;
            let (buffer, room) = self.reason.lend();
            // SAFETY: as in step().
            let call = || unsafe { claim(this, &raw const raw, *mount, buffer, room) };
            let (code, _) = self.called(order, step.deadline, call);
            let (reason, damage) = self.reason.collect();
            if let Some(damage) = damage {
                return Err(Failure::Broken(format!("{damage} in claim")));
            }
            let said = |default: &str| reason.clone().unwrap_or_else(|| default.to_owned());
            claims.push(match code {
                abi::CLAIM_FREEZE => Claim::Freeze,
                abi::CLAIM_NOT_MINE => Claim::NotMine,
                abi::CLAIM_IGNORE => Claim::Ignore { reason: said("it gave no reason") },
                abi::CLAIM_VETO => Claim::Veto { reason: said("it gave no reason") },
                abi::REFUSED => return Err(Failure::Refused(said("it refused to judge a mount and gave no reason"))),
                abi::BROKEN => return Err(Failure::Broken(said("claim failed and gave no reason"))),
                code => return Err(Failure::Broken(format!("claim returned {code}, which is no claim"))),
            });
            if clock::now() >= step.deadline {
                return Err(Failure::Refused(format!("out of time after {} of {} mounts", claims.len(), mounts.len())));
            }
        }
        Ok(claims)
    }

    /// The last call.
    pub fn close(&mut self, id: u64) {
        let Some(close) = self.table.close else { return };
        let this = std::mem::take(&mut self.this);
        let order = Order { id: Some(id), patience: Patience::ToTheEnd };
        // SAFETY: `this` is what open gave us, and it is not used again.
        self.called(order, clock::now() + UNTIMED, || unsafe { close(this) });
    }

    fn raw_step(&self, step: &Step, cycle: *const c_char, mounts: &CMounts) -> abi::Step {
        let left = clock::now().until(step.deadline);
        abi::Step {
            size: size_of::<abi::Step>() as u32,
            outcome: outcome(step.outcome),
            role: 0,
            mount_count: count(mounts.pointers()),
            cycle,
            host: &raw const callbacks::HOST,
            mounts: mounts.pointers().as_ptr(),
            deadline_ns: step.deadline.as_ns(),
            time_left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            expiry_ns: 0,
            owed: std::ptr::null(),
            owed_count: 0,
            reserved: 0,
            only: std::ptr::null(),
            rehearsal: 0,
            reserved2: 0,
        }
    }

    fn called<R>(&self, order: Order, deadline: Monotonic, call: impl FnOnce() -> R) -> (R, Option<String>) {
        let Order { id, patience } = order;
        let at_work = AtWork {
            link: Rc::clone(&self.link),
            id,
            deadline,
            patience,
            lost: None,
            debt: Rc::clone(&self.debt),
            lines: 0,
        };
        let _backstop = Backstop::behind(deadline);
        let (result, at_work) = callbacks::during(at_work, call);
        (result, at_work.and_then(|at_work| at_work.lost))
    }

    fn judged(&mut self, call: &str, code: i32) -> Result<(), Failure> {
        let (reason, damage) = self.reason.collect();
        if let Some(damage) = damage {
            return Err(Failure::Broken(format!("{damage} in {call}")));
        }
        match code {
            abi::DONE => Ok(()),
            abi::REFUSED => {
                Err(Failure::Refused(reason.unwrap_or_else(|| format!("{call} refused and gave no reason"))))
            }
            abi::BROKEN => Err(Failure::Broken(reason.unwrap_or_else(|| format!("{call} failed and gave no reason")))),
            code => Err(Failure::Broken(format!("{call} returned {code}, which is no result"))),
        }
    }

    /// Can't happen after load(), which names the missing member; said rather than assumed.
    fn lacks(&self, member: &str) -> Failure {
        Failure::Broken(format!("its table lacks {member}"))
    }
}

/// A step that the worker takes on its own: nobody asked, so nobody set a deadline.
#[must_use]
pub fn own_step(cycle: &str, mounts: &[Mount], outcome: Outcome, deadline: Monotonic) -> Step {
    Step { cycle: cycle.to_owned(), outcome, deadline, mounts: mounts.to_vec() }
}

fn count<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

/// The buffer lent for a reason, with a strip behind it that shows whether the plugin wrote beyond its end.
struct Reason {
    bytes: Box<[u8; ROOM + STRIP]>,
}

const ROOM: usize = 1024;
const STRIP: usize = 4096;
const UNTOUCHED: u8 = 0xa5;

impl Reason {
    fn new() -> Self {
        Self { bytes: Box::new([UNTOUCHED; ROOM + STRIP]) }
    }

    /// A fresh, empty buffer: its address and its room.
    fn lend(&mut self) -> (*mut c_char, usize) {
        self.bytes[..ROOM].fill(0);
        self.bytes[ROOM..].fill(UNTOUCHED);
        (self.bytes.as_mut_ptr().cast(), ROOM)
    }

    /// What was written, and whether more was written than there was room for.
    fn collect(&mut self) -> (Option<String>, Option<&'static str>) {
        let damage = self.bytes[ROOM..] != [UNTOUCHED; STRIP];
        let text = self.bytes[..ROOM].split(|byte| *byte == 0).next().unwrap_or_default();
        let text = one_line(&String::from_utf8_lossy(text));
        ((!text.is_empty()).then_some(text), damage.then_some("it wrote past the end of its reason buffer"))
    }
}
