//! Would a freeze work now? Asks every plugin for its check and its claims, and makes a plan of what they say, or the list of all reasons why not.

use hv_vss_platform::clock::Clock;
use hv_vss_platform::mounts::{self, Source};
use hv_vss_wire::{About, Answer, Call, Outcome, Step};

use super::mapped::{self, Look};
use crate::child::{Handle, Pending};
use hv_vss_core::config::UFS;
use hv_vss_core::cycle::WorkerId;
use hv_vss_core::deadline::Deadline;
use hv_vss_core::plan::{App, Exemption, Judged, Judging, Plan};

/// What a survey works with: a picture of the moment it began.
pub(super) struct Survey {
    pub(super) cycle: String,
    pub(super) deadline: Deadline,
    pub(super) source: Source,
    pub(super) exemptions: Vec<Exemption>,
    pub(super) plugins: Vec<Asked>,
    /// Reasons against it that were there before anyone was asked.
    pub(super) reasons: Vec<String>,
    /// Processes are looked at for mapped files.
    pub(super) looks: bool,
    /// UFS is held by vfsfreeze, whose resume loses nothing.
    pub(super) has_vfsfreeze: bool,
    pub(super) clock: Clock,
}

/// What a survey found.
#[derive(Debug)]
pub struct Findings {
    /// Every mount with its verdict.
    pub(super) judged: Vec<Judged>,
    pub(super) apps: Vec<App>,
    /// Why a backup would not work, each a sentence; none: it would.
    pub(super) reasons: Vec<String>,
    /// What would be frozen, in its order.
    pub(super) order: Vec<mounts::Mount>,
    /// The plan, if there is no reason against it.
    pub(super) plan: Option<Plan>,
    /// Whom this rests on: one that has died since would be missed only when its turn comes.
    pub(super) asked: Vec<Relied>,
    /// What is mapped on the filesystems that lose such stores.
    pub(super) look: Option<Look>,
}

/// A process that answered a survey.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relied {
    pub(super) worker: WorkerId,
    pub(super) pid: i32,
    /// Without it there is no backup.
    pub(super) required: bool,
}

/// A plugin that is asked.
pub(super) struct Asked {
    pub(super) worker: WorkerId,
    pub(super) name: String,
    pub(super) number: u8,
    pub(super) handle: Handle,
    pub(super) about: About,
    /// Its refusal is a reason against the backup.
    pub(super) required: bool,
}

impl Survey {
    /// Asks everyone.
    pub(super) async fn make(mut self) -> Findings {
        self.plugins.sort_by_key(|plugin| plugin.number);
        let checks: Vec<(usize, Pending)> = self
            .plugins
            .iter()
            .enumerate()
            .map(|(at, plugin)| (at, self.call(plugin, Call::Check(self.step()))))
            .collect();
        let mut reasons = std::mem::take(&mut self.reasons);

        let judged = match mounts::read(&self.source) {
            Ok(mounts) => self.claims(mounts, &mut reasons).await,
            Err(error) => {
                reasons
                    .push(format!("the mount table can't be read, so nobody knows what a backup would hold: {error}"));
                Vec::new()
            }
        };
        let mut apps = Vec::new();
        for (at, check) in checks {
            let plugin = &self.plugins[at];
            match plugin.verdict(check.answer().await) {
                Ok(_) if plugin.about.application => apps.push(App { worker: plugin.worker, number: plugin.number }),
                Ok(_) => {}
                Err(reason) if plugin.required || plugin.about.filesystem => reasons.push(reason),
                Err(reason) => tracing::warn!("{reason}; the backup goes on without it, since it is not required"),
            }
        }
        let survives_exit =
            |worker| self.plugins.iter().any(|plugin| plugin.worker == worker && plugin.about.holds_survive_exit);
        let order = hv_vss_core::plan::freeze_order(&judged);
        let plan = match Plan::make(apps.clone(), judged.clone(), survives_exit) {
            Ok(mut plan) => {
                plan.note_dropping(|worker| self.drops_mapped(worker));
                Some(plan).filter(|_| reasons.is_empty())
            }
            Err(vetoes) => {
                reasons.extend(vetoes);
                None
            }
        };
        let relied = |plugin: &Asked| Relied {
            worker: plugin.worker,
            pid: plugin.handle.pid,
            required: plugin.required || plugin.about.filesystem,
        };
        let asked = self.plugins.iter().map(relied).collect();
        let dropping = mapped::dropping(&judged, |worker| self.drops_mapped(worker));
        let look = match self.looks && !dropping.is_empty() {
            true => Some(mapped::look_in_a_survey(&self.clock, dropping).await),
            false => None,
        };
        Findings { judged, apps, reasons: bounded(reasons), order, plan, asked, look }
    }

    /// Does this worker's resume throw away what was stored to shared mappings?
    fn drops_mapped(&self, worker: WorkerId) -> bool {
        !self.has_vfsfreeze && self.plugins.iter().any(|plugin| plugin.worker == worker && plugin.name == UFS)
    }

    async fn claims(&self, mounts: Vec<mounts::Mount>, reasons: &mut Vec<String>) -> Vec<Judged> {
        let mut judging = Judging::begin(mounts, &self.exemptions);
        for plugin in self.plugins.iter().filter(|plugin| plugin.about.filesystem) {
            let mounts = judging.undecided();
            if mounts.is_empty() {
                break;
            }
            let answer = self.call(plugin, Call::Claim { step: self.step(), mounts }).answer().await;
            let said = plugin.verdict(answer).and_then(|claims| judging.said(plugin.worker, &plugin.name, claims));
            reasons.extend(said.err());
        }
        judging.end()
    }

    fn call(&self, plugin: &Asked, call: Call) -> Pending {
        plugin.handle.call(call, Some(self.deadline.0))
    }

    fn step(&self) -> Step {
        Step { cycle: self.cycle.clone(), outcome: Outcome::Ok, deadline: self.deadline.0, mounts: Vec::new() }
    }
}

/// So many reasons are told one by one. A machine can have a thousand mounts of one kind, and each reason is a sentence in the log, in the history
/// and in every answer; `vssctl check` shows the verdict on every mount.
const MOST_REASONS: usize = 20;

fn bounded(mut reasons: Vec<String>) -> Vec<String> {
    if reasons.len() > MOST_REASONS {
        let more = reasons.len() - MOST_REASONS;
        reasons.truncate(MOST_REASONS);
        reasons.push(format!("and {more} more reasons; `vssctl check` shows all mounts"));
    }
    reasons
}

impl Asked {
    fn verdict(&self, answer: Option<Answer>) -> Result<Vec<hv_vss_wire::Claim>, String> {
        let name = &self.name;
        match answer {
            Some(Answer::Done { claims, .. }) => Ok(claims),
            Some(Answer::Refused { reason }) => Err(format!("{name}: {reason}")),
            Some(Answer::Broken { reason }) => Err(format!("plugin {name} is broken: {reason}")),
            None => Err(format!("plugin {name} died while it was asked whether a backup would work")),
        }
    }
}
