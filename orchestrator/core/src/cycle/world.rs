//! The world around the state machine, as its tests and its fuzzer play it: a small model that knows only what it was told to do and what it
//! reported, and holds the machine to its invariants: each request has one answer, *idle* holds nothing, and no THAW is answered with success for a
//! freeze that was lost. Not in the daemon.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Asker, Cycle, HolderId, Input, Purpose, RequestId, Shape, State, StepEnd, Timer, WorkerId};
use hv_vss_types::{Operation, Verdict};

/// The world as the engine sees it: who was asked what, who is alive, which timers run, which requests are open.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct World {
    /// Requests that are owed an answer.
    pub open: BTreeMap<RequestId, Operation>,
    promise: Promise,
    timers: BTreeSet<Timer>,
    surveying: bool,
    noting: bool,
    flushing: bool,
    scanning: bool,
    scanning_again: bool,
    comparing: bool,
    silencing: bool,
    looking: bool,
    log_is_held: bool,
    /// A THAW was just answered with success: the engine says at once whether that was too late, before anything comes from outside.
    just_thawed: bool,
    /// The engine owes [`Input::GoOn`].
    going_on: bool,
    /// Asked to freeze, or to thaw, and not answered.
    freezing: BTreeSet<HolderId>,
    thawing: BTreeSet<HolderId>,
    /// Its freeze was called and nothing has let it go since.
    held: BTreeSet<HolderId>,
    /// Applications: a freeze was called, no thaw has been answered, and nobody gave up on it.
    owed: BTreeSet<HolderId>,
    dead: BTreeSet<WorkerId>,
    dying: BTreeSet<WorkerId>,
    reviving: BTreeSet<WorkerId>,
    /// The daemon was told to end.
    pub exited: bool,
}

/// What the host believes of its latest FREEZE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
enum Promise {
    /// It was not told that all is held.
    #[default]
    None,
    /// It was, and all is, or was when its THAW came.
    Kept,
    /// Its THAW was answered with success.
    Answered,
    /// It was, and something was let go before its THAW came, or may have been; or the answer to its THAW came too late.
    Broken,
}

/// Every input that the engine could give now. `new`: the number of a request that has not been; `frozen`: of the FREEZE that was answered with
/// success.
#[must_use]
pub fn possible(world: &World, plan: &Shape, new: RequestId, frozen: RequestId) -> Vec<Input> {
    if world.exited {
        return Vec::new();
    }
    let mut inputs = vec![Input::OperatorThaw, Input::Stop];
    inputs.extend(
        [Operation::Check, Operation::Freeze, Operation::Thaw, Operation::Unknown(9)].map(|op| Input::Host(new, op)),
    );
    inputs.extend([Input::Rehearse, Input::OperatorCheck]);
    if world.going_on {
        inputs.push(Input::GoOn);
    }
    if world.silencing {
        inputs.push(Input::Silent);
    }
    if world.looking {
        inputs.extend([true, false].map(|unmounted| Input::Looked { unmounted }));
    }
    if world.surveying {
        inputs.push(Input::Surveyed(None));
        // The engine never plans with a worker that is not there.
        if world.dead.is_empty() {
            inputs.push(Input::Surveyed(Some(plan.clone())));
        }
    }
    if world.noting {
        inputs.push(Input::Noted);
    }
    if world.flushing {
        inputs.push(Input::Flushed);
    }
    if world.scanning {
        inputs.extend([Input::Scanned { clear: true }, Input::Scanned { clear: false }]);
    }
    if world.scanning_again {
        inputs.push(Input::ScannedAgain);
    }
    if world.comparing {
        inputs.extend([true, false].map(|same| Input::Compared { same }));
    }
    for holder in &world.freezing {
        inputs.extend([
            Input::Froze(*holder, StepEnd::Done { held: true }),
            Input::Froze(*holder, StepEnd::Failed),
            Input::Froze(*holder, StepEnd::Refused),
            Input::Overdue(*holder),
        ]);
    }
    for holder in &world.thawing {
        let ends = [StepEnd::Done { held: true }, StepEnd::Done { held: false }, StepEnd::Failed];
        inputs.extend(ends.map(|end| Input::Thawed(*holder, end)));
        inputs.push(Input::Overdue(*holder));
    }
    inputs.extend(world.timers.iter().map(|timer| Input::TimeUp(*timer)));
    for worker in plan.0.iter().map(|holder| holder.worker).collect::<BTreeSet<_>>() {
        if world.reviving.contains(&worker) {
            inputs.extend([Input::WorkerReady(worker), Input::WorkerGone(worker), Input::WorkerLost(worker)]);
        } else if !world.dead.contains(&worker) {
            inputs.push(Input::WorkerGone(worker));
        }
    }
    inputs.push(Input::AnswerLate(frozen, Operation::Freeze));
    if world.just_thawed {
        inputs.push(Input::AnswerLate(frozen, Operation::Thaw));
    }
    inputs
}

