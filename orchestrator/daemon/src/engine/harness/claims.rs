//! What must hold after every happening, judged from outside: from what driver, plugins and disk saw, and from what an operator is shown.

use hv_vss_platform::clock::Monotonic;
use hv_vss_wire::{Call, Role};

use super::Harness;
use super::stage::Stage;

impl Harness {
    /// Claims what must hold at any time:
    ///
    /// - Each request is answered exactly once, as it was asked, and by its time.
    /// - *Idle* means that nothing is held, nobody is at a freeze or a thaw, and no request waits.
    /// - Nothing is frozen for longer than `max_frozen`, and no freeze is in work after its time.
    /// - A plugin that has not answered by its time is killed.
    /// - A FREEZE is answered with success only when all that is mounted and writable is held, and by its time; a THAW only when all stayed
    ///   held until it was read, for no longer than `max_frozen`, and is released now.
    /// - While a filesystem is suspended no process is started and nothing is written.
    ///
    /// # Panics
    /// With the whole story, when one of these does not hold.
    #[track_caller]
    pub fn invariants(&mut self) {
        let status = self.status();
        let mut wrong = self.stage.borrow().wrong.clone();
        wrong.extend(self.stage.borrow().unanswered(self.has_ended()));
        match &status {
            Some(status) => {
                wrong.extend(self.stage.borrow().held_too_long(&status.state));
                if status.state == "idle" {
                    wrong.extend(self.stage.borrow().held_while_idle());
                    wrong.extend(status.held.iter().map(|held| format!("idle, and {} is {}", held.name, held.stands)));
                }
            }
            None => wrong.extend(self.stage.borrow().held_while_idle()),
        }
        if !wrong.is_empty() {
            let state = status.map_or("ended".to_owned(), |status| status.state);
            let calls: Vec<String> =
                self.calls().into_iter().map(|call| format!("{}: {}", call.plugin, call.what)).collect();
            panic!(
                "{}\nthe engine is {state}; the host heard {:?}; calls: {calls:#?}\nthe story: {:#?}",
                wrong.join("\n"),
                self.heard(),
                self.story
            );
        }
    }
}

impl Stage {
    fn unanswered(&self, ended: bool) -> Vec<String> {
        let now = self.now();
        let late = self.requests.iter().filter(|asked| !asked.answered && (ended || asked.latest <= now));
        late.map(|asked| format!("{:?}, read {:?} ago, is not answered", asked.operation, asked.read.until(now)))
            .collect()
    }

    fn held_while_idle(&self) -> Vec<String> {
        if self.lied {
            return Vec::new();
        }
        let mut wrong = Vec::new();
        for plugin in &self.plugins {
            let name = &plugin.part.name;
            if !plugin.suspended.is_empty() {
                wrong.push(format!("idle, and {name} has suspended {:?}", plugin.suspended));
            }
            if plugin.at_rest && !plugin.excused {
                wrong.push(format!("idle, and {name} is still at rest"));
            }
            // An application's thaw that is still owed is tried while idle.
            let busy = |call: &Call| matches!(call, Call::Freeze { .. } | Call::Thaw { role: Role::Filesystem, .. });
            if plugin.process.iter().flat_map(|process| &process.calls).any(|request| busy(&request.call)) {
                wrong.push(format!("idle, and {name} is still at a freeze, or at the thaw of a filesystem"));
            }
        }
        wrong
    }

    fn held_too_long(&self, state: &str) -> Vec<String> {
        let now = self.now();
        let mut wrong = Vec::new();
        let hold_ends = self.frozen_since.map(|since| since + self.limits.max_frozen);
        if state == "frozen" && hold_ends.is_some_and(|end| end <= now) && !self.rehearses() {
            wrong.push("frozen for longer than max_frozen".to_owned());
        }
        for plugin in &self.plugins {
            let Some(process) = &plugin.process else { continue };
            let overdue = |call: &Call, at: Monotonic| match call {
                // While freezing, the request's own time ends it.
                Call::Freeze { step, .. } => state != "frozen" && step.deadline + self.limits.thaw_answer_after <= at,
                Call::Thaw { step, .. } | Call::Check(step) | Call::Claim { step, .. } | Call::Ended { step, .. } => {
                    step.deadline <= at
                }
                Call::Open { .. } | Call::Close | Call::Cancel { .. } => false,
            };
            if let Some(request) = process.calls.front()
                && overdue(&request.call, now)
                && !process.player.is_killed()
            {
                wrong.push(format!(
                    "{} has not answered in time, and is not killed: {:?}",
                    plugin.part.name, request.call
                ));
            }
        }
        wrong
    }

    /// The freeze that holds was an operator's, and its hold ends when he said.
    fn rehearses(&self) -> bool {
        self.frozen_since.is_none()
    }
}
