//! The world around the engine, played: driver, plugins, disk, mount table. It does what happens, and writes down what must not be.

mod driver;
mod processes;

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

use hv_vss_device::{Driver, Message, Operation};
use hv_vss_platform::clock::{HandSet, Monotonic};
use hv_vss_platform::mounts::{FsId, Mount};

use super::Cast;
use super::happening::{Change, Happening, Reaction, Trouble};
use super::player::Plugin;
use crate::child::Player;
use crate::scribe::Job;
use hv_vss_core::config::{BASE_LIMIT, Config};
use hv_vss_core::deadline::Limits;
use hv_vss_core::record::Record;

/// What the host has heard to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet.
    Nothing,
    /// Success.
    Success,
    /// Failure.
    Fail,
    /// The driver's limit is over, and the driver told it that the request failed.
    GaveUp,
}

/// A call that a plugin got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// Which plugin.
    pub plugin: String,
    /// What for: "check", "freeze /disk0", "thaw exec_hook ok".
    pub what: String,
    /// For a thaw: what an earlier process started.
    pub owed: Vec<String>,
}

/// A request of the host.
pub(super) struct Asked {
    pub(super) message: Message,
    pub(super) operation: Operation,
    /// When the engine's side read it.
    pub(super) read: Monotonic,
    /// When it must be answered by.
    pub(super) latest: Monotonic,
    /// When the driver gives up.
    gives_up: Monotonic,
    pub(super) heard: Heard,
    pub(super) answered: bool,
}

/// A freeze that the host was told is good.
struct Backup {
    since: Monotonic,
    /// Its THAW has been read.
    thaw_read: bool,
    /// Why it is none any more.
    lost: Option<String>,
}

pub(super) struct Stage {
    hand: HandSet,
    driver: Driver,
    pub(super) limits: Limits,
    pub(super) plugins: Vec<Plugin>,
    table: Vec<Mount>,
    /// The filesystems of this hold, in the order in which their freeze was called.
    frozen_in_order: Vec<FsId>,
    /// What of the table is just being unmounted.
    unmounting: Vec<FsId>,
    table_file: PathBuf,
    pub(super) requests: Vec<Asked>,
    pub(super) calls: Vec<Called>,
    flushes: VecDeque<Player>,
    stalled: bool,
    jobs: VecDeque<Job>,
    pub(super) history: Vec<Record>,
    no_processes: bool,
    next_pid: i32,
    backup: Option<Backup>,
    /// When the host heard the success of the freeze that may still hold.
    pub(super) frozen_since: Option<Monotonic>,
    /// What must not have been.
    pub(super) wrong: Vec<String>,
    /// A plugin has lied about what it holds: from then on nobody can know.
    pub(super) lied: bool,
}

fn disk(number: u8) -> Mount {
    Mount {
        fsid: FsId([number + 1, 0, 0, 0, 7, 0, 0, 0]),
        fstype: "ufs".to_owned(),
        on: format!("/disk{number}"),
        from: format!("/dev/da{number}"),
        read_only: false,
        backing: None,
        swap: None,
    }
}

impl Stage {
    pub(super) fn set(cast: &Cast, config: &Config, hand: HandSet, table_file: PathBuf) -> Self {
        let mut plugins: Vec<Plugin> = cast.parts.iter().cloned().map(Plugin::new).collect();
        plugins.sort_by(|one, other| one.part.name.cmp(&other.part.name));
        let mut limits = config.limits;
        if cast.driver == Driver::Base {
            limits.limit = limits.limit.min(BASE_LIMIT);
            limits.freeze_limit = limits.freeze_limit.min(BASE_LIMIT);
        }
        let stage = Self {
            hand,
            driver: cast.driver,
            limits,
            plugins,
            table: (0..cast.disks).map(disk).collect(),
            frozen_in_order: Vec::new(),
            unmounting: Vec::new(),
            table_file,
            requests: Vec::new(),
            calls: Vec::new(),
            flushes: VecDeque::new(),
            stalled: false,
            jobs: VecDeque::new(),
            history: Vec::new(),
            no_processes: false,
            next_pid: 1_000_000_000,
            backup: None,
            frozen_since: None,
            wrong: Vec::new(),
            lied: false,
        };
        stage.write_table();
        stage
    }

    pub(super) fn now(&self) -> Monotonic {
        self.hand.clock().now()
    }

    pub(super) fn name(&self, plugin: usize) -> Option<&str> {
        self.plugins.get(plugin).map(|plugin| plugin.part.name.as_str())
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        self.requests.iter().map(|asked| asked.heard).collect()
    }

    /// Is a filesystem suspended?
    pub(super) fn suspends(&self) -> bool {
        self.plugins.iter().any(|plugin| !plugin.suspended.is_empty())
    }

    fn wrong(&mut self, what: String) {
        if !self.lied {
            self.wrong.push(what);
        }
    }

    // What happens.

