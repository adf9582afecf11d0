//! What happens to the engine, one event at a time: told apart, what belongs to an earlier cycle or process dropped, the rest turned into inputs.

use hv_vss_device::{Message, Operation};
use hv_vss_wire::{Level, Phase, Progress};

use super::{Engine, Event, FIRST_PAUSE, MOST_RESTARTS, Obligation, Open, Order, Read, Survey, roster, survey};
use crate::child::Said;
use crate::sleep;
use hv_vss_core::control::Reply;
use hv_vss_core::cycle::{Input, RequestId, Run, State, WorkerId};
use hv_vss_core::plan::{Plan, Verdict};
use hv_vss_core::record::What;

impl Engine {
    pub(super) fn happened(&mut self, event: Event) {
        match event {
            Event::Device(hv_vss_device::Event::Request(message), read) => self.asked(message, read),
            Event::Device(hv_vss_device::Event::Gone(why), _) => {
                tracing::error!("{why}");
                self.input(Input::Stop);
            }
            Event::Plugin(worker, generation, said) => self.plugin_said(worker, generation, said),
            Event::Opened(worker, generation, answer) => {
                if self.roster.current(worker, generation).is_some() {
                    self.roster.opened(worker, answer);
                    if self.roster.get(worker).is_some_and(|plugin| plugin.observes() && plugin.ready().is_some()) {
                        self.observer_ready(worker);
                    }
                    self.plugin_settled(worker);
                }
            }
            Event::LoadingOverdue(worker, generation) => {
                if self.roster.current(worker, generation).is_some() {
                    self.roster.loading_overdue(worker);
                }
            }
            Event::Surveyed(serial, findings) if serial == self.serial => self.surveyed(*findings),
            Event::Noted(serial) if serial == self.serial => self.input(Input::Noted),
            Event::Flushed(serial) if serial == self.serial => {
                if let (Some(recorder), Some(mark)) = (&mut self.current.recorder, self.current.flush.take()) {
                    recorder.ended(mark, self.clock.now(), None);
                }
                self.input(Input::Flushed);
            }
            Event::Scanned(serial, look) if serial == self.serial => self.scanned(*look),
            Event::ScannedAgain(serial, look) if serial == self.serial => self.scanned_again(*look),
            Event::Surveyed(..) | Event::Flushed(_) | Event::Noted(_) => {}
            Event::Scanned(..) | Event::ScannedAgain(..) => {}
            Event::Control(question, answer) => self.asked_by_operator(question, answer),
            Event::LookAfterDebts => self.look_after_debts(),
            Event::DebtAnswered(worker, answer) => self.debt_answered(worker, answer),
            Event::Observed(worker, generation, answer) => self.observed(worker, generation, answer),
            Event::StepEnded(step, answer) => self.step_ended(step, answer),
            Event::Overdue(step) => {
                if let Some(holder) = self.steps.holder_of(step) {
                    let name = self.words().holder(holder);
                    self.current.sayings.insert(holder, "it did not answer within its time".to_owned());
                    tracing::error!(
                        "cycle {}: {name} did not answer within its time; its plugin's process is killed",
                        self.current.id
                    );
                    self.input(Input::Overdue(holder));
                }
            }
            Event::Restart(worker, generation) => {
                let wanted = self
                    .roster
                    .current(worker, generation)
                    .is_some_and(|plugin| matches!(plugin.state, roster::State::Absent(_)));
                if wanted && self.roster.get(worker).is_some_and(roster::Plugin::observes) {
                    self.roster.want_started(worker);
                } else if wanted && !self.filesystem_held() {
                    self.roster.start(worker);
                }
            }
            Event::Operator(order) => self.ordered(order),
        }
    }

    pub(super) fn ordered(&mut self, order: Order) {
        match order {
            Order::Thaw => {
                tracing::warn!("an operator wants everything let go ({})", self.cycle.stage_name());
                self.input(Input::OperatorThaw);
            }
            Order::Stop => {
                tracing::info!("told to stop ({})", self.cycle.stage_name());
                self.input(Input::Stop);
            }
            Order::Reload => match self.reload() {
                Reply::Refused { reason } => tracing::error!("{reason}; the configuration stays as it was"),
                _ => tracing::info!("the configuration was read again"),
            },
        }
    }

