//! What a record says beyond its steps: what went wrong on the way out, what qualifies a result, and requests that were out of
//! place.
//!
//! None of it changes what the host is answered. It is what keeps a good answer from looking like a backup without trouble.

use std::collections::BTreeMap;

use hv_vss_core::cycle::{HolderId, Why};
use hv_vss_core::record::{Consequence, CycleResult, Kind, Recorder, What};
use hv_vss_device::Operation;
use hv_vss_wire::{Outcome, Role};

use super::Engine;
use super::perform::operation_name;
use super::roster::Plugin;

impl Engine {
    /// A thaw call of a holder has been answered.
    pub(super) fn thaw_answered(&mut self, holder: HolderId, role: Role, held: bool) {
        self.current.unthawed.remove(&holder);
        // Of a filesystem the result says so.
        if !held && role == Role::Application {
            let name = self.words().holder(holder);
            let sentence = format!("{name} was not at rest for the whole hold");
            self.went_wrong(Consequence::Lost, &name, sentence);
        }
    }

    /// An application's thaw was begun and came to no end.
    pub(super) fn thaw_unanswered(&mut self, holder: HolderId, why: &str) {
        self.current.unthawed.insert(holder, why.to_owned());
    }

    /// An application's thaw has run, and failed. Where its scripts were reported one by one, they are named and not the plugin.
    pub(super) fn thaw_failed(&mut self, holder: HolderId, reason: &str) {
        self.current.unthawed.remove(&holder);
        let name = self.words().holder(holder);
        let script_failed = |recorder: &Recorder| {
            let failed =
                |step: &&hv_vss_core::record::StepRecord| step.what == What::ThawScript && step.failure.is_some();
            recorder.so_far().steps.iter().any(|step| failed(&step) && reason.contains(&step.name))
        };
        if !self.current.recorder.as_ref().is_some_and(script_failed) {
            self.went_wrong(Consequence::ThawFailed, &name, format!("{name}'s thaw failed: {reason}"));
        }
    }

    /// A script's thaw has run, and failed.
    pub(super) fn thaw_script_failed(&mut self, script: &str, reason: &str) {
        let sentence = match reason.starts_with(script) {
            true => reason.to_owned(),
            false => format!("{script}'s thaw failed: {reason}"),
        };
        self.went_wrong(Consequence::ThawFailed, script, sentence);
    }

    /// The cycle is over. What has not been thawed by now is named, and stays owed.
    pub(super) fn name_the_unthawed(&mut self, outcome: Outcome) {
        let mut debts: BTreeMap<String, (Vec<String>, String)> = BTreeMap::new();
        for (holder, why) in std::mem::take(&mut self.current.unthawed) {
            let name = self.words().holder(holder);
            self.went_wrong(Consequence::NotThawed, &name, format!("{name} was not thawed: {why}"));
            if let Some((worker, ..)) = self.part_of(holder) {
                debts.insert(self.roster.name(worker).to_owned(), (Vec::new(), why));
            }
        }
        let owed: Vec<(String, Vec<String>)> = self
            .roster
            .each_mut()
            .filter(|(_, plugin)| !plugin.owed.is_empty())
            .map(|(_, plugin)| (plugin.name.clone(), std::mem::take(&mut plugin.owed)))
            .collect();
        for (plugin, scripts) in owed {
            tracing::error!("plugin {plugin} did not thaw {}", scripts.join(", "));
            for script in &scripts {
                let sentence = format!("{script} was not thawed: plugin {plugin} was not able to run its thaw");
                self.went_wrong(Consequence::NotThawed, script, sentence);
            }
            let why = "its thaw could not be run".to_owned();
            debts.entry(plugin).or_insert((Vec::new(), why)).0 = scripts;
        }
        for (plugin, (scripts, why)) in debts {
            self.owe(&plugin, scripts, &why, outcome);
        }
    }

    pub(super) fn went_wrong(&mut self, what: Consequence, who: &str, sentence: String) {
        let now = self.clock.now();
        if let Some(recorder) = &mut self.current.recorder {
            recorder.aftermath(what, who, sentence, now);
        }
    }

    pub(super) fn remark(&mut self, sentence: String) {
        if let Some(recorder) = &mut self.current.recorder {
            recorder.remark(sentence);
        }
    }

    /// A FREEZE was answered success: what the answer does not say.
    pub(super) fn remark_on_the_plan(&mut self) {
        let plan = &self.current.plan;
        match (plan.filesystems.is_empty(), plan.apps.is_empty()) {
            (false, _) => {}
            (true, false) => self.remark("no filesystem was frozen".to_owned()),
            (true, true) => {
                self.remark("nothing was at rest: no filesystem was frozen, no application was asked".to_owned())
            }
        }
        let absent = |plugin: &Plugin| !plugin.observes() && !plugin.required() && plugin.ready().is_none();
        let absent: Vec<String> =
            self.roster.each().filter(|(_, plugin)| absent(plugin)).map(|(_, plugin)| plugin.name.clone()).collect();
        for name in absent {
            self.remark(format!("plugin {name} took no part: it does not run, and is not required"));
        }
    }

    /// A request was answered FAIL since it was out of place. It gets a line of its own in the history.
    pub(super) fn out_of_place(&mut self, operation: Operation, why: Why, read: hv_vss_types::Monotonic) {
        let name = operation_name(operation);
        let sentence = match (why, &self.current.recorder) {
            (Why::Busy, Some(_)) => format!("{name} refused: cycle {} is {}", self.current.id, self.cycle.stage_name()),
            _ => format!("{name} refused: {}", self.words().because(why)),
        };
        let began_ms = self.clock.wall_ns() / 1_000_000;
        let now = self.clock.now();
        let mut recorder = Recorder::begin(self.new_cycle_id(began_ms), Kind::OutOfPlace, began_ms, read, now);
        let mark = recorder.step(What::Answer, name, now);
        recorder.ended(mark, now, Some(sentence.clone()));
        recorder.answered(name, hv_vss_core::record::Told::Fail);
        recorder.concluded(CycleResult::Refused, &sentence);
        let record = recorder.finish();
        self.tally.count(&record);
        self.keep(record);
    }
}