    pub(super) fn happens(&mut self, happening: &Happening) {
        match *happening {
            Happening::Answers(plugin, reaction) => self.plugin_answers(plugin.into(), reaction),
            Happening::Misbehaves(plugin, trouble) => self.plugin_misbehaves(plugin.into(), trouble),
            Happening::FlushEnds => {
                if let Some(flush) = self.flushes.pop_front() {
                    flush.ends(0);
                }
            }
            Happening::DiskStalls => self.stalled = true,
            Happening::DiskGoesOn => {
                self.stalled = false;
                for job in std::mem::take(&mut self.jobs) {
                    self.write(job);
                }
            }
            Happening::NextStarts(plugin, reaction) => {
                if let Some(plugin) = self.plugins.get_mut(usize::from(plugin)) {
                    plugin.next_start = reaction;
                }
            }
            Happening::NoProcesses(none) => self.no_processes = none,
            Happening::Mounts(change) => self.table_changes(change),
            // The harness itself sees to the others.
            _ => {}
        }
    }

    fn table_changes(&mut self, change: Change) {
        let at = |table: &[Mount], number: u8| table.iter().position(|mount| mount.fsid == disk(number).fsid);
        match change {
            Change::Mounted(number) => match at(&self.table, number) {
                Some(_) => self.unmounting.retain(|fsid| *fsid != disk(number).fsid),
                None => self.table.push(disk(number)),
            },
            // That of what is suspended waits.
            Change::Unmounting(number) if at(&self.table, number).is_some() => self.unmounting.push(disk(number).fsid),
            Change::Unmounted(number) => {
                // What is suspended can't be unmounted: that would have to write.
                let suspended = self.plugins.iter().any(|plugin| plugin.suspended.contains(&disk(number).fsid));
                if let Some(at) = at(&self.table, number).filter(|_| !suspended) {
                    self.table.remove(at);
                    self.unmounting.retain(|fsid| *fsid != disk(number).fsid);
                }
            }
            Change::ReadOnly(number) | Change::Writable(number) => {
                let suspended = self.plugins.iter().any(|plugin| plugin.suspended.contains(&disk(number).fsid));
                if let Some(at) = at(&self.table, number).filter(|_| !suspended) {
                    self.table[at].read_only = matches!(change, Change::ReadOnly(_));
                }
            }
            Change::Unreadable(true) => {
                let _ = fs::remove_file(&self.table_file);
                return;
            }
            Change::Unreadable(false) | Change::Unmounting(_) => {}
        }
        self.write_table();
    }

    fn write_table(&self) {
        let lines = self.table.iter().map(|mount| {
            let hidden = if self.unmounting.contains(&mount.fsid) { "unmounting " } else { "" };
            format!("{hidden}{}\n", serde_json::to_string(mount).unwrap_or_default())
        });
        fs::write(&self.table_file, lines.collect::<String>()).expect("the harness can write its files");
    }

    // The clock.

    /// The first instant at which somebody does something by himself.
    pub(super) fn next_due(&self, hand: &HandSet) -> Option<Monotonic> {
        let now = self.now();
        let holds = |plugin: &&Plugin| plugin.at_rest || !plugin.suspended.is_empty();
        let expiries = self.plugins.iter().filter(holds).filter_map(|plugin| plugin.expiry);
        let gives_up = self.requests.iter().filter(|asked| asked.heard == Heard::Nothing).map(|asked| asked.gives_up);
        hand.next_due().into_iter().chain(expiries).chain(gives_up).filter(|at| *at > now).min()
    }

    /// The driver gives up on what has waited for too long.
    pub(super) fn time_has_come(&mut self) {
        let now = self.now();
        for asked in &mut self.requests {
            if asked.heard == Heard::Nothing && asked.gives_up <= now {
                asked.heard = Heard::GaveUp;
            }
        }
    }

    /// Hosts that are awake let go of what has expired.
    pub(super) fn expiries_come(&mut self) {
        for at in 0..self.plugins.len() {
            self.plugin_misbehaves(at, Trouble::LetsGo);
        }
    }

    // The disk.

    pub(super) fn is_to_be_written(&mut self, job: Job) {
        if self.suspends() {
            self.wrong("something is written while a filesystem is suspended".to_owned());
        }
        if self.stalled {
            self.jobs.push_back(job);
        } else {
            self.write(job);
        }
    }

    fn write(&mut self, job: Job) {
        match job {
            Job::Note { done, .. } => done(),
            Job::History(_, records, _) => self.history.extend(records.iter().map(|record| record.as_ref().clone())),
            Job::Forget(_) | Job::Publish(..) => {}
        }
    }

    pub(super) fn next_by_itself(&self) -> Option<Happening> {
        let free = |plugin: &Plugin| {
            plugin.process.as_ref().is_some_and(|process| !process.calls.is_empty() && !process.stuck)
        };
        let asked = self.plugins.iter().position(free).and_then(|at| u8::try_from(at).ok());
        asked
            .map(|at| Happening::Answers(at, Reaction::Well))
            .or_else(|| (!self.flushes.is_empty()).then_some(Happening::FlushEnds))
    }
}
