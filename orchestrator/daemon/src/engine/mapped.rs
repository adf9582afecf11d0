//! The looks at what processes have mapped: in a CHECK, before the first suspend, and before the release.
//!
//! A look runs in a thread of its own. The kernel takes locks for it that a process may hold, so the engine waits for a while and no longer.
//! What follows from a look is decided in the core.

use std::sync::mpsc;
use std::time::Duration;

use hv_vss_core::cycle::{Input, WorkerId};
use hv_vss_core::mapped::{Accept, Judgement, When, judge};
use hv_vss_core::plan::{Judged, Verdict};
use hv_vss_core::record::{Consequence, What};
use hv_vss_platform::clock::Clock;
use hv_vss_platform::mapped::{self, Filesystems};
use hv_vss_platform::mounts::Mount;
use hv_vss_types::{MappedScan, Monotonic};
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
    /// Why nothing was seen, as a sentence.
    failure: Option<String>,
    /// The thread that looked, for the next look: none is started while something is suspended.
    looker: Option<Looker>,
}

/// A thread that looks when it is asked, and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Looker(mpsc::Sender<Wish>);

/// Look, and be done at this instant.
type Wish = (Monotonic, oneshot::Sender<Result<MappedScan, String>>);

impl Looker {
    /// Starts one for these mounts. Its first look touches their mount points, later ones touch none.
    fn start(mounts: Vec<Mount>) -> Result<Self, String> {
        let (ask, asked) = mpsc::channel::<Wish>();
        let looks = move || {
            let mut filesystems = None;
            while let Ok((latest, answer)) = asked.recv() {
                let filesystems = filesystems.get_or_insert_with(|| Filesystems::of(&mounts));
                let scan = mapped::scan(filesystems, latest).map_err(|error| error.to_string());
                // An answer that comes too late is not waited for.
                let _ = answer.send(scan);
            }
        };
        let thread = std::thread::Builder::new().name("mapped".to_owned()).spawn(looks);
        thread.map(|_| Self(ask)).map_err(|error| format!("can't start a thread: {error}"))
    }

    async fn look(&self, clock: &Clock, limit: Duration) -> Result<MappedScan, String> {
        let (sender, receiver) = oneshot::channel();
        let late = || Ok(MappedScan { took: limit, ..MappedScan::default() });
        if self.0.send((hv_vss_platform::clock::now() + limit, sender)).is_err() {
            return late();
        }
        tokio::select! {
            biased;
            looked = receiver => looked.unwrap_or_else(|_| late()),
            () = sleep::until(clock, clock.now() + limit + GRACE) => late(),
        }
    }
}

/// Looks for mappings on `mounts`, with the thread of an earlier look if there is one.
async fn look(clock: &Clock, mounts: Vec<Mount>, looker: Option<Looker>, limit: Duration) -> Look {
    let looker = match looker {
        Some(looker) => Ok(looker),
        None => Looker::start(mounts.clone()),
    };
    let seen = match &looker {
        Ok(looker) => looker.look(clock, limit).await,
        Err(why) => Err(why.clone()),
    };
    let (scan, failure) = match seen {
        Ok(scan) => (scan, None),
        Err(why) => {
            let why = format!("can't look what processes have mapped: {why}");
            tracing::warn!("{why}");
            (MappedScan { took: limit, ..MappedScan::default() }, Some(why))
        }
    };
    Look { mounts, scan, failure, looker: looker.ok() }
}

impl Look {
    /// The reasons against going on; of a look that failed, why it did.
    fn against(&self, judged: Vec<String>) -> Vec<String> {
        match &self.failure {
            Some(failure) if !judged.is_empty() => vec![failure.clone()],
            _ => judged,
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
        self.current.mapped = look.against(judgement.against).join("; ");
        self.scan_step_ended(Some(self.current.mapped.clone()).filter(|against| !against.is_empty()));
        judgement.remarks.into_iter().for_each(|remark| self.remark(remark));
        self.current.looked_at = look.looker.map(|looker| (look.mounts, looker));
        self.input(Input::Scanned { clear: self.current.mapped.is_empty() });
    }

    /// Before the release. What was mapped meanwhile can't be saved any more, but it can be told.
    pub(super) fn scan_again(&mut self) {
        let known = self.current.looked_at.take().filter(|_| self.config.mapped.accept != Accept::Everything);
        let Some((mounts, looker)) = known else {
            self.inputs.push_back(Input::ScannedAgain);
            return;
        };
        let now = self.clock.now();
        self.current.scan = self.current.recorder.as_mut().map(|recorder| recorder.step(What::Scan, MAPPED, now));
        let (sender, serial, clock) = (self.sender.clone(), self.serial, self.clock.clone());
        tokio::task::spawn_local(async move {
            let look = look(&clock, mounts, Some(looker), IN_THE_HOLD).await;
            let _ = sender.send(Event::ScannedAgain(serial, Box::new(look)));
        });
    }

    pub(super) fn scanned_again(&mut self, look: Look) {
        let judgement = judge(&look.scan, &look.mounts, &self.config.mapped, When::Thaw);
        self.scan_step_ended(None);
        judgement.remarks.into_iter().for_each(|remark| self.remark(remark));
        for sentence in judgement.against {
            self.went_wrong(Consequence::StoresLost, MAPPED, sentence);
        }
        // Its thread ends with the record of this cycle, and not in the hold.
        self.current.looked_at = look.looker.map(|looker| (look.mounts, looker));
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
        let against = look.against(against);
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
