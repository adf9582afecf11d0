//! Runs the scripts of one group at once: one thread in poll(2) on their pipes and on the ends of children.
//!
//! A script has ended when its own process has. Its pipes are not waited for: what it left in the background may hold them for as long as it
//! likes, and they go to the [`Sink`].
//!
//! At its limit a script gets SIGTERM, and SIGKILL some time later. In a freeze it has failed with the SIGTERM, and that is told at once: what is
//! still ending comes back as [`Dying`], and the thaw begins with [`bury`].

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hv_vss_platform::reaper;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, getpgid, read, write};

use crate::limit::Limit;
use crate::name::Phase;
use crate::output::{Output, Pipe, drain};
use crate::reap::{self, Script};
use crate::sink::Sink;
use crate::spawn::{self, Failed, Program, Started};

/// How often the daemon is asked whether it has given the call up. It can't be waited for together with the scripts.
const ASKING: Duration = Duration::from_millis(20);
/// How long a killed script may take to be gone. One that waits for a disk can't be killed; the cycle goes on without it.
const DYING: Duration = Duration::from_millis(100);
/// How long a script has after SIGTERM when the freeze is given up.
const GRACE: Duration = Duration::from_millis(500);
/// How many run at once; more than these wait for the end of others. Each needs three descriptors here, of which a worker has 256.
const AT_ONCE: usize = 48;
/// How long to wait before a script is started again for which there was no process or descriptor.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// A script to run.
pub(crate) struct Job {
    pub(crate) program: Program,
    /// What it gets on its standard input.
    pub(crate) input: Vec<u8>,
    /// How long it may run once it has been executed.
    pub(crate) limit: Limit,
    /// What marks its descendants, see [`reaper::MARK`].
    pub(crate) mark: String,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With exit status 0.
    Well,
    /// With another exit status.
    Status(i32),
    /// By a signal that was not ours.
    Signal(String),
    /// It took too long, and was ended.
    TooLong(Limit),
    /// The group was given up, and it was ended.
    GivenUp,
    /// It never ran; why.
    NeverRan(String),
    /// The group was given up before its turn came.
    NotStarted,
}

/// A script that has ended, or has failed and is being ended.
pub(crate) struct Ended {
    /// Which of the jobs.
    pub(crate) job: usize,
    pub(crate) end: End,
    pub(crate) output: Output,
    /// From the fork to the end.
    pub(crate) took: Duration,
    /// What became of its process, where it did not end by itself.
    pub(crate) remains: Remains,
}

/// What is left of a script that was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Nothing.
    Nothing,
    /// It was killed.
    Killed,
    /// It was killed, and waits for a disk.
    Lingers,
    /// Processes that have left its group go on.
    Others(usize),
    /// Its output is no longer read: the processes that it left behind are too many.
    Unread,
}

/// What to do after a script's end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    /// Kill what the ended script left in the background, and end all the others.
    GiveUp,
}

/// What a group does, as it happens.
pub(crate) trait Watch {
    /// Makes a script ready to be started.
    fn prepare(&mut self, job: usize) -> Result<Job, Failed>;
    /// A script was started.
    fn started(&mut self, job: usize, pid: Pid, mark: &str);
    /// A script could not be started, and is tried again.
    fn waits(&mut self, job: usize, why: &str);
    /// A script has ended.
    fn ended(&mut self, ended: Ended) -> Then;
    /// Whether to give the group up.
    fn given_up(&self) -> bool;
}

/// The rules for one group.
pub(crate) struct Rules<'a> {
    pub(crate) phase: Phase,
    /// By then the last script has ended.
    pub(crate) until: Instant,
    /// Until then a script is tried again for which there was no process, memory or descriptor.
    pub(crate) patience: Instant,
    pub(crate) sink: &'a Sink,
}