    /// Takes a request of the host, with what is left of its time.
    fn asked(&mut self, message: Message, read: Read) {
        let operation = message.asks_for();
        let left = hv_vss_device::budget(message.msgid, read.wall_ns, self.limits.of(operation));
        let budget = self.limits.budget(read.at, left);
        let request = RequestId(self.next_request);
        self.next_request += 1;
        tracing::debug!("the host asks: {operation:?}, with {} ms left", left.as_millis());
        if operation == Operation::Thaw {
            self.thaw = Some(budget);
        }
        self.requests.insert(request, Open { reply: Obligation::owed(self.port.clone(), message), operation, budget });
        self.input(Input::Host(request, operation));
    }

    fn plugin_said(&mut self, worker: WorkerId, generation: u64, said: Said) {
        if self.roster.current(worker, generation).is_none() {
            return;
        }
        let name = self.roster.name(worker).to_owned();
        match said {
            Said::Loaded(about) => {
                let observes = about.observer;
                self.roster.loaded(worker, about);
                if observes {
                    // Whoever waited for it because it might have been another kind of plugin waits no longer.
                    self.plugin_settled(worker);
                }
            }
            Said::Unfit(reason) => {
                tracing::error!("plugin {name} can't be used: {reason}");
                if let Some(plugin) = self.roster.get_mut(worker) {
                    plugin.state = roster::State::Absent(format!("can't be used: {reason}"));
                    plugin.generation += 1;
                }
                self.plugin_settled(worker);
            }
            Said::Log(level, text) => match level {
                Level::Debug => tracing::debug!("{name}: {text}"),
                Level::Info => tracing::info!("{name}: {text}"),
                Level::Warn => tracing::warn!("{name}: {text}"),
                Level::Error => tracing::error!("{name}: {text}"),
            },
            Said::Substep(script, phase, progress) => self.substep(worker, script, phase, progress),
            Said::Process { script, phase, pid, mark } => self.families.began(worker, script, phase, pid, mark),
            Said::LetGo => tracing::error!("plugin {name} let go of all it held by itself, since its time had expired"),
            Said::Unheard => self.unheard(worker),
            Said::Gone(how) if self.roster.get(worker).is_some_and(roster::Plugin::observes) => {
                self.observer_gone(worker, how);
                self.plugin_settled(worker);
            }
            Said::Gone(how) => {
                let quiet = !self.cycle.run().is_some_and(Run::anything_held);
                tracing::error!("plugin {name} {how}");
                self.families.end_those_of(worker, &name);
                self.current.deaths.insert(worker, how.clone());
                self.roster.gone(worker, how);
                self.input(Input::WorkerGone(worker));
                self.plugin_settled(worker);
                if quiet {
                    self.restart_later(worker);
                }
            }
        }
    }

    /// A plugin that was being started is ready, or is known not to get so: whoever waited for it goes on.
    fn plugin_settled(&mut self, worker: WorkerId) {
        let ready = self.roster.get(worker).is_some_and(|plugin| plugin.ready().is_some());
        let starting =
            self.roster.get(worker).is_some_and(|plugin| matches!(plugin.state, roster::State::Starting(..)));
        if !starting && self.steps.is_reviving(worker) {
            self.steps.revived(worker);
            if ready {
                self.input(Input::WorkerReady(worker));
            } else {
                self.note_the_lost(worker);
                self.input(Input::WorkerLost(worker));
            }
        }
        if let Survey::WaitsForPlugins(reasons) = &mut self.survey
            && !self.roster.is_starting()
        {
            let reasons = std::mem::take(reasons);
            self.ask_everyone(reasons);
        }
    }

    /// A plugin that died in peace is started again after a while, a little longer each time; a request of the host starts it at once.
    pub(super) fn restart_later(&self, worker: WorkerId) {
        let Some(plugin) = self.roster.get(worker) else { return };
        let tries = u32::try_from(plugin.restarts).unwrap_or(u32::MAX);
        if tries >= MOST_RESTARTS {
            tracing::error!(
                "plugin {} was started {tries} times and ended each time; the next request of the host will try again",
                plugin.name
            );
            return;
        }
        let (sender, generation) = (self.sender.clone(), plugin.generation);
        let (clock, at) = (self.clock.clone(), self.clock.now() + FIRST_PAUSE * 2_u32.pow(tries));
        tokio::task::spawn_local(async move {
            sleep::until(&clock, at).await;
            let _ = sender.send(Event::Restart(worker, generation));
        });
    }

