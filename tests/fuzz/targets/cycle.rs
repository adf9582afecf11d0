//! Any plan and any order of events against the state machine: after each, its invariants hold against a model of the world; and from wherever
//! it got to, timers, answers and deaths alone bring it back to rest.
//!
//! The exhaustive walk (orchestrator/core/src/cycle/tests/closure.rs) does this for a few small plans, to their end. This one goes deep instead: large
//! plans, long histories, and events that are late or were never asked for.
#![no_main]

use hv_vss_core::cycle::world::{World, possible};
use hv_vss_core::cycle::{Action, Cycle, Holder, HolderId, Input, Kind, RequestId, Shape, StepEnd, WorkerId};
use hv_vss_device::{Operation, Verdict};
use hv_vss_fuzz::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::new(data);
    let Ok(plan) = plan(&mut bytes) else { return };
    let mut story = Story { plan, cycle: Cycle::default(), world: World::default(), requests: 0, frozen: RequestId(0) };
    while !bytes.is_empty() && !story.world.exited {
        let Ok(number) = bytes.arbitrary::<u8>() else { break };
        if number < 0xf0 {
            let input = story.likely(number);
            story.happens(&input);
        } else if let Some(stray) = story.stray(&mut bytes) {
            story.means_nothing(&stray);
        }
    }
    story.finds_rest();
});

struct Story {
    plan: Shape,
    cycle: Cycle,
    world: World,
    requests: u64,
    /// The FREEZE that was answered with success.
    frozen: RequestId,
}

/// Applications in the order of their numbers, then filesystems: as a plan always is.
fn plan(bytes: &mut Bytes<'_>) -> arbitrary::Result<Shape> {
    let mut numbers = Vec::new();
    for _ in 0..bytes.int_in_range(0..=4)? {
        numbers.push(bytes.int_in_range(0..=3)?);
    }
    numbers.sort_unstable();
    let mut holders = Vec::new();
    for (at, number) in numbers.into_iter().enumerate() {
        holders.push(Holder { worker: WorkerId(at), kind: Kind::App { number } });
    }
    for _ in 0..bytes.int_in_range(1..=5)? {
        let worker = bytes.int_in_range(0..=5)?;
        // That its suspensions outlive it is a property of a plugin: all of a process's do, or none.
        holders.push(Holder { worker: WorkerId(worker), kind: Kind::Filesystem { survives_exit: worker == 5 } });
    }
    Ok(Shape(holders))
}

impl Story {
    /// Something that can happen now.
    fn likely(&self, number: u8) -> Input {
        let all = possible(&self.world, &self.plan, RequestId(self.requests), self.frozen);
        all[usize::from(number) % all.len()].clone()
    }

    /// Something that comes too late, twice, or from nowhere.
    fn stray(&self, bytes: &mut Bytes<'_>) -> Option<Input> {
        let mut or_zero = |most: usize| bytes.int_in_range(0..=most).unwrap_or(0);
        let holder = HolderId(or_zero(12));
        let ends = [StepEnd::Done { held: true }, StepEnd::Done { held: false }, StepEnd::Failed];
        let input = match or_zero(4) {
            0 => Input::Froze(holder, ends[or_zero(2)]),
            1 => Input::Thawed(holder, ends[or_zero(2)]),
            2 => Input::WorkerReady(WorkerId(or_zero(9))),
            3 => Input::AnswerLate(RequestId(or_zero(20) as u64), Operation::Freeze),
            _ => Input::WorkerLost(WorkerId(or_zero(9))),
        };
        // What the world has asked for is no stray.
        let expected = possible(&self.world, &self.plan, RequestId(self.requests), self.frozen);
        let same_call = |known: &Input| match (known, &input) {
            (Input::Froze(one, _), Input::Froze(other, _)) | (Input::Thawed(one, _), Input::Thawed(other, _)) => {
                one == other
            }
            (Input::WorkerReady(one), Input::WorkerLost(other)) => one == other,
            (known, input) => known == input,
        };
        (!expected.iter().any(same_call)).then_some(input)
    }

    fn happens(&mut self, input: &Input) {
        if matches!(input, Input::Host(..)) {
            self.requests += 1;
        }
        self.world.notice(input, &self.plan);
        let actions = self.cycle.handle(input.clone());
        self.perform(&actions);
    }

    fn means_nothing(&mut self, stray: &Input) {
        let before = self.cycle.clone();
        let actions = self.cycle.handle(stray.clone());
        assert!(actions.is_empty() && self.cycle == before, "{stray:?} means nothing now, and yet: {actions:?}");
    }

    fn perform(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Answer(request, Verdict::Success, _) = action {
                self.frozen = *request;
            }
            self.world.perform(action, &self.plan);
        }
        self.world.check_invariants(&self.cycle);
        self.world.forget_what_the_engine_drops(&self.cycle);
    }

    /// Nobody asks for anything any more: what is under way ends, what does not is killed, timers fire.
    fn finds_rest(&mut self) {
        for _ in 0..2_000 {
            if self.cycle.is_idle() || self.world.exited {
                return;
            }
            let all = possible(&self.world, &self.plan, RequestId(self.requests), self.frozen);
            let helps = |input: &&Input| match input {
                Input::Thawed(_, StepEnd::Done { .. })
                | Input::Froze(_, StepEnd::Done { .. })
                | Input::WorkerReady(_) => true,
                // That the table has changed may be said at any time, and leads nowhere when nobody has asked.
                Input::Surveyed(None) | Input::Noted | Input::Flushed | Input::Scanned { .. } | Input::ScannedAgain => {
                    true
                }
                Input::Looked { .. } | Input::Silent | Input::GoOn => true,
                Input::TimeUp(_) => true,
                Input::Compared { same } => *same,
                _ => false,
            };
            // What was killed dies, sooner or later.
            let dies = |input: &&Input| matches!(input, Input::WorkerGone(worker) if self.world.is_dying(*worker));
            let next = all.iter().find(helps).or_else(|| all.iter().find(dies));
            let next = next.unwrap_or_else(|| panic!("nothing leads on from {:#?}", self.cycle)).clone();
            self.happens(&next);
        }
        panic!("no rest from {:#?}", self.cycle);
    }
}
