//! The freeze cycle as a pure state machine: inputs in, actions out.
//!
//! ```text
//!            CHECK                    THAW, cancel, refusal, time up
//!   ┌──────┐ ─────▶ ┌──────────┐ ─────────────────────────────┐
//!   │ idle │ ◀───── │ checking │                              │ (nothing is held: idle at once)
//!   └──────┘ verdict└──────────┘                              ▼
//!     │  ▲                                                  idle
//!     │  │ every holder let go
//!     │  └──────────────────────────────────────────┐
//!     │ FREEZE   ┌──────────┐ a step fails     ┌───────────┐
//!     └────────▶ │ freezing │ ───────────────▶ │ releasing │
//!                └──────────┘                  └───────────┘
//!                     │ all held                     ▲
//!                     ▼                              │ THAW, watchdog, operator,
//!                ┌──────────┐                        │ a lost worker, stop
//!                │  frozen  │ ───────────────────────┘
//!                └──────────┘
//! ```
//!
//! Nothing here reads a clock, touches the device or talks to a plugin: the engine does that and feeds the result back. That is what lets the
//! tests walk *every* history instead of the ones we thought of. Three invariants hold: every request is answered exactly once, *idle* means that
//! nothing is held, and no THAW is answered with success for a freeze that was lost.
//!
//! `requests` holds the host's side (the table of answers), `freezing` the way in, `releasing` the way out, `run` who holds what, `point` the
//! names of all this.

mod freezing;
mod point;
mod releasing;
mod requests;
mod run;
#[cfg(test)]
mod tests;
#[cfg(any(test, fuzzing))]
pub mod world;

pub use point::Point;
pub use run::{Hold, Holder, HolderId, Kind, Run, Shape, WorkerId};

use hv_vss_types::{Operation, Verdict};
use hv_vss_wire::Outcome;

/// One request of the host, as the engine numbers them. Not the driver's `msgid`, which the engine keeps beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// How a step that a worker was asked for ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepEnd {
    /// Done. After a thaw: was what it held still held when the call came?
    Done {
        /// True unless the host had let go before by itself.
        held: bool,
    },
    /// The plugin said that it can't. A filesystem may just have been unmounted.
    Refused,
    /// It failed; the engine keeps the sentence.
    Failed,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The host asks. The engine has started the request's own deadline ([`Timer::Answer`] fires for the request named in [`Action::Await`]).
    Host(RequestId, Operation),
    /// The mounts are claimed and the applications asked: a plan, or reasons why not (the engine keeps them).
    Surveyed(Option<Shape>),
    /// What will be owed is written down, as far as that is possible.
    Noted,
    /// A freeze step ended.
    Froze(HolderId, StepEnd),
    /// A thaw step ended.
    Thawed(HolderId, StepEnd),
    /// The last flush has ended, or its slice of the time has.
    Flushed,
    /// The processes were looked at for files that they have mapped, before the first filesystem.
    Scanned {
        /// Nothing stored to a mapping would be lost, or the loss is accepted.
        clear: bool,
    },
    /// They were looked at once more, before the release.
    ScannedAgain,
    /// A filesystem whose freeze was refused was looked for in the mount table.
    Looked {
        /// It was unmounted meanwhile: nothing of it is in the backup.
        unmounted: bool,
    },
    /// No observer is at work any more.
    Silent,
    /// The mount table was read once more, after the last filesystem or for a THAW: is it still what was planned?
    Compared {
        /// Nothing writable came in between.
        same: bool,
    },
    /// A worker's process is gone; every call it had in work is void.
    WorkerGone(WorkerId),
    /// A worker that we asked to revive answers again.
    WorkerReady(WorkerId),
    /// A worker can't be started again.
    WorkerLost(WorkerId),
    /// A call has passed its own limit.
    Overdue(HolderId),
    /// A timer has fired.
    TimeUp(Timer),
    /// The success that this was answered with came too late: the host has heard a failure.
    AnswerLate(RequestId, Operation),
    /// An operator wants everything let go now (SIGUSR1, `vssctl thaw`).
    OperatorThaw,
    /// An operator wants a cycle without a host.
    Rehearse,
    /// An operator asks whether a backup would work.
    OperatorCheck,
    /// All actions up to [`Action::GoOn`] are performed, late answers among them reported.
    GoOn,
    /// The daemon is to end (SIGTERM, devd, the node is gone).
    Stop,
}

