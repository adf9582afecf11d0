//! The world around the engine, played: driver, plugins, disk, mount table. It does what happens, and writes down what must not be.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use hv_vss_device::{AnswerError, Driver, Message, Operation, Verdict};
use hv_vss_platform::clock::{HandSet, Monotonic};
use hv_vss_platform::mounts::{FsId, Mount};
use hv_vss_wire::{Answer, Call, Event, Phase, Progress, Request, Role};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Cast;
use super::happening::{Change, Happening, Reaction, Trouble};
use super::player::{Plugin, Process};
use crate::child::{Launch, PlayedProcess, Player};
use crate::config::{BASE_LIMIT, Config};
use crate::deadline::Limits;
use crate::record::Record;
use crate::scribe::Job;

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
        }
        let stage = Self {
            hand,
            driver: cast.driver,
            limits,
            plugins,
            table: (0..cast.disks).map(disk).collect(),
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

    fn plugin_answers(&mut self, at: usize, reaction: Reaction) {
        let mounted = self.table.clone();
        let Some(plugin) = self.plugins.get_mut(at) else { return };
        let lies = reaction == Reaction::Lies
            && plugin
                .process
                .as_ref()
                .and_then(|process| process.calls.front())
                .is_some_and(|request| matches!(request.call, Call::Freeze { .. } | Call::Thaw { .. }));
        plugin.answers(reaction, &mounted);
        self.lied |= lies;
    }

    fn plugin_misbehaves(&mut self, at: usize, trouble: Trouble) {
        let now = self.now();
        let Some(plugin) = self.plugins.get_mut(at) else { return };
        let Some(process) = &mut plugin.process else { return };
        match trouble {
            Trouble::Dies | Trouble::Crashes if process.stuck => {}
            Trouble::Dies => self.process_ends(at, 1 << 8),
            Trouble::Crashes => self.process_ends(at, nix::libc::SIGSEGV),
            Trouble::ClosesItsSocket => process.socket = None,
            Trouble::Babbles => process.sends(&[0xff; 8]),
            Trouble::AnswersNobody => process.says(&Event::Answer { id: u64::MAX, answer: Answer::done() }),
            Trouble::Logs => plugin.logs(),
            Trouble::LetsGo => {
                let held = plugin.at_rest || !plugin.suspended.is_empty();
                plugin.lets_go(now);
                if held && plugin.let_go {
                    self.is_lost("a plugin let go by itself");
                }
            }
            Trouble::GetsStuck => process.stuck = true,
            Trouble::ComesFree => process.stuck = false,
            Trouble::TellsOfScripts => {
                plugin.tells_of_scripts(Phase::Freeze, &[Progress::Started, Progress::Ended { failure: None }]);
            }
        }
    }

    fn table_changes(&mut self, change: Change) {
        let at = |table: &[Mount], number: u8| table.iter().position(|mount| mount.fsid == disk(number).fsid);
        match change {
            Change::Mounted(number) if at(&self.table, number).is_none() => self.table.push(disk(number)),
            Change::Unmounted(number) => {
                // What is suspended can't be unmounted: that would have to write.
                let suspended = self.plugins.iter().any(|plugin| plugin.suspended.contains(&disk(number).fsid));
                if let Some(at) = at(&self.table, number).filter(|_| !suspended) {
                    self.table.remove(at);
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
            Change::Unreadable(false) | Change::Mounted(_) => {}
        }
        self.write_table();
    }

    fn write_table(&self) {
        let lines = self.table.iter().map(|mount| serde_json::to_string(mount).unwrap_or_default() + "\n");
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

    // The driver.

    pub(super) fn host_asks(&mut self, operation: Operation, ms_ago: u32, stepped_ms: i32) -> Message {
        let ago = Duration::from_millis(ms_ago.into());
        let (now, wall) = (self.now(), self.hand.clock().wall_ns());
        let number = match operation {
            Operation::Check => 1,
            Operation::Freeze => 2,
            Operation::Thaw => 3,
            Operation::Unknown(number) => number,
        };
        let stepped_ns = i64::from(stepped_ms) * 1_000_000;
        let mut msgid =
            wall.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(0)).saturating_add_signed(-stepped_ns);
        while self.requests.iter().any(|asked| asked.message.msgid == msgid) {
            msgid = msgid.saturating_sub(1);
        }
        let message = Message { operation: number, status: 0, msgid };
        let budget = self.limits.budget(now, hv_vss_device::budget(msgid, wall, self.limits.limit));
        // A THAW of what is held and good has less; one that has to wait for what is being let go has all of this.
        let latest = budget.answer.0;
        let held = |mount: &Mount| self.plugins.iter().any(|plugin| plugin.suspended.contains(&mount.fsid));
        let left_out = self.table.iter().any(|mount| !mount.read_only && !held(mount)) || !self.table_file.exists();
        match (&mut self.backup, operation) {
            (Some(backup), Operation::Thaw) if !backup.thaw_read => {
                backup.thaw_read = true;
                if backup.since + self.limits.max_frozen <= now {
                    backup.lost.get_or_insert_with(|| "it had lasted longer than max_frozen".to_owned());
                } else if left_out {
                    backup.lost.get_or_insert_with(|| "something was mounted while it was held".to_owned());
                }
            }
            (backup, Operation::Check | Operation::Freeze)
                if self.plugins.iter().all(|plugin| plugin.suspended.is_empty() && !plugin.at_rest) =>
            {
                *backup = None;
            }
            _ => {}
        }
        let gives_up = (now - ago) + self.limits.limit;
        let asked = Asked { message, operation, read: now, latest, gives_up, heard: Heard::Nothing, answered: false };
        self.requests.push(asked);
        message
    }

    pub(super) fn engine_answers(&mut self, answer: &Message, verdict: Verdict) -> Result<(), AnswerError> {
        let now = self.now();
        let base = self.driver == Driver::Base;
        let Some(asked) = self.requests.iter_mut().find(|asked| asked.message == *answer) else {
            self.wrong(format!("{answer:?} answers nothing that was asked"));
            return Ok(());
        };
        if std::mem::replace(&mut asked.answered, true) {
            self.wrong(format!("{answer:?} is answered twice"));
            return Ok(());
        }
        if asked.heard == Heard::GaveUp {
            return if base { Ok(()) } else { Err(AnswerError::TooLate) };
        }
        let (operation, latest) = (asked.operation, asked.latest);
        asked.heard = if verdict == Verdict::Success { Heard::Success } else { Heard::Fail };
        if verdict == Verdict::Success {
            match operation {
                Operation::Freeze => self.freeze_is_good(now, latest),
                Operation::Thaw => self.thaw_is_good(),
                Operation::Check if self.suspends() => self.wrong("a CHECK is good while something is held".to_owned()),
                Operation::Check => {}
                Operation::Unknown(_) => self.wrong("an unknown operation is answered with success".to_owned()),
            }
        }
        Ok(())
    }

    fn freeze_is_good(&mut self, now: Monotonic, latest: Monotonic) {
        if now > latest {
            self.wrong("a FREEZE is answered with success after its time".to_owned());
        }
        let held = |mount: &Mount| self.plugins.iter().any(|plugin| plugin.suspended.contains(&mount.fsid));
        let out: Vec<_> = self.table.iter().filter(|mount| !mount.read_only && !held(mount)).collect();
        if !out.is_empty() {
            self.wrong(format!("a FREEZE is answered with success, and left out are {out:?}"));
        }
        if !self.table_file.exists() {
            self.wrong("a FREEZE is answered with success, though nobody knows what is mounted".to_owned());
        }
        self.frozen_since = Some(now);
        self.backup = Some(Backup { since: now, thaw_read: false, lost: None });
    }

    fn thaw_is_good(&mut self) {
        if self.suspends() {
            self.wrong("a THAW is answered with success while something is suspended".to_owned());
        }
        if let Some(Backup { lost: Some(why), .. }) = self.backup.take() {
            self.wrong(format!("a THAW is answered with success, but the backup is none: {why}"));
        }
    }

    fn is_lost(&mut self, why: &str) {
        if let Some(backup) = self.backup.as_mut().filter(|backup| !backup.thaw_read) {
            backup.lost.get_or_insert_with(|| why.to_owned());
        }
    }

    // Processes.

    pub(super) fn host_is_started(&mut self, launch: &Launch) -> io::Result<(PlayedProcess, UnixStream)> {
        let out_of = || io::Error::from_raw_os_error(nix::libc::EMFILE);
        let suspends = self.suspends();
        let at = self.plugins.iter().position(|plugin| plugin.part.name == launch.name);
        let at = at.ok_or_else(|| io::Error::other("it has no part in this play"))?;
        if suspends && !self.plugins[at].part.survives_exit {
            self.wrong(format!("a process of {} is started while a filesystem is suspended", launch.name));
        }
        let plugin = &mut self.plugins[at];
        if self.no_processes {
            plugin.excused = true;
            return Err(out_of());
        }
        self.next_pid += 1;
        let (process, player) = PlayedProcess::new(self.next_pid);
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        plugin.excused |= plugin.next_start != Reaction::Well;
        plugin.process = Some(Process::new(ours, player));
        plugin.introduces_itself();
        Ok((process, theirs))
    }

    pub(super) fn flush_is_started(&mut self) -> io::Result<PlayedProcess> {
        if self.suspends() {
            self.wrong("a flush is started while a filesystem is suspended".to_owned());
        }
        if self.no_processes {
            return Err(io::Error::from_raw_os_error(nix::libc::EMFILE));
        }
        self.next_pid += 1;
        let (process, player) = PlayedProcess::new(self.next_pid);
        self.flushes.push_back(player);
        Ok(process)
    }

    fn process_ends(&mut self, at: usize, status: i32) {
        let Some(process) = self.plugins[at].process.take() else { return };
        let plugin = &mut self.plugins[at];
        // Dying in the very thaw is a reason to give it up, after a second try.
        plugin.excused |= process.calls.iter().any(|request| matches!(request.call, Call::Thaw { .. }));
        let held = plugin.at_rest || !plugin.suspended.is_empty();
        if !plugin.part.survives_exit {
            plugin.suspended.clear();
        }
        if held {
            self.is_lost("a plugin died");
        }
        process.player.ends(status);
    }

    /// Looks what the engine has done to the players; true if there was anything.
    pub(super) fn look(&mut self) -> bool {
        let mut moved = false;
        for at in self.whom_to_look_at() {
            moved |= self.look_at(at);
        }
        let (killed, running) = std::mem::take(&mut self.flushes).into_iter().partition(Player::is_killed);
        self.flushes = running;
        for flush in killed {
            moved = true;
            flush.ends(nix::libc::SIGKILL);
        }
        moved
    }

    /// Those who were sent something, lost their socket, or were killed: one look at all of them, since this is done all the time.
    fn whom_to_look_at(&self) -> Vec<usize> {
        let processes = self.plugins.iter().enumerate().filter_map(|(at, plugin)| Some((at, plugin.process.as_ref()?)));
        let (mut which, mut sockets) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        for (at, process) in processes {
            match &process.socket {
                _ if process.player.is_killed() && !process.stuck => ended.push(at),
                Some(socket) => {
                    which.push(at);
                    sockets.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
                }
                None if process.dismissed && !process.stuck => ended.push(at),
                None => {}
            }
        }
        // Without an answer everybody is looked at.
        let all = poll(&mut sockets, PollTimeout::ZERO).is_err();
        let said = which.into_iter().zip(&sockets).filter(|(_, socket)| all || socket.any().unwrap_or(true));
        ended.into_iter().chain(said.map(|(at, _)| at)).collect()
    }

    fn look_at(&mut self, at: usize) -> bool {
        let Some(process) = &mut self.plugins[at].process else { return false };
        let requests = process.reads();
        let (killed, dismissed, stuck) = (process.player.is_killed(), process.dismissed, process.stuck);
        let moved = !requests.is_empty();
        for request in requests {
            self.is_called(at, request);
        }
        if stuck || self.plugins[at].process.is_none() {
            return moved;
        }
        if killed {
            self.process_ends(at, nix::libc::SIGKILL);
        } else if dismissed {
            // Its socket is closed: it lets go of all it holds, and ends.
            let plugin = &mut self.plugins[at];
            let held = plugin.at_rest || !plugin.suspended.is_empty();
            plugin.suspended.clear();
            plugin.at_rest = false;
            if held {
                self.is_lost("a plugin was dismissed");
            }
            self.process_ends(at, 0);
        }
        moved || killed || dismissed
    }

    fn is_called(&mut self, at: usize, request: Request) {
        let plugin = &mut self.plugins[at];
        let Some(process) = &mut plugin.process else { return };
        let on = |mounts: &[Mount]| mounts.iter().map(|mount| mount.on.as_str()).collect::<Vec<_>>().join(" ");
        let name = plugin.part.name.clone();
        let what = match &request.call {
            Call::Open { .. } => {
                let answer = match plugin.next_start {
                    Reaction::IsBroken => Answer::Broken { reason: "it is played so".to_owned() },
                    _ => Answer::done(),
                };
                return process.says(&Event::Answer { id: request.id, answer });
            }
            Call::Close => {
                process.says(&Event::Answer { id: request.id, answer: Answer::done() });
                if !process.stuck {
                    self.process_ends(at, 0);
                }
                return;
            }
            Call::Cancel { .. } => "cancel".to_owned(),
            Call::Check(_) => "check".to_owned(),
            Call::Ended { .. } => "ended".to_owned(),
            Call::Claim { .. } => "claim".to_owned(),
            Call::Freeze { role: Role::Application, .. } => format!("freeze {name}"),
            Call::Freeze { step, .. } => format!("freeze {}", on(&step.mounts)),
            Call::Thaw { step, role: Role::Application, .. } => format!("thaw {name} {:?}", step.outcome),
            Call::Thaw { step, .. } => format!("thaw {} {:?}", on(&step.mounts), step.outcome),
        };
        let suspends = self.suspends();
        let plugin = &mut self.plugins[at];
        match &request.call {
            Call::Ended { .. } if suspends => {
                self.wrong(format!("{name} is told of a cycle while a filesystem is suspended"))
            }
            Call::Freeze { role, expiry, .. } => {
                plugin.expiry = Some(*expiry);
                plugin.let_go = false;
                plugin.excused = false;
                plugin.at_rest |= *role == Role::Application;
            }
            Call::Thaw { .. } => {
                self.frozen_since = None;
                self.is_lost("a plugin was told to thaw before the host asked");
            }
            Call::Check(_) if !self.suspends() => {
                self.frozen_since = None;
                self.backup = None;
            }
            _ => {}
        }
        if let Some(process) = self.plugins[at].process.as_mut().filter(|_| what != "cancel") {
            process.calls.push_back(request);
        }
        self.calls.push(Called { plugin: name, what });
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
            Job::History(_, history) => self.history.extend(history.records().next_back().cloned()),
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