    fn substep(&mut self, worker: WorkerId, script: String, phase: Phase, progress: Progress) {
        let now = self.clock.now();
        let key = (worker, script.clone(), phase);
        if let (Some(plugin), generation) = (self.roster.get_mut(worker), self.steps.generation_of_freeze(worker)) {
            match (&progress, phase) {
                (Progress::Started, Phase::Freeze) => {
                    plugin.owed_by = generation.unwrap_or(plugin.generation);
                    plugin.owed.push(script.clone());
                }
                (Progress::Planned, Phase::Thaw) if !plugin.planned.contains(&script) => {
                    plugin.planned.push(script.clone())
                }
                (Progress::Ended { .. }, Phase::Thaw) => plugin.owed.retain(|owed| *owed != script),
                _ => {}
            }
        }
        if matches!((&progress, phase), (Progress::Ended { .. }, Phase::Thaw)) {
            self.debt_substep_ended(worker, &script);
            self.families.thaw_ended(worker, &script);
        }
        if let (Progress::Ended { failure: Some(failure) }, Phase::Thaw) = (&progress, phase) {
            self.thaw_script_failed(&script, failure);
        }
        let Some(recorder) = &mut self.current.recorder else { return };
        match progress {
            Progress::Planned => {}
            Progress::Started => {
                let what = if phase == Phase::Freeze { What::FreezeScript } else { What::ThawScript };
                self.current.scripts.insert(key, recorder.step(what, script, now));
            }
            Progress::Ended { failure } => {
                if let Some(mark) = self.current.scripts.remove(&key) {
                    recorder.ended(mark, now, failure);
                }
            }
        }
    }

    /// A plugin that can't be heard any more while it freezes may have started everything it had planned.
    fn unheard(&mut self, worker: WorkerId) {
        if self.is_freezing(worker)
            && let Some(plugin) = self.roster.get_mut(worker)
        {
            plugin.may_owe_all_it_planned();
        }
    }

    /// A process that died after it had answered is not in the plan's way, but its step would be: nobody is left to take it.
    fn strike_out_the_dead(&self, findings: &mut survey::Findings) {
        let asked = std::mem::take(&mut findings.asked);
        if !findings.reasons.is_empty() {
            return;
        }
        for relied in asked {
            let plugin = self.roster.get(relied.worker);
            if plugin.and_then(roster::Plugin::ready).is_some_and(|(handle, _)| handle.pid == relied.pid) {
                continue;
            }
            let name = self.roster.name(relied.worker);
            if relied.required {
                findings.reasons.push(format!("plugin {name} died after it was asked whether a backup would work"));
                findings.plan = None;
            } else if findings.apps.iter().any(|app| app.worker == relied.worker) {
                tracing::warn!(
                    "plugin {name} died after it was asked; the backup goes on without it, since it is not required"
                );
                findings.apps.retain(|app| app.worker != relied.worker);
                findings.plan.iter_mut().for_each(|plan| plan.apps.retain(|app| app.worker != relied.worker));
            }
        }
    }

    fn surveyed(&mut self, mut findings: survey::Findings) {
        self.survey = Survey::None;
        self.strike_out_the_dead(&mut findings);
        self.judge_mapped(&mut findings);
        if matches!(self.cycle.state(), State::Checking(None)) {
            let shape = findings.plan.as_ref().map(Plan::shape);
            self.found = Some(findings);
            return self.input(Input::Surveyed(shape));
        }
        self.survey_step_ended((!findings.reasons.is_empty()).then(|| findings.reasons.join("; ")));
        for judged in &findings.judged {
            if let Verdict::Veto { .. } = judged.verdict {
                self.tally.count_veto(&judged.mount.fstype);
            }
        }
        self.current.refusals = findings.reasons;
        let shape = findings.plan.and_then(|mut plan| {
            if let Some(wish) = &self.rehearsal
                && !wish.narrow(&mut plan, &mut self.roster)
            {
                let why = "the plugin exec_hook, which runs the scripts of hooks.d, takes no part in this cycle";
                self.current.refusals.push(why.to_owned());
                return None;
            }
            let shape = plan.shape();
            self.current.plan = plan;
            Some(shape)
        });
        self.input(Input::Surveyed(shape));
    }
}
