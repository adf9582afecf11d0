//! The worker's life: load, serve requests in order, and let go without being told to when the time has come or nobody is left to tell.
//!
//! While something is held this loop does nothing that waits for a disk: it polls its socket, calls the plugin, and speaks over the socket
//! only. It is single-threaded, so a plugin that hangs hangs all of it; then the orchestrator kills the process.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_platform::{descriptors, memory, priority, threads};
use hv_vss_wire::{Answer, Call, Event, Level, Outcome, Request, Role, Step, WIRE_VERSION};

use crate::callbacks::Patience;
use crate::debt::Debt;
use crate::holds::{Hold, Holds, Key, State};
use crate::limits::Limits;
use crate::link::{End, Incoming, Link};
use crate::plugin::{Deed, Failure, Order, Plugin, own_step};
use crate::{load, process};

/// How long a thaw may take that nobody asked for. Long, because nobody waits for it, and scripts have limits of their own.
const OWN_THAW: Duration = Duration::from_secs(600);
/// How long to wait before letting go is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is tried when nobody is left to tell.
const RETRIES: u32 = 10;
/// How long the last answer may take to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves the plugin in `file` on descriptor 3 until told to close, or until nobody is there any more.
///
/// # Errors
/// A sentence, when the process could not even be set up; what is wrong with the plugin is said over the socket.
pub fn run(file: &Path, options: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    let options: Vec<OsString> = options.into_iter().collect();
    let debt = Rc::new(Debt::from_arguments(&options));
    let limits = Limits::from_arguments(options)?;
    let link = Rc::new(RefCell::new(Link::new(process::take_socket()?)));
    if let Err(reason) = process::prepare().and_then(|()| limits.apply()) {
        link.borrow_mut().send(&Event::Unfit { reason });
        return Ok(());
    }
    let loaded = match load::load(file) {
        Ok(loaded) => loaded,
        Err(reason) => {
            link.borrow_mut().send(&Event::Unfit { reason });
            return Ok(());
        }
    };
    hv_vss_platform::title::set(&loaded.about.name);
    link.borrow_mut().send(&Event::Loaded { wire: WIRE_VERSION, about: loaded.about.clone() });
    converse(loaded, &link, &debt);
    Ok(())
}

/// Serves a loaded plugin until its end: [`run`] without the process around it.
#[doc(hidden)]
pub fn converse(loaded: load::Loaded, link: &Rc<RefCell<Link>>, debt: &Rc<Debt>) {
    let plugin = Plugin::new(loaded, Rc::clone(link), Rc::clone(debt));
    let (link, debt) = (Rc::clone(link), Rc::clone(debt));
    Service { plugin, link, debt, holds: Holds::default(), life: Life::Loaded, not_before: None }.run();
}

/// Where in its life the plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Loaded,
    Open,
    Unusable,
}

struct Service {
    plugin: Plugin,
    link: Rc<RefCell<Link>>,
    debt: Rc<Debt>,
    holds: Holds,
    life: Life,
    /// After a failed attempt to let go: not again before this.
    not_before: Option<Monotonic>,
}

impl Service {
    fn run(mut self) {
        loop {
            self.let_go_of_what_expired();
            let next = self.link.borrow_mut().take();
            let end = self.link.borrow().end().cloned();
            match (next, end) {
                // A close that came before the end is the proper end. Anything else nobody waits for any more: least of all may a freeze begin.
                (Some(Incoming::Request(Request { id, call: Call::Close })), _) => return self.close(id),
                (Some(_), Some(_)) => {}
                (None, Some(end)) => return self.abandoned(&end),
                (Some(Incoming::Request(request)), None) => {
                    let answer = self.answer(request.id, request.call);
                    self.link.borrow_mut().send(&Event::Answer { id: request.id, answer });
                }
                (Some(Incoming::Unknown { id, why }), None) => {
                    let reason = format!("the worker does not know this request: {why}");
                    self.link.borrow_mut().send(&Event::Answer { id, answer: Answer::Broken { reason } });
                }
                (None, None) => {
                    let wake =
                        self.holds.next_expiry().max(self.not_before.filter(|_| self.holds.next_expiry().is_some()));
                    self.link.borrow_mut().wait(wake);
                }
            }
        }
    }