impl World {
    /// Something happens, and the machine will hear of it.
    ///
    /// # Panics
    /// When it can't happen now.
    pub fn notice(&mut self, input: &Input, plan: &Shape) {
        // What the engine finds while it performs may come before it; see the queue of inputs there.
        self.just_thawed &= matches!(
            input,
            Input::WorkerGone(_)
                | Input::WorkerLost(_)
                | Input::Compared { .. }
                | Input::Silent
                | Input::Looked { .. }
                | Input::TimeUp(_)
        );
        match input {
            Input::Host(request, operation) => assert!(self.open.insert(*request, *operation).is_none()),
            Input::Surveyed(_) => self.surveying = false,
            Input::Noted => self.noting = false,
            Input::Flushed => self.flushing = false,
            Input::Scanned { .. } => self.scanning = false,
            Input::ScannedAgain => self.scanning_again = false,
            Input::Compared { same } => {
                self.comparing = false;
                if !same {
                    self.breaks_its_promise();
                }
            }
            Input::Silent => self.silencing = false,
            Input::Looked { .. } => self.looking = false,
            Input::GoOn => self.going_on = false,
            Input::Froze(holder, _) => assert!(self.freezing.remove(holder)),
            Input::Thawed(holder, end) => {
                assert!(self.thawing.remove(holder));
                if *end == (StepEnd::Done { held: false }) {
                    self.breaks_its_promise();
                }
                let is_app = !plan.0[holder.0].is_filesystem();
                if is_app || matches!(end, StepEnd::Done { .. }) {
                    self.held.remove(holder);
                    self.owed.remove(holder);
                }
            }
            // It was being started anew, and is still to be.
            Input::WorkerGone(worker) if self.reviving.contains(worker) => {}
            Input::WorkerGone(worker) => {
                if self.held_by_its_life(*worker, plan) {
                    self.breaks_its_promise();
                }
                self.dying.remove(worker);
                self.dead.insert(*worker);
                for (at, holder) in plan.0.iter().enumerate().filter(|(_, holder)| holder.worker == *worker) {
                    self.freezing.remove(&HolderId(at));
                    self.thawing.remove(&HolderId(at));
                    if !holder.survives_exit() {
                        self.held.remove(&HolderId(at));
                    }
                }
            }
            Input::WorkerReady(worker) => {
                self.reviving.remove(worker);
                self.dead.remove(worker);
            }
            Input::WorkerLost(worker) => {
                self.reviving.remove(worker);
                let its = |id: &HolderId| plan.0[id.0].worker == *worker;
                if !self.held.iter().any(|id| its(id) && plan.0[id.0].survives_exit()) {
                    self.owed.retain(|id| !its(id));
                }
            }
            Input::TimeUp(timer) => {
                assert!(self.timers.remove(timer));
                if *timer == Timer::Silence {
                    self.silencing = false;
                }
            }
            // The host has heard a failure.
            Input::AnswerLate(_, Operation::Freeze) if self.promise == Promise::Kept && !self.is_to_thaw() => {
                self.promise = Promise::None;
            }
            Input::AnswerLate(_, Operation::Thaw) if self.promise == Promise::Answered => {
                self.promise = Promise::Broken;
            }
            Input::Overdue(_)
            | Input::AnswerLate(..)
            | Input::OperatorThaw
            | Input::OperatorCheck
            | Input::Rehearse
            | Input::Stop => {}
        }
    }

    /// Does this process hold something that its death lets go, or whose state nobody knows then?
    fn held_by_its_life(&self, worker: WorkerId, plan: &Shape) -> bool {
        plan.0.iter().enumerate().filter(|(_, holder)| holder.worker == worker).any(|(at, holder)| {
            let id = HolderId(at);
            match holder.is_filesystem() {
                true => self.held.contains(&id) && !holder.survives_exit(),
                false => self.owed.contains(&id) && !self.thawing.contains(&id),
            }
        })
    }