/// The clocks the engine runs for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The CHECK or FREEZE in work, or the request that waits, must be answered now.
    Answer,
    /// The THAW in work must be answered now.
    ThawAnswer,
    /// The host has left us frozen for too long.
    Watchdog,
    /// The filesystems' release takes so long that the applications are let go regardless.
    AppsAnyway,
    /// A rehearsal has held long enough.
    Hold,
    /// Killed observers take so long to go that the freeze goes on without waiting for them.
    Silence,
    /// A worker that could not be started is tried once more.
    Revive,
}

/// What the engine is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Answer the host.
    Answer(RequestId, Verdict, Why),
    /// Tell whoever asked for the rehearsal that everything is held, or why it ended without.
    Rehearsed(Verdict, Why),
    /// Read the mounts, ask every plugin, make a plan.
    Survey(Purpose),
    /// Forget the survey in work; its calls are cancelled.
    AbandonSurvey,
    /// Write down what will be owed.
    Note,
    /// Tell observers at work to give up.
    Hush,
    /// Kill the observers that are still at work; [`Input::Silent`] when there is none any more.
    Silence,
    /// Keep log lines in memory: a filesystem is about to be suspended.
    HoldLog,
    /// Write the log lines that were kept.
    FreeLog,
    /// Look for a filesystem in the mount table.
    LookFor(HolderId),
    /// Tell the operator what the survey has found.
    Outlook,
    /// Refuse the operator's check that has just come.
    RefuseCheck(Why),
    /// Give up the operator's check in work.
    DropCheck(Why),
    /// Give [`Input::GoOn`] back when everything before this is done.
    GoOn,
    /// Start a flush beside the applications' steps.
    FlushBeside,
    /// Flush once more, within a slice of the time.
    LastFlush,
    /// Look which processes have files mapped whose stores a resume would throw away.
    Scan,
    /// Look once more, briefly: filesystems are held until that is done.
    ScanAgain,
    /// Ask a holder to come to rest.
    Freeze(HolderId),
    /// Ask a holder to let go.
    Thaw(HolderId, Outcome),
    /// Ask a holder to give up the freeze it is at; from now on it has only the time of a thaw.
    Cancel(HolderId),
    /// Compare the mount table with the plan.
    Compare,
    /// SIGKILL a worker.
    Kill(WorkerId),
    /// Start a worker anew, for it still owes thaws.
    Revive(WorkerId),
    /// From now on [`Timer::Answer`] means this request (or the rehearsal).
    Await(Option<RequestId>),
    /// Start a timer.
    Arm(Timer),
    /// Stop a timer.
    Disarm(Timer),
    /// Nothing is held any more, the cycle is over: keep its record.
    Ended(Outcome, Why),
    /// Nothing is left to do: end the daemon.
    Exit,
}

/// What a survey is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To answer CHECK.
    Check,
    /// To freeze.
    Freeze,
    /// To freeze without a host.
    Rehearsal,
    /// To tell an operator whether a backup would work. It is no cycle.
    Outlook,
}

/// Why an answer is what it is. The engine makes a sentence of it, with the names that only it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Everything went as asked.
    AsAsked,
    /// Nothing was held.
    NothingHeld,
    /// The survey found reasons against it.
    Refused,
    /// This holder's step failed.
    StepFailed(HolderId),
    /// This worker died.
    WorkerDied(WorkerId),
    /// The time allowed for the answer ran out.
    OutOfTime,
    /// A process has a file mapped, and what it stores in the hold would be lost.
    Mapped,
    /// A filesystem came in between, or became writable.
    MountsChanged,
    /// The host asked to thaw in the middle.
    ThawCame,
    /// Another request is in work.
    Busy,
    /// What an earlier cycle held is not yet let go.
    StillHeld,
    /// The host did not thaw in time.
    Expired,
    /// The backup was lost before; the engine keeps the sentence.
    Lost,
    /// A holder let go before the THAW came.
    LetGo(HolderId),
    /// An operator thawed.
    Operator,
    /// The answer to FREEZE came too late for the driver.
    TooLate,
    /// This process has seen no FREEZE: an earlier one may have frozen, and died.
    NeverAsked,
    /// The daemon is ending.
    Stopping,
    /// A real request ended the rehearsal.
    Overruled,
    /// We don't know this operation.
    UnknownOperation(u32),
}

/// The states, with what only they need.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing is held, nothing is in work.
    Idle,
    /// A CHECK is in work; without a request, an operator's.
    Checking(Option<RequestId>),
    /// A FREEZE is in work.
    Freezing(Freezing),
    /// Everything is held.
    Frozen(Frozen),
    /// What is held is being let go.
    Releasing(Releasing),
}

