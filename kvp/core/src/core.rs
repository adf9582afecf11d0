//! What is answered, what is written, and when: inputs in, actions out.
//!
//! A request is answered from memory. Before that, if the disk may be touched, the pool's file is
//! looked at, and a change is written. Both have a short time; then the answer goes without them.
//! The driver serves backups on the same thread, so an answer that waits delays a THAW.

mod disk;
mod outstanding;

use std::time::Duration;

use hv_vss_types::Monotonic;

use crate::edit::Change;
use crate::machine::{Files, Machine};
use crate::pool::Pool;
use crate::pools::{Number, Pools, Refused};
use crate::protocol::{Answer, Message, Request, Status, Unfit};
use crate::records::Records;
use crate::settings::Settings;
use crate::silence::{Silence, Word};
use crate::{addresses, computed};
use disk::{Disk, Wish};
use outstanding::{Outstanding, Waits};

/// No answer leaves sooner than this after its request. The driver wakes its reader before it goes
/// to sleep itself: a wakeup that comes in between is lost, and costs the thread 5 s.
const LEAST: Duration = Duration::from_millis(2);
/// How long an answer waits for a look at the disk.
const LOOK: Duration = Duration::from_millis(250);
/// How long an answer waits for its change to be written.
const WRITE: Duration = Duration::from_secs(1);
/// How long an answer waits for the script that sets addresses. The driver gives up after 5 s.
const SCRIPT: Duration = Duration::from_millis(3500);
/// How long hv_vss is left alone after it said that a freeze is under way.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// And after it did not answer at all.
const ASK_THE_SILENT: Duration = Duration::from_secs(2);
/// How long a daemon that begins waits for its first look before it registers.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How long a name is believed.
const NAME: Duration = Duration::from_secs(300);
/// How long a daemon that is told to end goes on for what is not written yet.
const END: Duration = Duration::from_secs(5);

/// What there is to set.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A freeze lasts no longer.
    pub max_frozen: Duration,
    /// The host may set addresses.
    pub set_addresses: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The daemon begins.
    Begin(Machine),
    /// The driver's request, when the node was first seen readable, and the machine at this moment.
    Request(Message, Monotonic, Box<Machine>),
    /// hv_vss was asked.
    Heard(Word),
    /// Files were looked at.
    Looked(Looked),
    /// A change was written, up to this number: the records now in the file, and whether each
    /// change found its key.
    Wrote(Pool, Number, Result<(Records, Vec<bool>), String>),
    /// A host name was looked up; none: it could not be.
    Named(String, Option<String>),
    /// The script that sets addresses has ended.
    Configured(Result<(), String>),
    /// An instant that [`Core::due`] named has come.
    Due,
    /// The daemon is to end.
    End,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell the driver that a daemon is there.
    Register,
    /// Write this to the node, once.
    Answer(Message),
    /// Ask hv_vss whether a freeze is under way.
    Ask,
    /// Look at these files.
    Look(Look),
    /// Change a pool's file; then say so with this number.
    Write(Pool, Number, Vec<Change>),
    /// Look up the full name of this host.
    Resolve(String),
    /// Run the script that sets addresses.
    Configure(Settings),
    /// A line for the log.
    Log(Level, String),
    /// From now on the log waits in memory (true), or leaves again.
    HoldLog(bool),
    /// End.
    End,
}

/// How serious a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something is lost.
    Error,
    /// Something does not work.
    Warn,
    /// For the record.
    Info,
    /// For debugging.
    Debug,
}

/// Which files to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// These pools.
    pub pools: Vec<Pool>,
    /// resolv.conf(5) and the DHCP clients' files.
    pub files: bool,
    /// Make the pools that are missing.
    pub make: bool,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Looked {
    /// What was to be looked at.
    pub look: Look,
    /// The pools that have changed since the last look, and those that can't be read.
    pub pools: Vec<(Pool, Result<Records, String>)>,
    /// What stands in the other files.
    pub files: Option<Files>,
}

