//! The looks at what processes have mapped: in a CHECK, before the first suspend, and before the release.
//!
//! A look runs in a thread of its own. The kernel takes locks for it that a process may hold, so the engine waits for a while and no longer.
//! What follows from a look is decided in the core.

use std::time::Duration;

use hv_vss_core::cycle::{Input, WorkerId};
use hv_vss_core::mapped::{Accept, Judgement, When, judge};
use hv_vss_core::plan::{Judged, Verdict};
use hv_vss_core::record::{Consequence, What};
use hv_vss_platform::clock::Clock;
use hv_vss_platform::mapped::{self, Filesystems};
use hv_vss_platform::mounts::Mount;
use hv_vss_types::MappedScan;
use tokio::sync::oneshot;

use super::survey::Findings;
use super::{Engine, Event};
use crate::child::Programs;
use crate::sleep;

/// A look before anything is suspended takes no longer.
const BEFORE: Duration = Duration::from_secs(2);
/// A look in the hold: everything stands still meanwhile.
const IN_THE_HOLD: Duration = Duration::from_millis(250);
/// The thread is given this much more than the look itself.
const GRACE: Duration = Duration::from_millis(50);

/// A look at the mappings on these mounts.
#[derive(Debug, Default)]
pub struct Look {
    pub(super) mounts: Vec<Mount>,
    pub(super) scan: MappedScan,
    /// For the next look: made while nothing was suspended.
    filesystems: Filesystems,
}

/// Looks for mappings on `mounts`. With `known` filesystems no mount point is touched.
pub(super) async fn look(clock: &Clock, mounts: Vec<Mount>, known: Option<Filesystems>, limit: Duration) -> Look {
    let (sender, receiver) = oneshot::channel();
    let of = mounts.clone();
    let latest = hv_vss_platform::clock::now() + limit;
    let thread = std::thread::Builder::new().name("mapped".to_owned()).spawn(move || {
        let filesystems = known.unwrap_or_else(|| Filesystems::of(&of));
        let scan = mapped::scan(&filesystems, latest);
        // Nobody waits for it any more when it comes too late.
        let _ = sender.send((filesystems, scan));
    });
    let in_time = async {
        tokio::select! {
            biased;
            looked = receiver => looked.ok(),
            () = sleep::until(clock, clock.now() + limit + GRACE) => None,
        }
    };
    match (thread, in_time.await) {
        (Ok(_), Some((filesystems, Ok(scan)))) => Look { mounts, scan, filesystems },
        (_, other) => {
            if let Some((_, Err(error))) = other {
                tracing::warn!("{error}");
            }
            Look { mounts, scan: MappedScan { took: limit, ..MappedScan::default() }, ..Look::default() }
        }
    }
}

/// The mounts of these that a worker with this property freezes, each filesystem once.
pub(super) fn dropping(judged: &[Judged], drops_mapped: impl Fn(WorkerId) -> bool) -> Vec<Mount> {
    let freezes = |one: &&Judged| matches!(one.verdict, Verdict::Freeze(worker) if drops_mapped(worker));
    judged.iter().filter(freezes).map(|one| one.mount.clone()).collect()
}

/// A look in a survey, where nothing is suspended.
pub(super) async fn look_in_a_survey(clock: &Clock, mounts: Vec<Mount>) -> Look {
    look(clock, mounts, None, BEFORE).await
}

impl Engine {
    /// Before the first suspend. With nothing to lose there is nothing to look for.
    pub(super) fn scan(&mut self) {
        let mounts = self.current.plan.dropping_mounts();
        if mounts.is_empty() || matches!(self.programs, Programs::Played(_)) {
            self.inputs.push_back(Input::Scanned { clear: true });
            return;
        }
        let now = self.clock.now();
        self.current.scan = self.current.recorder.as_mut().map(|recorder| recorder.step(What::Scan, MAPPED, now));
        let (sender, serial, clock) = (self.sender.clone(), self.serial, self.clock.clone());
        tokio::task::spawn_local(async move {
            let look = look(&clock, mounts, None, BEFORE).await;
            let _ = sender.send(Event::Scanned(serial, Box::new(look)));
        });
    }

    pub(super) fn scanned(&mut self, look: Look) {
        let judgement = judge(&look.scan, &look.mounts, &self.config.mapped, When::Freeze);
        self.scan_step_ended((!judgement.against.is_empty()).then(|| judgement.against.join("; ")));
        judgement.remarks.into_iter().for_each(|remark| self.remark(remark));
        self.current.mapped = judgement.against.join("; ");
        self.current.looked_at = Some((look.mounts, look.filesystems));
        self.input(Input::Scanned { clear: self.current.mapped.is_empty() });
    }

    /// Before the release. What was mapped meanwhile can't be saved any more, but it can be told.
    pub(super) fn scan_again(&mut self) {
        let known = self.current.looked_at.take().filter(|_| self.config.mapped.accept != Accept::Everything);
        let Some((mounts, filesystems)) = known else {
            self.inputs.push_back(Input::ScannedAgain);
            return;
        };
        let now = self.clock.now();
        self.current.scan = self.current.recorder.as_mut().map(|recorder| recorder.step(What::Scan, MAPPED, now));
        let (sender, serial, clock) = (self.sender.clone(), self.serial, self.clock.clone());
        tokio::task::spawn_local(async move {
            let look = look(&clock, mounts, Some(filesystems), IN_THE_HOLD).await;
            let _ = sender.send(Event::ScannedAgain(serial, Box::new(look)));
        });
    }

    pub(super) fn scanned_again(&mut self, look: &Look) {
        let judgement = judge(&look.scan, &look.mounts, &self.config.mapped, When::Thaw);
        self.scan_step_ended(None);
        judgement.remarks.into_iter().for_each(|remark| self.remark(remark));
        for sentence in judgement.against {
            self.went_wrong(Consequence::StoresLost, MAPPED, sentence);
        }
        self.input(Input::ScannedAgain);
    }

    fn scan_step_ended(&mut self, failure: Option<String>) {
        if let (Some(recorder), Some(mark)) = (&mut self.current.recorder, self.current.scan.take()) {
            recorder.ended(mark, self.clock.now(), failure);
        }
    }

    /// A CHECK, or an operator's question: what is mapped is a reason against the backup, unless a script is to see to it.
    pub(super) fn judge_mapped(&mut self, findings: &mut Findings) {
        let Some(look) = findings.look.take() else { return };
        let scripts: Vec<String> = self.roster.each().flat_map(|(_, plugin)| plugin.planned.clone()).collect();
        let Judgement { against, remarks } =
            judge(&look.scan, &look.mounts, &self.config.mapped, When::Check(&scripts));
        if self.outlook.is_none() {
            remarks.into_iter().for_each(|remark| self.remark(remark));
        }
        if !against.is_empty() {
            findings.plan = None;
            findings.reasons.extend(against);
        }
    }
}

/// What the record calls it.
const MAPPED: &str = "mapped files";
