//! Playing one cell: the host's conversation up to the moment, the strike, the conversation's end, and the facts for the judge.

mod step;
mod strike;

use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_stories::Operation::{self, Check, Freeze, Thaw};
use hv_vss_stories::{Answered, Fault as KernelFault, Moment as Call, Sent, Signal};

use crate::control;
use crate::guest::{Bench, DISKS, HOOKS, SOON, limit, max_frozen};
use crate::inject::gate::Gate;
use crate::inject::processes::{comes_true, is_alive, signal, waits_in_poll};
use crate::matrix::moment::Waiter;
use crate::matrix::{Cell, Fault, Moment, Step, Subject, Way};
use crate::record::Mark;
use step::{began_before, gate_of, kernel_call, who};
use strike::stop;

/// How long the host takes for its copy.
const COPY: Duration = Duration::from_millis(40);
/// Any driver has given up before.
const PATIENCE: Duration = Duration::from_secs(5);

/// One request of the host and what became of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What was asked.
    pub operation: Operation,
    /// When.
    pub sent: Monotonic,
    /// What the host heard; none: nothing.
    pub answered: Option<Answered>,
}

impl Asked {
    /// Did the host hear success?
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.answered.as_ref().is_some_and(|answered| answered.answer.is_ok())
    }

    /// When it heard an answer.
    #[must_use]
    pub fn heard(&self) -> Option<Monotonic> {
        self.answered.as_ref().map(|answered| Monotonic::from_ns(answered.at_ns))
    }
}

/// What happened in a cell, as seen from outside.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The host's requests, in their order.
    pub asked: Vec<Asked>,
    /// When the fault struck.
    pub struck: Monotonic,
    /// When the simulated kernel let a call go on that it had kept.
    pub lifted: Option<Monotonic>,
    /// Processes that were stopped and not yet set going again.
    pub stopped: Vec<i32>,
    /// The process that the fault ends, whatever it does.
    pub doomed: Option<i32>,
}

impl Facts {
    /// The backup's request of this kind.
    #[must_use]
    pub fn request(&self, operation: Operation) -> Option<&Asked> {
        self.asked.iter().rev().find(|asked| asked.operation == operation)
    }
}

/// What holds a step until it may end.
enum Hold {
    None,
    Gate(Gate),
    Kernel(&'static str, Call),
    StateDisk,
}

struct Play<'a> {
    bench: &'a mut Bench,
    cell: Cell,
    hold: Hold,
    /// Gates that are open again. They stay so for whoever is started in the first visitor's place.
    gates: Vec<Gate>,
    facts: Facts,
}

/// Plays a cell up to the end of the host's conversation. What was stopped still is.
///
/// # Errors
/// A sentence when the moment was not reached: then nothing was tried.
pub fn play(bench: &mut Bench, cell: Cell) -> Result<Facts, String> {
    let facts = Facts { asked: Vec::new(), struck: clock::now(), lifted: None, stopped: Vec::new(), doomed: None };
    let mut play = Play { bench, cell, hold: Hold::None, gates: Vec::new(), facts };
    let result = play.through();
    play.lift();
    let stopped = play.facts.stopped.clone();
    match result {
        Ok(()) => Ok(play.facts),
        Err(why) => {
            stopped.iter().for_each(|pid| {
                signal(*pid, Signal::SIGCONT);
            });
            Err(why)
        }
    }
}