    /// A THAW waits for its answer.
    fn is_to_thaw(&self) -> bool {
        self.open.values().any(|operation| *operation == Operation::Thaw)
    }

    fn breaks_its_promise(&mut self) {
        if self.promise == Promise::Kept {
            self.promise = Promise::Broken;
        }
    }

    fn answers(&mut self, operation: Operation, verdict: Verdict) {
        self.promise = match (operation, verdict, self.promise) {
            (Operation::Freeze, Verdict::Success, _) => Promise::Kept,
            (Operation::Thaw, Verdict::Success, promise) => {
                assert_ne!(promise, Promise::Broken, "a backup that was lost is reported as good");
                self.just_thawed = true;
                if matches!(promise, Promise::Kept | Promise::Answered) { Promise::Answered } else { Promise::None }
            }
            // A backup that has failed stays failed; one THAW too many is not its own.
            (Operation::Thaw, Verdict::Fail, Promise::Kept) if !self.is_to_thaw() => Promise::Broken,
            (_, _, promise) => promise,
        };
    }

    /// What the machine wants is done.
    ///
    /// # Panics
    /// When it may not want that.
    pub fn perform(&mut self, action: &Action, plan: &Shape) {
        match action {
            Action::Answer(request, verdict, _) => match self.open.remove(request) {
                Some(operation) => self.answers(operation, *verdict),
                None => panic!("{request:?} was answered twice"),
            },
            Action::Survey(purpose) => {
                assert!(!std::mem::replace(&mut self.surveying, true), "two surveys at once");
                if *purpose == Purpose::Freeze {
                    self.promise = Promise::None;
                }
            }
            Action::AbandonSurvey => self.surveying = false,
            Action::Note => self.noting = true,
            Action::LastFlush => self.flushing = true,
            Action::Scan => {
                let suspended = self.held.iter().any(|id| plan.0[id.0].is_filesystem());
                assert!(!suspended, "the processes are looked at before the first suspend");
                self.scanning = true;
            }
            Action::ScanAgain => self.scanning_again = true,
            Action::Compare => self.comparing = true,
            Action::Silence => self.silencing = true,
            Action::LookFor(holder) => {
                assert!(plan.0[holder.0].is_filesystem(), "only a filesystem is looked for");
                self.looking = true;
            }
            Action::HoldLog => assert!(!std::mem::replace(&mut self.log_is_held, true), "the log is held twice"),
            Action::FreeLog => {
                assert!(std::mem::take(&mut self.log_is_held), "the log is not held");
                let suspended = self.held.iter().any(|id| plan.0[id.0].is_filesystem());
                assert!(!suspended, "the log is written while a filesystem is suspended");
            }
            Action::GoOn => self.going_on = true,
            Action::Freeze(holder) => {
                let worker = plan.0[holder.0].worker;
                assert!(
                    !self.dead.contains(&worker) && !self.dying.contains(&worker),
                    "a dead worker was asked to freeze"
                );
                if plan.0[holder.0].is_filesystem() {
                    assert!(self.freezing.is_empty(), "a filesystem's freeze is a step of its own");
                    assert!(self.log_is_held, "the log may be written while a filesystem is suspended");
                    assert!(!self.silencing, "an observer may be writing when the first filesystem is suspended");
                } else {
                    self.owed.insert(*holder);
                }
                self.freezing.insert(*holder);
                self.held.insert(*holder);
            }
            Action::Thaw(holder, _) => {
                // A THAW for which the mount table was not compared to the end has found nothing good.
                if !self.is_to_thaw() || self.comparing {
                    self.breaks_its_promise();
                }
                let worker = plan.0[holder.0].worker;
                assert!(
                    !self.dead.contains(&worker) && !self.dying.contains(&worker),
                    "a dead worker was asked to thaw"
                );
                assert!(!self.freezing.contains(holder), "thaw during its own freeze");
                assert!(self.thawing.insert(*holder), "thaw during a thaw");
                if plan.0[holder.0].is_filesystem() {
                    assert!(!self.scanning_again, "a filesystem is released before the processes were looked at");
                    // One that it lies on may be at work already, if this one's process had to be started anew for it. One that was frozen
                    // before it may still be held only if no process can be told to let it go: the kernel hangs for good when an outer
                    // filesystem is resumed while the umount of a held inner one waits.
                    let inner = self.held.range(..*holder).filter(|id| plan.0[id.0].is_filesystem());
                    let can_be_told = |worker: &WorkerId| {
                        !self.dying.contains(worker) && !self.dead.contains(worker) && !self.reviving.contains(worker)
                    };
                    let first = inner.map(|id| plan.0[id.0].worker).filter(can_be_told).count();
                    assert_eq!(first, 0, "filesystems are released in freezing order, one after the other");
                }
            }
            Action::Kill(worker) => assert!(self.dying.insert(*worker), "killed twice"),
            Action::Revive(worker) => {
                assert!(self.dead.contains(worker) && self.reviving.insert(*worker), "revived while alive");
                let suspended = self.held.iter().any(|id| plan.0[id.0].is_filesystem());
                assert!(
                    !suspended || plan.0.iter().any(|holder| holder.worker == *worker && holder.survives_exit()),
                    "no exec while frozen"
                );
            }
            Action::Arm(timer) => drop(self.timers.insert(*timer)),
            Action::Disarm(timer) => drop(self.timers.remove(timer)),
            Action::Exit => self.exited = true,
            Action::Cancel(holder) => assert!(self.freezing.contains(holder)),
            Action::Ended(..) => {
                // An application whose process died in each of its thaws is given up; the record says so.
                self.owed.clear();
                // The engine starts what died anew, now that nothing is suspended.
                self.dead.clear();
                self.dying.clear();
            }
            Action::Await(_)
            | Action::Rehearsed(..)
            | Action::FlushBeside
            | Action::Hush
            | Action::Outlook
            | Action::RefuseCheck(_)
            | Action::DropCheck(_) => {}
        }
    }