/// A script that is running.
struct Running {
    job: usize,
    script: Script,
    /// None: it has been executed.
    status: Option<OwnedFd>,
    input: Option<(OwnedFd, Vec<u8>)>,
    output_end: Option<OwnedFd>,
    output: Output,
    mark: String,
    began: Instant,
    limit: Limit,
    kill_at: Instant,
    never_ran: Option<Failed>,
    told: bool,
    killed: Option<Instant>,
}

/// A script that has failed the freeze and was told to end. It is killed with all that descends from it.
pub(crate) struct Dying {
    pub(crate) job: usize,
    script: Script,
    mark: String,
    kill_at: Instant,
    killed: Option<Instant>,
}

/// Runs `jobs` scripts, tells of each end as it happens, and returns when all have ended, or have failed the freeze.
pub(crate) fn group(jobs: usize, rules: &Rules<'_>, watch: &mut dyn Watch) -> Vec<Dying> {
    let begins = Instant::now();
    let mut waiting: VecDeque<(usize, Instant)> = (0..jobs).map(|job| (job, begins)).collect();
    let mut running: Vec<Running> = Vec::new();
    let mut dying: Vec<Dying> = Vec::new();
    let mut given_up = false;
    loop {
        while running.len() < AT_ONCE
            && let Some((job, _)) = waiting.pop_front_if(|(_, at)| given_up || *at <= Instant::now())
        {
            if given_up {
                watch.ended(Ended::without_a_process(job, End::NotStarted));
                continue;
            }
            match start(job, rules, watch) {
                Ok(script) => running.push(script),
                Err(failed) => given_up |= not_started(job, failed, rules, &mut waiting, watch) == Then::GiveUp,
            }
        }
        dying.retain_mut(|script| !script.is_over(Instant::now()));
        if waiting.is_empty() && running.is_empty() && (given_up || dying.is_empty()) {
            return dying;
        }
        given_up = given_up || watch.given_up();
        let now = Instant::now();
        let mut still = Vec::new();
        for mut script in running {
            match script.look(rules.phase, now, given_up) {
                Look::Runs => still.push(script),
                Look::Fails(end) => {
                    let (ended, its_end) = script.fails(end, now, rules.sink);
                    dying.push(its_end);
                    given_up |= watch.ended(ended) == Then::GiveUp;
                }
                Look::Over => {
                    let (pid, mark) = (script.script.pid(), script.mark.clone());
                    match script.finish(rules, now) {
                        Over::Ended(ended) => {
                            if watch.ended(ended) == Then::GiveUp {
                                given_up = true;
                                // Nothing that it left in the background may go on holding what it was holding.
                                let _ = reaper::kill_family(pid, &mark);
                            }
                        }
                        Over::NeverRan(job, failed) => {
                            given_up |= not_started(job, failed, rules, &mut waiting, watch) == Then::GiveUp;
                        }
                    }
                }
            }
        }
        running = still;
        let next = running.iter().map(|script| script.next_deed(rules.phase));
        let next = next.chain(dying.iter().map(Dying::next_deed)).chain(waiting.iter().map(|(_, at)| *at)).min();
        if let Some(next) = next.filter(|_| !(running.is_empty() && given_up)) {
            wait(&mut running, next);
        }
    }
}

fn start(job: usize, rules: &Rules<'_>, watch: &mut dyn Watch) -> Result<Running, Failed> {
    let ready = watch.prepare(job)?;
    let started = spawn::spawn(&ready.program)?;
    watch.started(job, started.script.pid(), &ready.mark);
    Ok(Running::new(job, ready, started, rules.until))
}

/// A script that could not be started for want of something that comes back is tried again, as long as there is patience.
fn not_started(
    job: usize,
    failed: Failed,
    rules: &Rules<'_>,
    waiting: &mut VecDeque<(usize, Instant)>,
    watch: &mut dyn Watch,
) -> Then {
    let now = Instant::now();
    if failed.short && now < rules.patience {
        watch.waits(job, &failed.why);
        waiting.push_back((job, now + BETWEEN_TRIES));
        return Then::GoOn;
    }
    watch.ended(Ended::without_a_process(job, End::NeverRan(failed.why)))
}