/// Decides. Performs nothing, reads no clock.
#[derive(Debug)]
pub struct Core {
    limits: Limits,
    pools: Pools,
    silence: Silence,
    files: Files,
    name: Name,
    disk: Disk,
    outstanding: Option<Outstanding>,
    script_runs: bool,
    /// Which pool is written next, if it has something to be written.
    write_next: Pool,
    first_look_is_wanted: bool,
    /// When the driver is told that a daemon is there; none: it was, or the daemon has not begun.
    register_by: Option<Monotonic>,
    log_is_held: bool,
    hv_vss_is_silent: bool,
    ends: Option<Monotonic>,
    /// The latest trouble with each pool, so that it is said once.
    troubles: [Option<String>; 5],
}

/// The machine's full name.
#[derive(Debug, Default)]
struct Name {
    host: String,
    full: Option<String>,
    at: Option<Monotonic>,
    is_wanted: bool,
    is_looked_up: bool,
}

impl Core {
    /// Nothing is known yet, and nothing is asked.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pools: Pools::default(),
            silence: Silence::new(limits.max_frozen),
            files: Files::default(),
            name: Name::default(),
            disk: Disk::default(),
            outstanding: None,
            script_runs: false,
            write_next: Pool::External,
            first_look_is_wanted: false,
            register_by: None,
            log_is_held: false,
            hv_vss_is_silent: false,
            ends: None,
            troubles: Default::default(),
        }
    }

    /// Takes an input; what is to be done, in this order.
    pub fn take(&mut self, input: Input, now: Monotonic) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Begin(machine) => self.begin(&machine, now),
            Input::Request(message, seen, machine) => self.request(message, seen, *machine, now, &mut actions),
            Input::Heard(word) => self.heard(&word, now, &mut actions),
            Input::Looked(looked) => self.looked(looked, now, &mut actions),
            Input::Wrote(pool, number, result) => self.wrote(pool, number, result, now, &mut actions),
            Input::Named(host, full) => self.named(host, full, now),
            Input::Configured(result) => self.configured(result, &mut actions),
            Input::Due => {}
            Input::End => self.ends = self.ends.or(Some(now + END)),
        }
        self.hold_the_log(now, &mut actions);
        self.answer_if_due(now, &mut actions);
        self.register_if_due(now, &mut actions);
        self.use_the_disk(now, &mut actions);
        self.end_if_due(now, &mut actions);
        actions
    }

    /// The next instant at which [`Input::Due`] is wanted.
    #[must_use]
    pub fn due(&self) -> Option<Monotonic> {
        let answer = self.outstanding.as_ref().map(Outstanding::due);
        let log = self.silence.until().filter(|_| self.log_is_held);
        [answer, self.disk.free_at(self.wish()), self.register_by, log, self.ends].into_iter().flatten().min()
    }

    fn begin(&mut self, machine: &Machine, now: Monotonic) {
        self.register_by = Some(now + FIRST_LOOK);
        self.first_look_is_wanted = true;
        self.name.host.clone_from(&machine.host_name);
        self.name.is_wanted = true;
    }

    fn request(
        &mut self,
        message: Message,
        seen: Monotonic,
        machine: Machine,
        now: Monotonic,
        actions: &mut Vec<Action>,
    ) {
        let request = message.request();
        let mut outstanding = Outstanding::new(message, machine, seen + LEAST);
        // A helper that hangs on the disk is not waited for.
        let helped = self.disk.is_responsive(now);
        match request {
            Request::Get { pool, .. } | Request::Enumerate { pool, .. } => match Pool::of(pool) {
                Some(Pool::Auto) => self.want_name(&outstanding.machine.host_name, now),
                Some(pool) if helped => {
                    outstanding.waits_for(Waits::Look(Look { pools: vec![pool], ..Look::default() }), now + LOOK);
                }
                _ => {}
            },
            Request::Set { pool, key, value } => {
                self.change(&mut outstanding, pool, Change::set(key, value), helped, now, actions);
            }
            Request::Delete { pool, key } => {
                self.change(&mut outstanding, pool, Change::delete(key), helped, now, actions);
            }
            Request::GetAddresses { .. } if helped => {
                outstanding.waits_for(Waits::Look(Look { files: true, ..Look::default() }), now + LOOK);
            }
            Request::SetAddresses(set) => {
                let settings = if self.limits.set_addresses {
                    Settings::of(&set, &outstanding.machine).map_err(|why| (Status::Failed, why))
                } else {
                    Err((Status::NotSupported, "this daemon was not started with --set-ip".to_owned()))
                };
                match settings {
                    Err((status, why)) => {
                        outstanding.is_settled(status);
                        actions.push(Action::Log(Level::Warn, format!("the host's addresses are not set: {why}")));
                    }
                    Ok(_) if self.script_runs => {
                        outstanding.is_settled(Status::Failed);
                        let why = "the host's addresses are not set: the script for those before still runs";
                        actions.push(Action::Log(Level::Warn, why.into()));
                    }
                    Ok(settings) => outstanding.waits_for(Waits::Script(settings), seen + SCRIPT),
                }
            }
            Request::GetAddresses { .. } | Request::Unknown(_) => {}
            Request::Unfit(unfit) => {
                let why = match unfit {
                    Unfit::NoKey => "its key is empty",
                    Unfit::NotTerminated => "a text in it has no end",
                    Unfit::NotUtf8 => "a text in it is not UTF-8",
                };
                actions.push(Action::Log(Level::Debug, format!("a request is refused: {why}")));
            }
        }
        self.outstanding = Some(outstanding);
    }

    fn change(
        &mut self,
        outstanding: &mut Outstanding,
        pool: u8,
        change: Change,
        helped: bool,
        now: Monotonic,
        actions: &mut Vec<Action>,
    ) {
        let Some(pool) = Pool::of(pool).filter(|pool| *pool != Pool::Auto) else {
            return outstanding.is_settled(Status::Failed);
        };
        match self.pools.change(pool, change) {
            Ok(number) => {
                outstanding.is_settled(Status::Ok);
                if helped {
                    outstanding.waits_for(Waits::Write(pool, number), now + WRITE);
                }
            }
            Err(Refused::NoSuchKey) => {
                // It may be there in a file that was changed meanwhile: the look decides.
                outstanding.is_settled(Status::NoMore);
                if helped {
                    outstanding.waits_for(Waits::Look(Look { pools: vec![pool], ..Look::default() }), now + LOOK);
                }
            }
            Err(refused @ (Refused::Full | Refused::TooLong)) => {
                outstanding.is_settled(Status::Failed);
                let why = if refused == Refused::Full { "the pool is full" } else { "a text is too long" };
                actions.push(Action::Log(Level::Warn, format!("pool {}: not set: {why}", pool.number())));
            }
        }
    }

    fn heard(&mut self, word: &Word, now: Monotonic, actions: &mut Vec<Action>) {
        let is_silent = matches!(word, Word::Silent(_));
        if let Word::Silent(why) = word
            && !self.hv_vss_is_silent
        {
            let text = format!("{why}; it may be freezing, so nothing is written for as long as that can last");
            actions.push(Action::Log(Level::Warn, text));
        }
        self.hv_vss_is_silent = is_silent;
        if self.silence.hear(word, now) {
            return self.disk.may_be_used();
        }
        self.disk.is_not_free_before(now + if is_silent { ASK_THE_SILENT } else { ASK_AGAIN });
        self.registers_now(now);
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.waits_no_more();
        }
    }

    /// A look at the disk is no longer waited for.
    fn registers_now(&mut self, now: Monotonic) {
        self.register_by = self.register_by.map(|by| by.min(now));
    }

    /// A log may be a file on a frozen disk, or its reader may wait for one.
    fn hold_the_log(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let is_on = self.silence.is_on(now);
        if self.log_is_held != is_on {
            self.log_is_held = is_on;
            actions.push(Action::HoldLog(is_on));
        }
    }

    fn looked(&mut self, looked: Looked, now: Monotonic, actions: &mut Vec<Action>) {
        self.disk.has_done();
        for (pool, result) in looked.pools {
            let trouble = match result {
                Ok(records) => {
                    self.pools.was_read(pool, records);
                    None
                }
                Err(why) => Some(why),
            };
            self.note_trouble(pool, trouble, actions);
        }
        if let Some(files) = looked.files {
            self.files = files;
        }
        self.registers_now(now);
        let Some(outstanding) = &mut self.outstanding else { return };
        if *outstanding.waits() != Waits::Look(looked.look) {
            return;
        }
        outstanding.waits_no_more();
        // Another program may have added the key that the host wants removed.
        if let Request::Delete { pool, key } = outstanding.request()
            && let Some(pool) = Pool::of(pool)
            && let Ok(number) = self.pools.change(pool, Change::delete(key))
        {
            outstanding.is_settled(Status::Ok);
            outstanding.waits_for(Waits::Write(pool, number), now + WRITE);
        }
    }

    fn wrote(
        &mut self,
        pool: Pool,
        number: Number,
        result: Result<(Records, Vec<bool>), String>,
        now: Monotonic,
        actions: &mut Vec<Action>,
    ) {
        self.disk.has_done();
        let waits = self.outstanding.as_mut().filter(|outstanding| *outstanding.waits() == Waits::Write(pool, number));
        match result {
            Ok((records, found)) => {
                self.disk.has_written();
                self.pools.was_written(pool, number, records);
                if let Some(outstanding) = waits {
                    outstanding.waits_no_more();
                    // Another program was faster in removing it.
                    if matches!(outstanding.request(), Request::Delete { .. }) && found.last() == Some(&false) {
                        outstanding.is_settled(Status::NoMore);
                    }
                }
                self.note_trouble(pool, None, actions);
            }
            Err(why) => {
                self.disk.could_not_write(now);
                if let Some(outstanding) = waits {
                    outstanding.waits_no_more();
                    outstanding.is_settled(Status::Failed);
                    self.pools.take_back(pool, number);
                }
                self.note_trouble(pool, Some(why), actions);
            }
        }
    }

    fn note_trouble(&mut self, pool: Pool, trouble: Option<String>, actions: &mut Vec<Action>) {
        let noted = &mut self.troubles[usize::from(pool.number())];
        if *noted == trouble {
            return;
        }
        actions.push(match &trouble {
            Some(why) => Action::Log(Level::Error, format!("pool {}: {why}", pool.number())),
            None => Action::Log(Level::Info, format!("pool {} can be used again", pool.number())),
        });
        *noted = trouble;
    }

    fn want_name(&mut self, host: &str, now: Monotonic) {
        let is_old = self.name.at.is_none_or(|at| at.until(now) > NAME);
        if self.name.host != host {
            self.name.host = host.to_owned();
            self.name.full = None;
            self.name.is_wanted = true;
        }
        self.name.is_wanted |= is_old && !self.name.is_looked_up;
    }

    fn named(&mut self, host: String, full: Option<String>, now: Monotonic) {
        self.name.is_looked_up = false;
        if self.name.host == host {
            // A resolver that fails for a moment takes no name away.
            self.name.full = full.or(self.name.full.take());
            self.name.at = Some(now);
        }
    }

    fn configured(&mut self, result: Result<(), String>, actions: &mut Vec<Action>) {
        self.script_runs = false;
        let waits = self.outstanding.as_mut().filter(|outstanding| matches!(outstanding.waits(), Waits::Running));
        let in_time = if waits.is_some() { "" } else { ", after the host was told that it failed" };
        let (level, text) = match &result {
            Ok(()) => (Level::Info, format!("the host's addresses are set{in_time}")),
            Err(why) => (Level::Error, format!("the host's addresses are not set: {why}")),
        };
        actions.push(Action::Log(level, text));
        if let Some(outstanding) = waits {
            outstanding.waits_no_more();
            outstanding.is_settled(if result.is_ok() { Status::Ok } else { Status::Failed });
        }
    }

    fn answer_if_due(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let Some(outstanding) = self.outstanding.take_if(|outstanding| outstanding.due() <= now) else { return };
        let answer = match outstanding.settled() {
            // What is still waited for is not answered well: a script may yet fail.
            Some(_) if matches!(outstanding.waits(), Waits::Script(_) | Waits::Running) => {
                Answer::Status(Status::Failed)
            }
            Some(status) => Answer::Status(status),
            None => self.answer(&outstanding),
        };
        actions.push(Action::Answer(outstanding.into_message().answered(&answer)));
    }

    fn answer(&self, outstanding: &Outstanding) -> Answer {
        let computed = || computed::pairs(&outstanding.machine, self.name.full.as_deref());
        let found = match outstanding.request() {
            Request::Get { pool, key } => match Pool::of(pool) {
                None => return Answer::Status(Status::Failed),
                Some(Pool::Auto) => computed().into_iter().find(|(have, _)| *have == key).map(|(_, value)| value),
                Some(pool) if !self.pools.is_known(pool) => return Answer::Status(Status::Failed),
                Some(pool) => self.pools.get(pool, &key),
            }
            .map(Answer::Value),
            Request::Enumerate { pool, index } => match Pool::of(pool) {
                None => return Answer::Status(Status::Failed),
                Some(Pool::Auto) => {
                    let place = usize::try_from(index).unwrap_or(usize::MAX);
                    computed().into_iter().nth(place).map(|(key, value)| (key.to_owned(), value))
                }
                Some(pool) if !self.pools.is_known(pool) => return Answer::Status(Status::Failed),
                Some(pool) => self.pools.pair(pool, index),
            }
            .map(|(key, value)| Answer::Pair(key, value)),
            Request::GetAddresses { adapter } => {
                let addresses = addresses::of(&adapter, &outstanding.machine, &self.files);
                return addresses.map_or(Answer::Status(Status::Failed), Answer::Addresses);
            }
            Request::Unknown(_) => return Answer::Status(Status::NotSupported),
            _ => return Answer::Status(Status::Failed),
        };
        found.unwrap_or(Answer::Status(Status::NoMore))
    }

    fn register_if_due(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if self.register_by.take_if(|by| *by <= now).is_some() {
            actions.push(Action::Register);
        }
    }

    fn wish(&self) -> Wish {
        let waits = self.outstanding.as_ref().is_some_and(Outstanding::wants_the_disk);
        if waits || self.name.is_wanted || self.first_look_is_wanted {
            Wish::Now
        } else if self.pools.has_waiting() {
            Wish::Write
        } else {
            Wish::None
        }
    }

    fn use_the_disk(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if self.disk.is_allowed() {
            self.use_it_now(now, actions);
        }
        if self.disk.asks(self.wish(), now) {
            actions.push(Action::Ask);
        }
    }

    fn use_it_now(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.name.is_wanted) {
            self.name.is_looked_up = true;
            actions.push(Action::Resolve(self.name.host.clone()));
        }
        if let Some(settings) = self.outstanding.as_mut().and_then(Outstanding::script_begins) {
            self.script_runs = true;
            actions.push(Action::Configure(settings));
        }
        let waits = self.outstanding.as_ref().map_or(&Waits::Nothing, Outstanding::waits);
        let may_write = self.disk.may_write(now) || matches!(waits, Waits::Write(..));
        let work = if std::mem::take(&mut self.first_look_is_wanted) {
            let pools = Pool::ALL.into_iter().filter(|pool| *pool != Pool::Auto).collect();
            Some(Action::Look(Look { pools, files: true, make: true }))
        } else if let Waits::Look(look) = waits {
            Some(Action::Look(look.clone()))
        } else if may_write {
            let from = if let Waits::Write(pool, _) = waits { *pool } else { self.write_next };
            self.pools.to_write(from).map(|(pool, number, changes)| Action::Write(pool, number, changes))
        } else {
            None
        };
        if let Some(Action::Write(pool, ..)) = work {
            self.write_next = Pool::of(pool.number() + 1).unwrap_or(Pool::External);
        }
        if work.is_some() {
            self.disk.works()
        } else {
            self.disk.has_done()
        }
        actions.extend(work);
    }

    fn end_if_due(&mut self, now: Monotonic, actions: &mut Vec<Action>) {
        let Some(by) = self.ends else { return };
        let waiting = self.pools.has_waiting();
        if self.outstanding.is_some() || (waiting && now < by) {
            return;
        }
        if waiting {
            let why = "ends with pairs of the host that are not written: the disk is at rest or can't be written";
            actions.push(Action::Log(Level::Error, why.into()));
        }
        self.ends = None;
        actions.push(Action::End);
    }
}

#[cfg(test)]
mod tests;