    fn answer(&mut self, id: u64, call: Call) -> Answer {
        match (self.life, &call) {
            (Life::Loaded, Call::Open { .. }) | (Life::Open, _) => {}
            (Life::Loaded, _) => return broken("the plugin has not been opened"),
            (Life::Unusable, _) => return broken("the plugin could not be opened"),
        }
        let order = Order { id: Some(id), patience: Patience::UntilToldOrAlone };
        let result = match call {
            Call::Open { .. } if self.life == Life::Open => return broken("the plugin is open already"),
            Call::Open { config } => self.open(id, &config),
            Call::Check(step) => self.plugin.step(order, Deed::Check, &step, &[]).map(|_| Answer::done()),
            Call::Claim { step, mounts } => {
                self.plugin.claims(order, &step, &mounts).map(|claims| Answer::Done { claims, held: true })
            }
            Call::Freeze { step, role, expiry, only, rehearsal } => {
                self.freeze(order, &step, Deed::Freeze { role, expiry, only: only.as_deref(), rehearsal })
            }
            Call::Thaw { step, role, owed, rehearsal } => self.thaw(id, &step, Deed::Thaw { role, rehearsal }, &owed),
            Call::Ended { step, record } => self.plugin.ended(order, &step, &record).map(|()| Answer::done()),
            // The link keeps these two to itself and to run().
            Call::Close | Call::Cancel { .. } => Ok(Answer::done()),
        };
        result.unwrap_or_else(Answer::from)
    }

    fn open(&mut self, id: u64, config: &serde_json::Map<String, serde_json::Value>) -> Result<Answer, Failure> {
        self.life = Life::Unusable;
        self.plugin.open(id, config)?;
        let about = self.plugin.about();
        if about.filesystem && !about.holds_survive_exit {
            fit_to_suspend()?;
            if let Err(error) = priority::highest() {
                self.link.borrow_mut().log(Level::Warn, &format!("{error}; on a busy machine a freeze takes longer"));
            }
            if let Err(error) = memory::lock_all() {
                let text = format!("{error}; under memory pressure this process could wait for a frozen disk");
                self.link.borrow_mut().log(Level::Warn, &text);
            }
        }
        self.life = Life::Open;
        Ok(Answer::done())
    }

    fn freeze(&mut self, order: Order, step: &Step, deed: Deed<'_>) -> Result<Answer, Failure> {
        let Deed::Freeze { role, expiry, rehearsal, .. } = deed else {
            return Err(Failure::Broken("no freeze".to_owned()));
        };
        let about = self.plugin.about();
        let has_role = match role {
            Role::Filesystem => about.filesystem,
            Role::Application => about.application,
        };
        if !has_role {
            return Err(Failure::Broken(format!("{} has no such role: {role:?}", about.name)));
        }
        if role == Role::Filesystem && step.mounts.len() != 1 {
            return Err(Failure::Broken(format!("asked to freeze {} filesystems in one call", step.mounts.len())));
        }
        let now = clock::now();
        if order.id.is_some_and(|id| self.link.borrow().is_given_up(id)) {
            return Err(Failure::Refused("given up before the freeze had begun".to_owned()));
        }
        if now >= step.deadline || now >= expiry {
            return Err(Failure::Refused("out of time before the freeze had begun".to_owned()));
        }
        let key = Key::of(role, &step.mounts);
        let hold = Hold {
            key,
            state: State::Begun,
            cycle: step.cycle.clone(),
            mounts: step.mounts.clone(),
            expiry,
            rehearsal,
        };
        self.holds.begin(hold).map_err(|why| Failure::Refused(why.to_owned()))?;
        if role == Role::Application {
            self.debt.begin();
        }
        self.plugin.step(order, deed, step, &[])?;
        self.holds.becomes(key, State::Held);
        Ok(Answer::done())
    }

