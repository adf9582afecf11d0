//! Each action of the cycle, performed.

use std::fmt::Write as _;

use hv_vss_device::{AnswerError, Driver, Operation, Verdict};
use hv_vss_platform::mounts;
use hv_vss_wire::Outcome;
use time::OffsetDateTime;

use super::observe::SILENCE;
use super::roster::Whose;
use super::survey::{Asked, Survey as SurveyTask};
use super::{Current, Engine, Event, FIRST_PAUSE, Survey};
use crate::absent;
use crate::scribe::Job;
use hv_vss_core::cycle::{Action, Input, Purpose, RequestId, Timer, Why, WorkerId};
use hv_vss_core::deadline::Deadline;
use hv_vss_core::record::{CycleResult, Record, Recorder, Told, What};

impl Engine {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Answer(request, verdict, why) => self.answer(request, verdict, why),
            Action::Rehearsed(verdict, why) => self.rehearsed(verdict, why),
            Action::Survey(purpose) => self.begin_survey(purpose),
            Action::AbandonSurvey => self.abandon_survey(),
            Action::Note => self.note(),
            Action::FlushBeside => self.flush_beside(),
            Action::LastFlush => {
                let deadline = self.current.budget.map_or(Deadline(self.clock.now()), |budget| budget.answer);
                self.last_flush(self.limits.last_flush(self.clock.now(), deadline));
            }
            Action::Scan => self.scan(),
            Action::ScanAgain => self.scan_again(),
            Action::Hush => self.hush_observers(),
            Action::Silence => self.silence_observers(),
            Action::HoldLog => self.journal.hold(),
            Action::FreeLog => self.journal.let_go(),
            Action::LookFor(holder) => {
                let unmounted = self.finds_it_unmounted(holder);
                self.inputs.push_back(Input::Looked { unmounted });
            }
            Action::Outlook => self.tell_outlook(),
            Action::RefuseCheck(why) => self.refuse_check(why),
            Action::DropCheck(why) => self.drop_check(why),
            Action::GoOn => self.inputs.push_back(Input::GoOn),
            Action::Freeze(holder) => self.call_freeze(holder),
            Action::Thaw(holder, outcome) => {
                self.end_hold();
                self.call_thaw(holder, outcome);
            }
            Action::Cancel(holder) => self.cancel(holder),
            Action::Compare => self.compare(),
            Action::Kill(worker) => self.kill(worker),
            Action::Revive(worker) => self.revive(worker),
            Action::Await(request) => {
                let budget = request.and_then(|request| self.requests.get(&request)).map(|open| open.budget);
                self.awaited =
                    Some((request, budget.unwrap_or_else(|| self.limits.budget(self.clock.now(), self.limits.limit))));
            }
            Action::Arm(timer) => self.arm(timer),
            Action::Disarm(timer) => drop(self.timers.remove(&timer)),
            Action::Ended(outcome, why) => self.ended(outcome, why),
            Action::Exit => self.exit = true,
        }
    }

    fn arm(&mut self, timer: Timer) {
        let now = self.clock.now();
        let at = match timer {
            Timer::Answer => self.awaited.map_or(now, |(_, budget)| budget.answer.0),
            // Once more when it has fired and filesystems are waited for.
            Timer::ThawAnswer => self.thaw.map_or(now, |budget| {
                let soon = self.limits.thaw_answer(&budget).0;
                if soon > now { soon } else { budget.answer.0 }
            }),
            Timer::Watchdog => now + self.limits.max_frozen,
            Timer::Silence => now + SILENCE,
            Timer::Revive => now + FIRST_PAUSE,
            Timer::AppsAnyway => now + self.limits.apps_wait(now, self.thaw_under_way().as_ref()),
            Timer::Hold => {
                now + std::time::Duration::from_millis(self.rehearsal.as_ref().map_or(0, |wish| wish.hold_ms))
            }
        };
        self.timers.insert(timer, at);
    }

    fn answer(&mut self, request: RequestId, verdict: Verdict, why: Why) {
        let Some(open) = self.requests.remove(&request) else { return };
        let operation = operation_name(open.operation);
        let now = self.clock.now();
        // The driver in base takes a late answer without a word; a machine that slept can be late by hours.
        let expected = if open.budget.driver.left(now).is_zero() { Verdict::Fail } else { verdict };
        let late = match open.reply.answer(expected) {
            Ok(()) => expected != verdict,
            Err(AnswerError::TooLate) => true,
            Err(AnswerError::Failed(error)) => {
                tracing::error!("{operation}: {error}");
                false
            }
        };
        if late {
            self.tally.counters.late_answers += 1;
            tracing::error!("the answer to {operation} came too late: the driver had told the host that it failed");
        }
        let (verdict, why) = match verdict {
            Verdict::Success if late => {
                self.inputs.push_back(Input::AnswerLate(request, open.operation));
                (Verdict::Fail, Why::TooLate)
            }
            other => (other, why),
        };
        let sentence = self.words().because(why);
        let took = open.budget.read.until(now).as_millis();
        let id = &self.current.id;
        match verdict {
            Verdict::Success => tracing::info!("{operation} answered success after {took} ms ({sentence}), cycle {id}"),
            Verdict::Fail => tracing::error!("{operation} answered FAIL after {took} ms: {sentence} (cycle {id})"),
        }
        // A request that was only refused for being out of place says nothing of the cycle in work.
        let of_the_cycle = self.current.recorder.is_some()
            && (self.current.request == Some(request) || (open.operation == Operation::Thaw && why != Why::Busy));
        if of_the_cycle && let Some(recorder) = &mut self.current.recorder {
            let mark = recorder.step(What::Answer, operation, now);
            recorder.ended(mark, now, (verdict == Verdict::Fail).then(|| sentence.clone()));
            recorder.answered(operation, if verdict == Verdict::Fail { Told::Fail } else { Told::Success });
        }
        if !of_the_cycle && verdict == Verdict::Fail {
            self.out_of_place(open.operation, why, open.budget.read);
        }
        match (open.operation, verdict) {
            (Operation::Check, Verdict::Success) if of_the_cycle => {
                self.conclude(CycleResult::Ok, why);
                self.flush_in_background();
                self.keep_record();
            }
            (Operation::Check, Verdict::Fail) if of_the_cycle => {
                self.conclude(if why == Why::Refused { CycleResult::Refused } else { CycleResult::Failed }, why);
                self.keep_record();
            }
            (Operation::Freeze, Verdict::Success) if of_the_cycle => {
                self.remark_on_the_plan();
                self.begin_hold();
            }
            (Operation::Freeze, Verdict::Fail) if of_the_cycle => {
                self.conclude(if why == Why::Refused { CycleResult::Refused } else { CycleResult::Failed }, why);
            }
            (Operation::Thaw, Verdict::Fail) if of_the_cycle => {
                let result = if self.a_filesystem_was_let_go(why) { CycleResult::Expired } else { CycleResult::Failed };
                self.conclude(result, why);
            }
            _ => {}
        }
        if open.operation == Operation::Thaw && verdict == Verdict::Success && self.port.driver() == Driver::Base {
            self.thaw_passed_on = Some(now);
        }
    }

    fn rehearsed(&mut self, verdict: Verdict, why: Why) {
        let sentence = self.words().because(why);
        match verdict {
            Verdict::Success => {
                tracing::info!("rehearsal {}: everything is held", self.current.id);
                self.remark_on_the_plan();
                self.begin_hold();
            }
            Verdict::Fail => {
                tracing::error!("rehearsal {} failed: {sentence}", self.current.id);
                self.conclude(if why == Why::Refused { CycleResult::Refused } else { CycleResult::Failed }, why);
            }
        }
    }

    fn begin_survey(&mut self, purpose: Purpose) {
        self.serial += 1;
        if purpose == Purpose::Outlook {
            self.outlook = self.asks.take().map(|answer| (answer, self.clock.now()));
            self.prepare_plugins(Whose::Everybodys);
            return self.ask_when_ready(Vec::new());
        }
        let now = self.clock.now();
        let (request, budget) = self.awaited.unwrap_or_else(|| (None, self.limits.budget(now, self.limits.limit)));
        let began_ms = self.clock.wall_ns() / 1_000_000;
        let id = self.new_cycle_id(began_ms);
        let mut recorder = Recorder::begin(id.clone(), Self::kind_of(purpose), began_ms, budget.read, budget.answer.0);
        let survey = recorder.step(What::Survey, "mounts and plugins", now);
        self.current = Current {
            id,
            request,
            budget: Some(budget),
            recorder: Some(recorder),
            survey: Some(survey),
            ..Current::none()
        };
        self.steps.clear();

        let replaced = self.prepare_plugins(Whose::Holders);
        let mut reasons = Vec::new();
        if purpose == Purpose::Freeze && !replaced.is_empty() {
            let names = replaced.join(", ");
            reasons.push(format!(
                "plugin {names} was replaced by another file since the last CHECK; it is being started anew, try again"
            ));
        }
        self.ask_when_ready(reasons);
    }

    /// Asks everyone when all plugins that are being started are ready, or known not to get so.
    fn ask_when_ready(&mut self, reasons: Vec<String>) {
        if self.roster.is_starting() {
            self.survey = Survey::WaitsForPlugins(reasons);
        } else {
            self.ask_everyone(reasons);
        }
    }

    /// Looks for new, replaced and dead plugins, and starts what does not run. Gives the names of the replaced ones.
    pub(super) fn prepare_plugins(&mut self, whose: Whose) -> Vec<String> {
        self.roster.look(&self.config);
        let replaced = self.roster.replaced();
        self.roster.drop_replaced(whose);
        self.roster.start_absent(whose);
        for (_, plugin) in self.roster.each_mut() {
            plugin.planned.clear();
            plugin.owed.clear();
        }
        replaced
    }

    /// `reasons`: those against it that are there before anyone is asked.
    pub(super) fn ask_everyone(&mut self, mut reasons: Vec<String>) {
        reasons.extend(self.debts_in_the_way());
        match self.roster.unreadable() {
            Some(why) => reasons.push(why.to_owned()),
            None => reasons.extend(absent::reasons(&self.config, |name| self.roster.knows(name))),
        }
        let mut plugins = Vec::new();
        for (worker, plugin) in self.roster.each().filter(|(_, plugin)| !plugin.observes()) {
            match (plugin.ready(), &plugin.state) {
                (Some((handle, about)), _) => plugins.push(Asked {
                    worker,
                    name: plugin.name.clone(),
                    number: plugin.number(),
                    handle: handle.clone(),
                    about: about.clone(),
                    required: plugin.required(),
                }),
                (None, super::roster::State::Absent(why)) if plugin.required() => {
                    reasons.push(format!(
                        "plugin {} {why}; repair it, or set required = false or enabled = false in [plugin.{}]",
                        plugin.name, plugin.name
                    ));
                }
                (None, _) => tracing::warn!(
                    "plugin {} is not running; the backup goes on without it, since it is not required",
                    plugin.name
                ),
            }
        }
        let survey = SurveyTask {
            cycle: if self.outlook.is_some() { "check".to_owned() } else { self.current.id.clone() },
            deadline: self.survey_deadline(),
            source: self.mount_source(),
            exemptions: self.config.exemptions.clone(),
            has_vfsfreeze: self.has_vfsfreeze(),
            plugins,
            reasons,
            looks: self.looks_in_surveys(),
            clock: self.clock.clone(),
        };
        let (sender, serial) = (self.sender.clone(), self.serial);
        let task = tokio::task::spawn_local(async move {
            let findings = survey.make().await;
            let _ = sender.send(Event::Surveyed(serial, Box::new(findings)));
        });
        self.survey = Survey::Asks(task);
    }

    /// Whether the plugin for UFS will hold by vfsfreeze: the node that it is told to use is there.
    fn has_vfsfreeze(&self) -> bool {
        let settings = self.config.plugin(hv_vss_core::config::UFS).settings;
        let node = settings.get("vfsfreeze").and_then(|node| node.as_str());
        std::path::Path::new(node.unwrap_or(hv_vss_platform::vfsfreeze::NODE)).exists()
    }

    /// A FREEZE looks for mapped files later, when everything that a script stops is stopped.
    fn looks_in_surveys(&self) -> bool {
        let check = matches!(self.cycle.state(), hv_vss_core::cycle::State::Checking(_));
        (check || self.outlook.is_some()) && !matches!(self.programs, crate::child::Programs::Played(_))
    }

    fn survey_deadline(&self) -> Deadline {
        let own = self.limits.budget(self.clock.now(), self.limits.limit).answer;
        self.current.budget.filter(|_| self.outlook.is_none()).map_or(own, |budget| budget.answer)
    }

    /// Its calls keep their limits: a plugin that still hangs then is killed.
    fn abandon_survey(&mut self) {
        self.serial += 1;
        self.survey_step_ended(Some("it was given up".to_owned()));
        if let Survey::Asks(task) = std::mem::replace(&mut self.survey, Survey::None) {
            task.abort();
        }
    }

    pub(super) fn survey_step_ended(&mut self, failure: Option<String>) {
        if let (Some(recorder), Some(mark)) = (&mut self.current.recorder, self.current.survey.take()) {
            recorder.ended(mark, self.clock.now(), failure);
        }
    }

    pub(super) fn compare(&mut self) {
        let compared = mounts::read_bare(&self.mount_source())
            .map_err(|error| {
                format!("the mount table can't be read once more, so nobody knows whether all of it is frozen: {error}")
            })
            .and_then(|now| self.current.plan.compare(&now, &self.config.exemptions));
        let same = compared.is_ok();
        self.current.changed = compared.err().unwrap_or_default();
        // A long table may have taken what was left of the time.
        let now = self.clock.now();
        if self.timers.get(&Timer::Answer).is_some_and(|at| *at <= now) {
            self.timers.remove(&Timer::Answer);
            self.inputs.push_back(Input::TimeUp(Timer::Answer));
        }
        self.inputs.push_back(Input::Compared { same });
    }

    fn kill(&mut self, worker: WorkerId) {
        let Some((handle, _)) = self.roster.get(worker).and_then(super::roster::Plugin::ready) else {
            // There is nobody to kill, so no end will be told.
            self.inputs.push_back(Input::WorkerGone(worker));
            return;
        };
        tracing::error!(
            "cycle {}: killing plugin {}, process {}",
            self.current.id,
            self.roster.name(worker),
            handle.pid
        );
        handle.kill("it did not do what it was asked in time");
    }

    fn revive(&mut self, worker: WorkerId) {
        tracing::warn!(
            "cycle {}: starting plugin {} anew, since it owes a thaw",
            self.current.id,
            self.roster.name(worker)
        );
        self.steps.reviving(worker);
        self.roster.start(worker);
        // If it could not even be started, no event will come.
        if !self.roster.get(worker).is_some_and(|plugin| matches!(plugin.state, super::roster::State::Starting(..))) {
            self.steps.revived(worker);
            self.worker_is_lost(worker);
        }
    }

    /// Was it a filesystem that was let go before its thaw? Its own expiry ended its hold. An application that was not at rest has failed.
    fn a_filesystem_was_let_go(&self, why: Why) -> bool {
        matches!(why, Why::LetGo(holder) if holder.0 >= self.current.plan.apps.len())
    }

    fn begin_hold(&mut self) {
        let now = self.clock.now();
        self.current.hold = self.current.recorder.as_mut().map(|recorder| recorder.step(What::Hold, "everything", now));
    }

    fn end_hold(&mut self) {
        if let (Some(recorder), Some(mark)) = (&mut self.current.recorder, self.current.hold.take()) {
            recorder.ended(mark, self.clock.now(), None);
        }
    }

    fn ended(&mut self, outcome: Outcome, why: Why) {
        self.end_hold();
        let result = match outcome {
            Outcome::Ok => CycleResult::Ok,
            Outcome::Expired if !matches!(why, Why::LetGo(_)) || self.a_filesystem_was_let_go(why) => {
                CycleResult::Expired
            }
            Outcome::Expired | Outcome::Aborted | Outcome::Recovered | Outcome::Restored => CycleResult::Failed,
        };
        self.conclude(result, why);
        self.name_the_unthawed(outcome);
        // The first reason is the one to tell; what is known by now may be no more than what followed from it.
        if let Some(record) = self.current.recorder.as_ref().map(Recorder::so_far)
            && record.ending.is_trouble()
        {
            tracing::error!("cycle {} ended: {}", self.current.id, record.ending.summary());
        }
        self.forget_note();
        self.keep_record();
        // What died while something was held is started only now.
        self.roster.start_absent(Whose::Holders);
    }

    /// The cycle is over: its record is shown in the log and kept.
    fn keep_record(&mut self) {
        let Some(recorder) = self.current.recorder.take() else { return };
        let record = recorder.finish();
        let mut slow = String::new();
        for step in &record.steps {
            let span =
                step.to_ms.map_or_else(|| "never ended".to_owned(), |to_ms| format!("{:.1} ms", to_ms - step.from_ms));
            let _ = write!(slow, "{:?} {} {span}; ", step.what, step.name);
        }
        tracing::debug!("cycle {}: {slow}", record.cycle);
        self.tally.count(&record);
        self.tell_rehearsal(&record);
        self.renew_observers();
        self.tell_observers_of(&record);
        self.keep(record);
    }

    /// Adds to the history, and writes what is not yet written. While something is held nothing is: the end of the cycle sees to it.
    pub(super) fn keep(&mut self, record: Record) {
        self.history.add(record);
        if self.filesystem_held() {
            return;
        }
        if let Some(state) = &self.state {
            self.scribe.write(Job::History(
                state.join(super::HISTORY),
                self.history.take_unwritten(),
                self.history.clone(),
            ));
        }
        if let Some(path) = &self.config.metrics_file {
            let text = hv_vss_core::metrics::text(&self.status(), &self.tally);
            self.scribe.write(Job::Publish(path.clone(), text));
        }
    }

    /// The moment it began, and a number if that is the name of another.
    pub(super) fn new_cycle_id(&self, began_ms: u64) -> String {
        let seconds = i64::try_from(began_ms / 1000).unwrap_or(0);
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, time) = (at.date(), at.time());
        let stamp = format!(
            "{:04}{:02}{:02}-{:02}{:02}{:02}",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        // In the same second, or once more in a second that a clock set back has brought again.
        let taken = |id: &str| self.current.id == id || self.history.records().any(|record| record.cycle == id);
        let numbered = (1..).map(|number: u32| format!("{stamp}.{number}"));
        std::iter::once(stamp.clone()).chain(numbered).find(|id| !taken(id)).unwrap_or(stamp)
    }
}

pub(super) fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Check => "CHECK",
        Operation::Freeze => "FREEZE",
        Operation::Thaw => "THAW",
        Operation::Unknown(_) => "an unknown operation",
    }
}
