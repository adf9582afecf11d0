//! Runs the scripts of one group at once, to the end of the last of them: one thread in poll(2) on their pipes and on SIGCHLD.
//!
//! A script has ended when its own process has. Its pipes are not waited for: what it left in the background may hold them for as long as it
//! likes, and keeps a reader until [`Kept`] is dropped, so that writing to them does not kill it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use hv_vss_platform::reaper;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, read, write};

use crate::child_signal::ChildSignal;
use crate::output::Output;
use crate::spawn::{self, Program, Started};

/// How often the orchestrator is asked whether it has given the call up. It can't be waited for together with the scripts.
const ASKING: Duration = Duration::from_millis(20);
/// How long a killed script may take to be gone. One that waits for a disk can't be killed; the cycle goes on without it.
const DYING: Duration = Duration::from_millis(100);
/// How many run at once; more than these wait for the end of others. Each needs three descriptors here, of which a worker has 256, and what one
/// leaves in the background keeps one of them.
const AT_ONCE: usize = 48;
/// Bytes read from one pipe before the others have their turn.
const GULP: usize = 64 << 10;

/// A script to run.
pub(crate) struct Job {
    pub(crate) program: Program,
    /// What it gets on its standard input.
    pub(crate) input: Vec<u8>,
    /// How long it may run once it has been executed.
    pub(crate) limit: Duration,
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
    /// It took too long, and was killed.
    TooLong,
    /// The group was given up, and it was killed.
    GivenUp,
    /// It never ran; why.
    NeverRan(String),
    /// The group was given up before its turn came.
    NotStarted,
}

/// A script that has ended.
pub(crate) struct Ended {
    /// Which of the jobs.
    pub(crate) job: usize,
    pub(crate) end: End,
    pub(crate) output: Output,
    /// From the fork to the end.
    pub(crate) took: Duration,
    /// How many of its processes were killed, itself included.
    pub(crate) killed: usize,
    /// Killed, and yet not gone: it waits for a disk.
    pub(crate) lingers: bool,
}

/// What to do after a script's end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    /// Kill what the ended script left in the background, and all the others.
    GiveUp,
}

/// The reading ends of scripts that have ended.
#[derive(Default)]
pub(crate) struct Kept(Vec<OwnedFd>);

/// The rules for one group.
pub(crate) struct Rules<'a> {
    /// By then the last script is dead and reaped.
    pub(crate) until: Instant,
    /// Whether to give the group up.
    pub(crate) given_up: &'a dyn Fn() -> bool,
}

/// A script that is running.
struct Running {
    job: usize,
    pid: Pid,
    /// None: it has been executed.
    status: Option<OwnedFd>,
    input: Option<(OwnedFd, Vec<u8>)>,
    output_end: Option<OwnedFd>,
    output: Output,
    mark: String,
    began: Instant,
    limit: Duration,
    kill_at: Instant,
    never_ran: Option<String>,
    killed: Option<(End, Instant, usize)>,
}