    /// As a filesystem plugin it is called once for each mount of the step; they come one by one, but for what an earlier process left held.
    fn thaw(&mut self, id: u64, step: &Step, deed: Deed<'_>, owed: &[String]) -> Result<Answer, Failure> {
        let Deed::Thaw { role, .. } = deed else { return Err(Failure::Broken("no thaw".to_owned())) };
        let parts: Vec<Step> = match role {
            Role::Application => vec![step.clone()],
            Role::Filesystem => {
                step.mounts.iter().map(|mount| Step { mounts: vec![mount.clone()], ..step.clone() }).collect()
            }
        };
        let order = Order { id: Some(id), patience: Patience::UntilTold };
        let (mut held, mut failure) = (true, None);
        for part in parts {
            let key = Key::of(role, &part.mounts);
            if self.holds.get(key).is_some_and(|hold| hold.state == State::LetGo) {
                // Let go at the expiry: it has had its thaw, and whoever asks now must hear that it did not stay held.
                self.holds.end(key);
                held = false;
                continue;
            }
            match self.plugin.step(order, deed, &part, owed) {
                Ok(done) => {
                    self.holds.end(key);
                    if let Some(why) = done.lost {
                        held = false;
                        self.link.borrow_mut().log(Level::Error, &format!("the hold was lost before the thaw: {why}"));
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(Answer::Done { claims: Vec::new(), held }), Err)
    }

    fn let_go_of_what_expired(&mut self) {
        let now = clock::now();
        if self.not_before.is_some_and(|then| now < then) {
            return;
        }
        let due = self.holds.to_let_go(Some(now));
        if due.is_empty() {
            return;
        }
        let text = "nobody asked for the thaw in time: letting go".to_owned();
        self.link.borrow_mut().log(Level::Error, &text);
        self.not_before = None;
        for hold in due {
            if self.let_go(&hold, Outcome::Expired) {
                self.holds.becomes(hold.key, State::LetGo);
            } else {
                self.not_before = Some(clock::now() + RETRY);
            }
        }
        if self.not_before.is_none() {
            self.debt.paid();
            self.link.borrow_mut().send(&Event::LetGo);
        }
    }

    /// One thaw that nobody asked for. Whether it is done.
    fn let_go(&mut self, hold: &Hold, outcome: Outcome) -> bool {
        let step = own_step(&hold.cycle, &hold.mounts, outcome, clock::now() + OWN_THAW);
        let order = Order { id: None, patience: Patience::ToTheEnd };
        self.debt.lets_go_by_itself();
        match self.plugin.step(order, Deed::Thaw { role: hold.key.role, rehearsal: hold.rehearsal }, &step, &[]) {
            Ok(_) => true,
            Err(Failure::Refused(why) | Failure::Broken(why)) => {
                self.link.borrow_mut().log(Level::Error, &format!("letting go failed: {why}"));
                false
            }
        }
    }

    fn close(mut self, id: u64) {
        self.let_everything_go(Outcome::Aborted);
        if self.life == Life::Open {
            self.plugin.close(id);
        }
        let latest = clock::now() + FAREWELL;
        self.link.borrow_mut().send(&Event::Answer { id, answer: Answer::done() });
        while self.link.borrow().has_unsent() && self.link.borrow().end().is_none() && clock::now() < latest {
            self.link.borrow_mut().wait(Some(latest));
        }
    }

    /// The orchestrator is gone. Its plugin is not closed: that could take long, and the end of the process does as much.
    fn abandoned(mut self, end: &End) {
        if let End::Garbage(why) = end {
            self.link.borrow_mut().log(Level::Error, &format!("the orchestrator sent {why}: letting go and ending"));
        }
        self.let_everything_go(Outcome::Recovered);
        if self.holds.next_expiry().is_none() {
            self.debt.paid();
        }
    }

    fn let_everything_go(&mut self, outcome: Outcome) {
        for attempt in 0..RETRIES {
            if attempt > 0 {
                std::thread::sleep(RETRY);
            }
            for hold in self.holds.to_let_go(None) {
                if self.let_go(&hold, outcome) {
                    self.holds.end(hold.key);
                }
            }
            if self.holds.next_expiry().is_none() {
                return;
            }
        }
    }
}

/// Whether this process, with the plugin in it, could hold a suspension: the kernel refuses one with threads, and one that dies with a disk
/// file open never lets go.
fn fit_to_suspend() -> Result<(), Failure> {
    let cannot_tell = |error: hv_vss_platform::OsError| Failure::Broken(error.to_string());
    if threads::count().map_err(cannot_tell)? > 1 {
        let why = "the plugin started a thread, and no process with threads may suspend a filesystem";
        return Err(Failure::Broken(why.to_owned()));
    }
    match descriptors::disk_files().map_err(cannot_tell)?.as_slice() {
        [] => Ok(()),
        files => {
            let names: Vec<_> = files.iter().map(|(fd, name)| format!("{name} (descriptor {fd})")).collect();
            Err(Failure::Broken(format!(
                "the plugin keeps files open: {}; a process that holds a filesystem may have none, or it hangs when it is killed",
                names.join(", ")
            )))
        }
    }
}

fn broken(why: &str) -> Answer {
    Answer::Broken { reason: why.to_owned() }
}