/// A FREEZE in work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Freezing {
    asker: Asker,
    stage: Stage,
    run: Run,
}

/// Everything is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frozen {
    asker: Asker,
    run: Run,
    /// The THAW for which the mount table is being compared.
    thaw: Option<RequestId>,
}

/// What is held is being let go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Releasing {
    run: Run,
    outcome: Outcome,
    why: Why,
    /// The THAW that waits for the end of this, and whether it demands that all were held.
    thaw: Option<PendingThaw>,
    /// The filesystems took too long: the applications no longer wait for them.
    apps_anyway: bool,
    /// The processes are looked at once more. No filesystem is released before that has ended.
    scanning: bool,
    /// Nothing is held any more; a request that waits has its turn when the engine has reported late answers.
    over: bool,
}

/// A THAW that is owed its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PendingThaw {
    request: RequestId,
    /// The first reason found why it can't be answered with success.
    doubt: Option<Why>,
    /// Of a THAW that cut a FREEZE short nobody expects that all were held.
    all_were_held: bool,
    /// It waits for filesystems alone now: no longer than its own deadline, and for no application.
    for_filesystems: bool,
}

/// On whose behalf we freeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asker {
    Host(RequestId),
    Rehearsal,
}

/// How far a FREEZE has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Surveying,
    Noting,
    /// The applications with this number are asked.
    Apps(u8),
    LastFlush,
    Scanning,
    /// Observers are to be gone before the first suspend.
    Silencing,
    Filesystems,
    /// The filesystem that refused is looked for in the mount table.
    Looking(HolderId),
    Comparing,
}

/// What a THAW hears when there is nothing to thaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Memory {
    /// This process has seen no FREEZE.
    Unknown,
    /// Nothing is wrong.
    Clean,
    /// A freeze that was reported as good ended before its THAW. The next FREEZE forgets it; a CHECK is about what is to come, and does not.
    Lost,
}

/// The state machine. Give it inputs, perform its actions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cycle {
    state: State,
    memory: Memory,
    /// The one request that waits for the end of *releasing*.
    waiting: Option<(RequestId, Operation)>,
    stopping: bool,
}

/// The actions an input leads to.
type Actions = Vec<Action>;

impl Default for Cycle {
    fn default() -> Self {
        Self { state: State::Idle, memory: Memory::Unknown, waiting: None, stopping: false }
    }
}

impl Cycle {
    /// The state, for those who show it.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Is something in work, or held?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Who holds what, while there is something to hold.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        match &self.state {
            State::Idle | State::Checking(_) => None,
            State::Freezing(freezing) => Some(&freezing.run),
            State::Frozen(frozen) => Some(&frozen.run),
            State::Releasing(releasing) => Some(&releasing.run),
        }
    }

    /// Takes one input and says what to do. An input that no longer means anything (a late answer of a worker that was killed) changes nothing.
    pub fn handle(&mut self, input: Input) -> Actions {
        let mut actions = Actions::new();
        match input {
            Input::Host(request, operation) => self.asked(request, operation, &mut actions),
            Input::Surveyed(shape) => self.surveyed(shape, &mut actions),
            Input::Noted => self.noted(&mut actions),
            Input::Froze(holder, end) => self.froze(holder, end, &mut actions),
            Input::Thawed(holder, end) => self.thawed(holder, end, &mut actions),
            Input::Flushed => self.flushed(&mut actions),
            Input::Scanned { clear } => self.scanned(clear, &mut actions),
            Input::ScannedAgain => self.scanned_again(&mut actions),
            Input::Looked { unmounted } => self.looked(unmounted, &mut actions),
            Input::Silent => self.silent(&mut actions),
            Input::GoOn => self.go_on_resting(&mut actions),
            Input::OperatorCheck => self.operator_check(&mut actions),
            Input::Compared { same } => self.compared(same, &mut actions),
            Input::WorkerGone(worker) => self.worker_gone(worker, &mut actions),
            Input::WorkerReady(worker) => self.worker_ready(worker, &mut actions),
            Input::WorkerLost(worker) => self.worker_lost(worker, &mut actions),
            Input::Overdue(holder) => self.overdue(holder, &mut actions),
            Input::TimeUp(timer) => self.time_up(timer, &mut actions),
            Input::AnswerLate(request, operation) => self.answer_late(request, operation, &mut actions),
            Input::OperatorThaw => self.operator_thaw(&mut actions),
            Input::Rehearse => self.rehearse(&mut actions),
            Input::Stop => self.stop(&mut actions),
        }
        actions
    }
}