    /// It was killed, and has not died yet.
    #[must_use]
    pub fn is_dying(&self, worker: WorkerId) -> bool {
        self.dying.contains(&worker)
    }

    /// The engine passes on no note, flush or comparison of a cycle that is over, and starts dead workers anew while nothing is suspended.
    pub fn forget_what_the_engine_drops(&mut self, cycle: &Cycle) {
        if !matches!(cycle.state(), State::Freezing(_)) {
            (self.noting, self.flushing, self.silencing, self.looking) = (false, false, false, false);
            self.scanning = false;
        }
        if !matches!(cycle.state(), State::Freezing(_) | State::Frozen(_)) {
            self.comparing = false;
        }
        if !matches!(cycle.state(), State::Releasing(_)) {
            self.scanning_again = false;
        }
        if cycle.is_idle() {
            self.dead.clear();
            self.dying.clear();
            self.reviving.clear();
        }
    }

    /// The invariants, and what follows from them. The one on lost backups is looked at with each answer.
    ///
    /// # Panics
    /// When one does not hold.
    #[track_caller]
    pub fn check_invariants(&self, cycle: &Cycle) {
        if cycle.is_idle() {
            assert!(self.held.is_empty(), "idle, and yet held: {:?}", self.held);
            assert!(self.thawing.is_empty() && self.freezing.is_empty(), "idle, and yet calls in work");
            assert!(self.timers.is_empty(), "idle, and yet timers run: {:?}", self.timers);
            assert!(self.open.is_empty(), "idle, and yet requests wait: {:?}", self.open);
            assert!(!self.log_is_held, "idle, and yet the log is held");
        }
        if self.exited {
            assert!(cycle.is_idle(), "left while something was held");
        }
        let known = cycle.open_requests();
        assert_eq!(known, self.open, "the machine and the world disagree on who waits for an answer");
        if !matches!(cycle.state(), State::Idle | State::Checking(_)) && !self.open.is_empty() {
            let answered_by_a_timer = self.timers.contains(&Timer::Answer) || self.timers.contains(&Timer::ThawAnswer);
            assert!(answered_by_a_timer, "a request waits and no timer will answer it");
        }
    }
}

impl Cycle {
    /// The requests that the machine knows it has to answer.
    pub(super) fn open_requests(&self) -> BTreeMap<RequestId, Operation> {
        let in_work = match &self.state {
            State::Checking(request) => request.map(|request| (request, Operation::Check)),
            State::Freezing(freezing) => match freezing.asker {
                Asker::Host(request) => Some((request, Operation::Freeze)),
                Asker::Rehearsal => None,
            },
            State::Releasing(releasing) => releasing.thaw.as_ref().map(|thaw| (thaw.request, Operation::Thaw)),
            State::Frozen(frozen) => frozen.thaw.map(|request| (request, Operation::Thaw)),
            State::Idle => None,
        };
        in_work.into_iter().chain(self.waiting).collect()
    }
}