impl Play<'_> {
    fn through(&mut self) -> Result<(), String> {
        match self.cell.moment {
            Moment::Idle => {
                self.must(Check)?;
                self.stands_as_expected()?;
                self.strike(None)?;
                self.backup_from(Check);
            }
            Moment::Hold | Moment::LongHold => {
                self.must(Check)?;
                self.must(Freeze)?;
                self.stands_as_expected()?;
                self.strike(None)?;
                self.end_of_the_hold();
            }
            Moment::Within(way, step) | Moment::After(way, step) => {
                let (sent, at) = self.comes_to(way, step)?;
                let operation = self.facts.asked.last().map_or(Check, |asked| asked.operation);
                self.strike_in(step, at)?;
                self.hears(sent);
                match (way, operation) {
                    (Way::Check, _) if self.last_is_ok() => self.backup_from(Freeze),
                    (Way::Freeze | Way::Release, _) => self.end_of_the_hold(),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The host goes on with its backup from this request.
    fn backup_from(&mut self, operation: Operation) {
        if operation == Check && !self.asks(Check) {
            return;
        }
        self.asks(Freeze);
        self.end_of_the_hold();
    }

    /// Everything between FREEZE and THAW, THAW included. A host thaws also what it has heard failed.
    fn end_of_the_hold(&mut self) {
        if self.cell.moment == Moment::LongHold {
            // The host comes back when it has been let go of, or should have been.
            let released = self.facts.struck;
            comes_true(limit() + max_frozen() + SOON, || {
                self.bench.first_writes_after(released + COPY).iter().all(|(_, written)| written.is_some())
            });
        } else if self.last_is_ok() {
            std::thread::sleep(COPY);
        }
        if self.daemon_died() && self.cell.moment.way().is_none() {
            // What supervises it has started it anew before the host thaws.
            comes_true(SOON, || !self.bench.guest.daemon_is_there());
            self.bench.guest.daemon_starts();
        }
        self.asks(Thaw);
    }

    fn daemon_died(&self) -> bool {
        self.cell.subject == Subject::Daemon && matches!(self.cell.fault, Fault::Kill | Fault::Crash | Fault::Exit)
    }

    fn last_is_ok(&self) -> bool {
        self.facts.asked.last().is_some_and(Asked::is_ok)
    }

    fn sends(&mut self, operation: Operation) -> Sent {
        self.facts.asked.push(Asked { operation, sent: clock::now(), answered: None });
        self.bench.guest.host_sends(operation)
    }

    fn hears(&mut self, sent: Sent) -> bool {
        let answered = self.bench.guest.answer_within(sent, limit() + PATIENCE);
        if let Some(last) = self.facts.asked.last_mut() {
            last.answered = answered;
        }
        self.lift();
        self.last_is_ok()
    }

    fn asks(&mut self, operation: Operation) -> bool {
        let sent = self.sends(operation);
        self.hears(sent)
    }

    fn must(&mut self, operation: Operation) -> Result<(), String> {
        if self.asks(operation) { Ok(()) } else { Err(format!("the {operation:?} before it failed")) }
    }

    /// Goes up to the step and holds it there. What it gives is the request in work, and how often the step had begun before.
    fn comes_to(&mut self, way: Way, step: Step) -> Result<(Sent, usize), String> {
        match way {
            Way::Check => {}
            Way::Freeze | Way::Release => self.must(Check)?,
            Way::Thaw => {
                self.must(Check)?;
                self.must(Freeze)?;
                std::thread::sleep(COPY);
            }
        }
        let before = began_before(self.bench, step);
        let flushes = self.bench.record.count("flush", "-", Mark::Began);
        let mut earlier = None;
        if step == Step::LastFlush {
            // The flush beside the applications is the same program: it has to be over before the gate is closed.
            earlier = Some(Gate::close(self.bench.directory(), &format!("{}-freeze", HOOKS[1])));
        } else {
            self.hold = self.holds(step);
        }
        if way == Way::Release {
            self.bench.guest.goes_wrong(DISKS[0], Call::Suspend, KernelFault::Errno(nix::libc::EIO));
        }
        let sent = self.sends(match way {
            Way::Check => Check,
            Way::Freeze | Way::Release => Freeze,
            Way::Thaw => Thaw,
        });
        if let Some(mut earlier) = earlier {
            let record = &self.bench.record;
            let beside = comes_true(SOON, || {
                let began = record.count("flush", "-", Mark::Began);
                record.count(HOOKS[1], "freeze", Mark::Began) > 0
                    && began > flushes
                    && began == record.count("flush", "-", Mark::Ended)
            });
            if !beside {
                return Err("the flush beside the applications did not end".to_owned());
            }
            self.hold = self.holds(step);
            earlier.open_with("go");
            // The last flush is one more than the one beside.
            let before = flushes + 1;
            return self.is_reached(step, before).map(|()| (sent, before));
        }
        self.is_reached(step, before)?;
        if way == Way::Release {
            self.bench.guest.goes_right(DISKS[0], Call::Suspend);
        }
        Ok((sent, before))
    }

    fn holds(&self, step: Step) -> Hold {
        match gate_of(step) {
            Some(name) => Hold::Gate(Gate::close(self.bench.directory(), &name)),
            None => match kernel_call(step) {
                Some((disk, call)) => {
                    self.bench.guest.goes_wrong(disk, call, KernelFault::Hang);
                    Hold::Kernel(disk, call)
                }
                None => {
                    self.bench.state_disk(true);
                    Hold::StateDisk
                }
            },
        }
    }

    /// Waits until the step is at work, and the daemon says that it stands where it should.
    fn is_reached(&self, step: Step, before: usize) -> Result<(), String> {
        let reached = comes_true(SOON, || match (who(step), kernel_call(step)) {
            (Some((who, call)), _) => self.bench.record.count(&who, call, Mark::Began) > before,
            (None, Some((disk, call))) => {
                let fsid = self.bench.guest.stage().table_line(disk).fsid;
                self.bench.guest.host().state().is_ok_and(|state| state.hanging == Some((fsid, call)))
            }
            (None, None) => true,
        });
        if !reached {
            return Err(format!("the step {} was not reached", step.name()));
        }
        self.stands_as_expected()
    }

    fn stands_as_expected(&self) -> Result<(), String> {
        // At the boundary behind the last filesystem it will stand one further than it does within it.
        let expected = match self.cell.moment {
            Moment::After(way, step) => Moment::Within(way, step).point(),
            moment => moment.point(),
        };
        let (socket, mut last) = (self.bench.control(), None);
        let stands = comes_true(SOON, || {
            last = control::state(&socket);
            last.as_deref() == Some(expected.name())
        });
        if stands { Ok(()) } else { Err(format!("the daemon is {last:?}, not {}", expected.name())) }
    }

    /// Strikes while the step is held, or behind its end.
    fn strike_in(&mut self, step: Step, before: usize) -> Result<(), String> {
        let Moment::After(..) = self.cell.moment else {
            let order = self.order(step);
            self.strike(order)?;
            if self.kernel_keeps_hanging() {
                return Ok(());
            }
            match (&mut self.hold, order) {
                (Hold::Gate(gate), Some(order)) => gate.open_with(order),
                _ => self.lift(),
            }
            return Ok(());
        };
        let waiter = match step.waiter() {
            Some(Waiter::ExecHook) => self.host("exec_hook.so")?,
            Some(Waiter::Daemon) | None => self.bench.guest.daemon().pid(),
        };
        let worker = self.worker(step);
        stop(waiter)?;
        self.lift();
        let ended = comes_true(SOON, || self.has_ended(step, before, worker));
        if !ended {
            signal(waiter, Signal::SIGCONT);
            return Err(format!("the step {} did not end", step.name()));
        }
        self.strike(None)?;
        if !self.facts.stopped.contains(&waiter) {
            signal(waiter, Signal::SIGCONT);
        }
        Ok(())
    }

    /// The process that does a step; none for the daemon's own.
    fn worker(&self, step: Step) -> Option<i32> {
        match who(step) {
            Some((who, call)) => self.bench.record.who_began(&who, call),
            None => self.bench.guest.find_worker("ufs.so"),
        }
    }

    fn has_ended(&self, step: Step, before: usize, worker: Option<i32>) -> bool {
        let idle = worker.is_some_and(waits_in_poll);
        match (who(step), kernel_call(step)) {
            (Some((who, call)), _) => {
                let said = self.bench.record.count(&who, call, Mark::Ended) > before;
                let is_program = step.is_hooks() || step == Step::LastFlush;
                said && if is_program { worker.is_some_and(|pid| !is_alive(pid)) } else { idle }
            }
            (None, Some(_)) => idle && self.bench.guest.host().state().is_ok_and(|state| state.hanging.is_none()),
            (None, None) => true,
        }
    }

    /// Lets the step go on, if something holds it.
    fn lift(&mut self) {
        match std::mem::replace(&mut self.hold, Hold::None) {
            Hold::None => {}
            Hold::Gate(mut gate) => {
                gate.open_with("go");
                self.gates.push(gate);
            }
            Hold::Kernel(disk, call) => {
                self.bench.guest.goes_right(disk, call);
                self.facts.lifted = Some(clock::now());
            }
            Hold::StateDisk => self.bench.state_disk(false),
        }
    }

    fn host(&self, plugin: &str) -> Result<i32, String> {
        self.bench.guest.find_worker(plugin).ok_or_else(|| format!("no host serves {plugin}"))
    }
}