/// Runs the jobs, tells `ended` of each end as it happens, and returns when all have ended.
///
/// A job that could not even be prepared comes as the reason why, and ends as [`End::NeverRan`].
pub(crate) fn group(
    jobs: Vec<Result<Job, String>>,
    rules: &Rules<'_>,
    kept: &mut Kept,
    ended: &mut dyn FnMut(Ended) -> Then,
) {
    let signal = match ChildSignal::catch() {
        Ok(signal) => signal,
        Err(error) => {
            for job in 0..jobs.len() {
                ended(never_ran(job, error.to_string()));
            }
            return;
        }
    };
    let mut waiting = jobs.into_iter().enumerate();
    let mut running = Vec::new();
    let mut given_up = false;
    loop {
        while running.len() < AT_ONCE
            && let Some((at, job)) = waiting.next()
        {
            if given_up {
                ended(Ended { end: End::NotStarted, ..never_ran(at, String::new()) });
                continue;
            }
            let started =
                job.and_then(|job| spawn::spawn(&job.program).map_err(|error| error.to_string()).map(|it| (job, it)));
            match started {
                Ok((job, started)) => running.push(Running::new(at, job, started, rules.until)),
                Err(why) => given_up |= ended(never_ran(at, why)) == Then::GiveUp,
            }
        }
        if running.is_empty() {
            return;
        }
        given_up = given_up || (rules.given_up)();
        let now = Instant::now();
        for script in &mut running {
            if given_up {
                script.kill(End::GivenUp, now);
            } else if now >= script.kill_at {
                script.kill(End::TooLong, now);
            }
        }
        let mut still = Vec::new();
        for script in running {
            if !script.is_over(now) {
                still.push(script);
                continue;
            }
            let (pid, mark) = (script.pid, script.mark.clone());
            if ended(script.finish(now, kept)) == Then::GiveUp {
                given_up = true;
                // Nothing it left in the background may go on holding what it was holding. It is not reaped yet, so its descendants are known.
                let _ = reaper::kill_family(pid, &mark);
            }
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
        running = still;
        if let Some(next) = running.iter().map(Running::next_deed).min() {
            wait(&signal, &mut running, kept, next);
        }
    }
}

/// Waits until something happens, and moves bytes.
fn wait(signal: &ChildSignal, running: &mut [Running], kept: &mut Kept, next: Instant) {
    let patience = next.saturating_duration_since(Instant::now()).min(ASKING);
    // Rounded up: to wake too early and find nothing to do would be a busy loop.
    let timeout = PollTimeout::try_from(patience + Duration::from_micros(999)).unwrap_or(PollTimeout::ZERO);
    let mut polled = vec![PollFd::new(signal.readable(), PollFlags::POLLIN)];
    for script in &*running {
        let reading = [&script.status, &script.output_end].into_iter().flatten();
        polled.extend(reading.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        polled.extend(script.input.iter().map(|(fd, _)| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
    }
    polled.extend(kept.0.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
    // EINTR: a child has ended, and the pipe says so, too. The ends are non-blocking, so all may be tried whatever poll says.
    if !matches!(poll(&mut polled, timeout), Ok(0)) {
        drop(polled);
        signal.heard();
        running.iter_mut().for_each(Running::move_bytes);
        kept.empty();
    }
}

impl Running {
    fn new(job: usize, what: Job, started: Started, until: Instant) -> Self {
        let Started { pid, status, input, output } = started;
        Self {
            job,
            pid,
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
            killed: None,
        }
    }

    fn move_bytes(&mut self) {
        if let Some(status) = &self.status {
            let mut word = [0; 5];
            match read(status, &mut word) {
                Ok(0) => {
                    self.status = None;
                    self.kill_at = self.kill_at.min(Instant::now() + self.limit);
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
                // It doesn't want to read: that is its own affair.
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

    fn kill(&mut self, why: End, now: Instant) {
        if self.killed.is_none() && !self.has_ended() {
            let count = reaper::kill_family(self.pid, &self.mark).unwrap_or(0);
            self.killed = Some((why, now, count));
        }
    }

    /// It stays unreaped here: as long as it does, its descendants can be told from others.
    fn look(&self) -> Result<WaitStatus, Errno> {
        waitid(Id::Pid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)
    }

    fn has_ended(&self) -> bool {
        !matches!(self.look(), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
    }

    /// Whether it has ended, or there is no use in waiting for it any longer.
    fn is_over(&self, now: Instant) -> bool {
        self.has_ended() || self.killed.as_ref().is_some_and(|(_, at, _)| now >= *at + DYING)
    }

    /// Its last words, and how it ended.
    fn finish(mut self, now: Instant, kept: &mut Kept) -> Ended {
        self.move_bytes();
        kept.0.extend(self.output_end.take());
        let status = self.look();
        let lingers = matches!(status, Ok(WaitStatus::StillAlive));
        let killed = self.killed.as_ref().map_or(0, |(_, _, count)| *count);
        let end = match (self.killed, self.never_ran, status) {
            (Some((why, ..)), ..) => why,
            (None, Some(why), _) => End::NeverRan(why),
            (None, None, Ok(WaitStatus::Exited(_, 0))) => End::Well,
            (None, None, Ok(WaitStatus::Exited(_, code))) => End::Status(code),
            (None, None, Ok(WaitStatus::Signaled(_, signal, _))) => End::Signal(signal.to_string()),
            (None, None, other) => End::NeverRan(format!("it was lost sight of: {other:?}")),
        };
        let took = now.saturating_duration_since(self.began);
        Ended { job: self.job, end, output: self.output, took, killed, lingers }
    }

    /// When something is to be done even if nothing happens.
    fn next_deed(&self) -> Instant {
        self.killed.as_ref().map_or(self.kill_at, |(_, at, _)| *at + DYING)
    }
}

impl Kept {
    /// Reads what background children say, and drops it: they must not wait for a reader.
    fn empty(&mut self) {
        self.0.retain(|end| drain(end.as_fd(), &mut |_| {}) == Pipe::Open);
    }
}

#[derive(PartialEq)]
enum Pipe {
    Open,
    Ended,
}

/// Reads what is there, a gulp at most.
fn drain(end: BorrowedFd<'_>, take: &mut dyn FnMut(&[u8])) -> Pipe {
    let mut bytes = [0; 8 << 10];
    let mut taken = 0;
    while taken < GULP {
        match read(end, &mut bytes) {
            Ok(0) => return Pipe::Ended,
            Ok(count) => {
                take(&bytes[..count]);
                taken += count;
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Pipe::Open,
            Err(_) => return Pipe::Ended,
        }
    }
    Pipe::Open
}

fn never_ran(job: usize, why: String) -> Ended {
    Ended { job, end: End::NeverRan(why), output: Output::default(), took: Duration::ZERO, killed: 0, lingers: false }
}