/// Waits until something happens, and moves bytes.
fn wait(running: &mut [Running], next: Instant) {
    let mut polled: Vec<PollFd<'_>> =
        reap::readable().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).into_iter().collect();
    for script in &*running {
        let reading = [&script.status, &script.output_end].into_iter().flatten();
        polled.extend(reading.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        polled.extend(script.input.iter().map(|(fd, _)| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
    }
    let patience = next.saturating_duration_since(Instant::now()).min(ASKING);
    // Rounded up: to wake too early and find nothing to do would be a busy loop.
    let timeout = PollTimeout::try_from(patience + Duration::from_micros(999)).unwrap_or(PollTimeout::ZERO);
    // EINTR: a child has ended, and the pipe says so, too. The ends are non-blocking, so all may be tried whatever poll says.
    if !matches!(poll(&mut polled, timeout), Ok(0)) {
        drop(polled);
        reap::heard();
        running.iter_mut().for_each(Running::move_bytes);
    }
}

/// Waits for the ends of those that failed the freeze; tells of each how many of its processes were killed, and whether it is gone.
pub(crate) fn bury(mut dying: Vec<Dying>, tell: &mut dyn FnMut(usize, Remains)) {
    while !dying.is_empty() {
        let now = Instant::now();
        dying.retain_mut(|script| {
            let over = script.is_over(now);
            if over {
                tell(script.job, script.remains());
            }
            !over
        });
        if let Some(next) = dying.iter().map(Dying::next_deed).min() {
            wait(&mut [], next);
        }
    }
}

enum Look {
    Runs,
    /// It has failed, and was told to end.
    Fails(End),
    Over,
}

enum Over {
    Ended(Ended),
    NeverRan(usize, Failed),
}

impl Running {
    fn new(job: usize, what: Job, started: Started, until: Instant) -> Self {
        let Started { script, status, input, output } = started;
        Self {
            job,
            script,
            status: Some(status),
            input: Some((input, what.input)),
            output_end: Some(output),
            output: Output::default(),
            mark: what.mark,
            began: Instant::now(),
            limit: what.limit,
            // Its own limit starts once it has been executed: after a thaw that may have to wait.
            kill_at: until,
            never_ran: None,
            told: false,
            killed: None,
        }
    }

    fn move_bytes(&mut self) {
        if let Some(status) = &self.status {
            let mut word = [0; 5];
            match read(status, &mut word) {
                Ok(0) => {
                    self.status = None;
                    self.kill_at = self.kill_at.min(Instant::now() + self.limit.given);
                }
                Ok(count) => {
                    self.never_ran = Some(spawn::failure(&word[..count]));
                    self.status = None;
                }
                Err(_) => {}
            }
        }
        if let Some((end, left)) = &mut self.input {
            match write(&*end, left) {
                Ok(count) => drop(left.drain(..count)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // It has closed its input without reading it all, as it may.
                Err(_) => left.clear(),
            }
            if left.is_empty() {
                self.input = None;
            }
        }
        if let Some(end) = &self.output_end
            && drain(end.as_fd(), &mut |bytes| self.output.push(bytes)) == Pipe::Ended
        {
            self.output_end = None;
        }
    }

    fn tell_at(&self) -> Instant {
        self.kill_at.checked_sub(self.limit.grace()).unwrap_or(self.kill_at)
    }

    /// How it stands; tells it to end, and kills it, when that is due.
    fn look(&mut self, phase: Phase, now: Instant, given_up: bool) -> Look {
        if self.script.ended().is_some() || self.killed.is_some_and(|at| now >= at + DYING) {
            return Look::Over;
        }
        match phase {
            Phase::Freeze if given_up => Look::Fails(End::GivenUp),
            Phase::Freeze if now >= self.tell_at() => Look::Fails(End::TooLong(self.limit)),
            Phase::Freeze => Look::Runs,
            Phase::Thaw => {
                if now >= self.kill_at && self.killed.is_none() {
                    // A service that has left the group is at work again, and stays.
                    self.script.signal_group(Signal::SIGKILL);
                    self.killed = Some(now);
                } else if now >= self.tell_at() && !self.told {
                    self.script.signal_group(Signal::SIGTERM);
                    self.told = true;
                }
                Look::Runs
            }
        }
    }

    /// It has failed the freeze: told to end, and reported as it is.
    fn fails(mut self, end: End, now: Instant, sink: &Sink) -> (Ended, Dying) {
        let grace = if end == End::GivenUp { GRACE } else { self.limit.grace() };
        self.script.signal_group(Signal::SIGTERM);
        self.move_bytes();
        if let Some(pipe) = self.output_end.take() {
            sink.keep(pipe);
        }
        let took = now.saturating_duration_since(self.began);
        let ended = Ended { job: self.job, end, output: self.output, took, remains: Remains::Nothing };
        let dying = Dying { job: self.job, script: self.script, mark: self.mark, kill_at: now + grace, killed: None };
        (ended, dying)
    }

    /// The last of its output, and how it ended.
    fn finish(mut self, rules: &Rules<'_>, now: Instant) -> Over {
        self.move_bytes();
        if let Some(failed) = self.never_ran {
            return Over::NeverRan(self.job, failed);
        }
        let status = self.script.ended();
        let unread = self.output_end.take().is_some_and(|pipe| !rules.sink.keep(pipe));
        let end = match status {
            _ if self.told => End::TooLong(self.limit),
            Some(WaitStatus::Exited(_, 0)) => End::Well,
            Some(WaitStatus::Exited(_, code)) => End::Status(code),
            Some(WaitStatus::Signaled(_, signal, _)) => End::Signal(signal.to_string()),
            other => End::Signal(format!("an unknown end: {other:?}")),
        };
        let others = if self.told { count_others(self.script.pid(), &self.mark) } else { 0 };
        let remains = match (self.killed, status, others) {
            (Some(_), None, _) => Remains::Lingers,
            (_, _, others @ 1..) => Remains::Others(others),
            (Some(_), ..) => Remains::Killed,
            (None, ..) if unread => Remains::Unread,
            (None, ..) => Remains::Nothing,
        };
        let took = now.saturating_duration_since(self.began);
        Over::Ended(Ended { job: self.job, end, output: self.output, took, remains })
    }

    /// When something is to be done even if nothing happens.
    fn next_deed(&self, phase: Phase) -> Instant {
        match self.killed {
            Some(at) => at + DYING,
            None if phase == Phase::Freeze || !self.told => self.tell_at(),
            None => self.kill_at,
        }
    }
}

/// How many have left the script's process group, which was told to end.
fn count_others(pid: Pid, mark: &str) -> usize {
    let others = |family: Vec<Pid>| {
        family.into_iter().filter(|other| getpgid(Some(*other)).is_ok_and(|group| group != pid)).count()
    };
    reaper::family(pid, mark).map_or(0, others)
}

impl Dying {
    /// Whether it is gone, or there is no use in waiting for it any longer. Ends what descends from it when it has ended.
    fn is_over(&mut self, now: Instant) -> bool {
        let ended = self.script.ended().is_some();
        if self.killed.is_none() && (ended || now >= self.kill_at) {
            let _ = reaper::kill_family(self.script.pid(), &self.mark);
            self.killed = Some(now);
        }
        ended || self.killed.is_some_and(|at| now >= at + DYING)
    }

    fn remains(&self) -> Remains {
        if self.script.ended().is_none() { Remains::Lingers } else { Remains::Killed }
    }

    fn next_deed(&self) -> Instant {
        self.killed.map_or(self.kill_at, |at| at + DYING)
    }
}

impl Ended {
    fn without_a_process(job: usize, end: End) -> Self {
        Self { job, end, output: Output::default(), took: Duration::ZERO, remains: Remains::Nothing }
    }
}
