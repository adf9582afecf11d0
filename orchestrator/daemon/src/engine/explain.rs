//! Sentences for an administrator: the state machine knows *that* a holder failed, the engine knows its name and what it said.

use std::collections::HashMap;

use super::roster::Roster;
use hv_vss_core::cycle::{Hold, HolderId, Run, Why, WorkerId};
use hv_vss_core::plan::Plan;

/// What sentences are made of.
pub(super) struct Words<'a> {
    pub(super) plan: &'a Plan,
    pub(super) roster: &'a Roster,
    /// What holders said when they failed.
    pub(super) sayings: &'a HashMap<HolderId, String>,
    /// What workers ended of.
    pub(super) deaths: &'a HashMap<WorkerId, String>,
    /// Why the survey found that a backup would not work.
    pub(super) refusals: &'a [String],
    /// What the comparison of the mount tables found.
    pub(super) changed: &'a str,
    /// What the look at mapped files found.
    pub(super) mapped: &'a str,
    /// Why the latest backup was lost.
    pub(super) lost: &'a str,
    pub(super) run: Option<&'a Run>,
}

impl Words<'_> {
    /// What a holder is called: a mount point, or a plugin.
    pub(super) fn holder(&self, id: HolderId) -> String {
        let apps = self.plan.apps.len();
        match (self.plan.apps.get(id.0), id.0.checked_sub(apps).and_then(|at| self.plan.filesystems.get(at))) {
            (Some(app), _) => self.roster.name(app.worker).to_owned(),
            (None, Some(filesystem)) => filesystem.mount.on.clone(),
            (None, None) => "?".to_owned(),
        }
    }

    pub(super) fn because(&self, why: Why) -> String {
        match why {
            Why::AsAsked => "done as asked".to_owned(),
            Why::NothingHeld => "nothing was frozen".to_owned(),
            Why::Refused => self.refusals.join("; "),
            Why::StepFailed(id) => {
                let said = self.sayings.get(&id).map_or("it failed without a reason", String::as_str);
                format!("{}: {said}", self.holder(id))
            }
            Why::WorkerDied(worker) => self.died(worker),
            Why::OutOfTime => format!("the time for an answer ran out while waiting for {}", self.unfinished()),
            Why::Mapped => self.mapped.to_owned(),
            Why::MountsChanged => self.changed.to_owned(),
            Why::ThawCame => "the host asked to thaw before the request was done".to_owned(),
            Why::Busy => "another request is in work, or its freeze is still held".to_owned(),
            Why::StillHeld => format!("not yet released: {}", self.still_held()),
            Why::Expired => "the host did not thaw in time, so everything was let go (max_frozen); this backup is not consistent".to_owned(),
            Why::Lost => self.lost.to_owned(),
            Why::LetGo(id) => format!("{} let go before the host asked for it; this backup is not consistent", self.holder(id)),
            Why::Operator => "an operator thawed; this backup is not consistent".to_owned(),
            Why::TooLate => "the answer came too late: the driver had told the host already that the request failed".to_owned(),
            Why::NeverAsked => {
                "this daemon has seen no freeze: an earlier one may have frozen and died, and then this backup is not consistent".to_owned()
            }
            Why::Stopping => "the daemon is being stopped".to_owned(),
            Why::Overruled => "a request of the host ended the rehearsal".to_owned(),
            Why::UnknownOperation(code) => format!("the host asked for operation {code}, which this daemon does not know"),
        }
    }

    fn died(&self, worker: WorkerId) -> String {
        let how = self.deaths.get(&worker).map_or("ended", String::as_str);
        format!("plugin {} {how} while it was needed", self.roster.name(worker))
    }

    /// The holders that are asked for something and have not answered.
    fn unfinished(&self) -> String {
        let busy = self.holders(|hold| matches!(hold, Hold::Freezing | Hold::Thawing(_)));
        if busy.is_empty() { "the plugins' checks or the flush".to_owned() } else { busy.join(", ") }
    }

    /// Everyone who has something to let go of yet.
    fn still_held(&self) -> String {
        self.holders(|hold| !matches!(hold, Hold::Untouched | Hold::Released)).join(", ")
    }

    fn holders(&self, which: impl Fn(Hold) -> bool) -> Vec<String> {
        let all = self.run.into_iter().flat_map(Run::each);
        all.filter(|(_, _, hold)| which(*hold)).map(|(id, ..)| self.holder(id)).collect()
    }
}
