//! The engine performs what the cycle decides: one task that owns all state, takes events one at a time, and never waits for anyone.
//!
//! Everything that could wait (a plugin's answer, a flush, a child's end) is somebody else's task, which sends an event when it is done. What
//! belongs to an earlier cycle is told by its number and dropped here, so that the state machine never hears of it.

mod control;
mod explain;
mod flush;
mod owed;
mod perform;
mod reload;
mod roster;
mod steps;
mod survey;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hv_vss_device::{Device, Driver, Message, Operation};
use hv_vss_platform::clock::{Monotonic, wall_clock_ns};
use hv_vss_platform::mounts::Source;
use hv_vss_wire::{Answer, Level, Phase, Progress};
use tokio::sync::{mpsc, oneshot};

use crate::child::Said;
use crate::config::Config;
use crate::control::{Question, Reply};
use crate::cycle::{Cycle, HolderId, HostId, Input, Purpose, RequestId, Timer, Why};
use crate::deadline::{Budget, Limits};
use crate::history::History;
use crate::journal::Journal;
use crate::metrics::Tally;
use crate::plan::{Plan, Verdict};
use crate::record::{CycleResult, Kind, Recorder, StepMark, What};
use crate::reply::Reply as Obligation;
use crate::scribe::Scribe;
use explain::Words;
use roster::Roster;
use steps::Steps;

/// Everything that can happen to the engine.
#[derive(Debug)]
pub enum Event {
    /// From the device.
    Device(hv_vss_device::Event),
    /// A plugin's process tells something. The second number counts the plugin's processes.
    Plugin(HostId, u64, Said),
    /// A plugin has opened its configuration, or not.
    Opened(HostId, u64, Option<Answer>),
    /// The survey with this number has ended.
    Surveyed(u64, Box<survey::Findings>),
    /// What the cycle with this number will owe is written down.
    Noted(u64),
    /// An operator asks.
    Control(Question, oneshot::Sender<Reply>),
    /// It is time to look after what an earlier daemon left.
    LookAfterDebts,
    /// A plugin has let go of what an earlier daemon left, or not.
    DebtAnswered(HostId, Option<Answer>),
    /// The flush of the cycle with this number is over.
    Flushed(u64),
    /// A holder's call has ended.
    StepEnded(steps::StepId, Option<Answer>),
    /// A holder's call has passed its limit.
    Overdue(steps::StepId),
    /// A plugin's process may be started again.
    Restart(HostId, u64),
    /// A signal, or an operator's word.
    Operator(Order),
}

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Let go now (SIGUSR1).
    Thaw,
    /// End (SIGTERM, SIGINT).
    Stop,
    /// Read the configuration again (SIGHUP).
    Reload,
}

/// A request of the host that is owed an answer.
struct Open {
    reply: Obligation,
    operation: Operation,
    budget: Budget,
}

/// The engine.
pub struct Engine {
    config: Config,
    limits: Limits,
    journal: Journal,
    device: Arc<Device>,
    cycle: Cycle,
    roster: Roster,
    events: mpsc::UnboundedReceiver<Event>,
    sender: mpsc::UnboundedSender<Event>,
    timers: BTreeMap<Timer, Monotonic>,
    requests: HashMap<RequestId, Open>,
    next_request: u64,
    /// The request (none: a rehearsal) whose answer [`Timer::Answer`] is about.
    awaited: Option<(Option<RequestId>, Budget)>,
    /// Of the latest THAW.
    thaw: Option<Budget>,
    current: Current,
    steps: Steps,
    /// Counts surveys and cycles: what an earlier one brings is dropped.
    serial: u64,
    survey: Survey,
    /// Inputs that actions have led to, not yet given to the cycle.
    inputs: VecDeque<Input>,
    flushed_in_background: Option<Monotonic>,
    log_is_held: bool,
    state_since: Monotonic,
    rehearsal: Option<RehearsalWish>,
    /// The operator who asked whether a backup would work, and when.
    outlook: Option<(oneshot::Sender<Reply>, Monotonic)>,
    history: History,
    tally: Tally,
    scribe: Scribe,
    /// What an earlier daemon left.
    debts: Vec<owed::Debt>,
    last_stamp: (String, u32),
    exit: bool,
}

/// What an operator wants to rehearse.
struct RehearsalWish {
    hold_ms: u64,
    freeze: bool,
    only: Option<String>,
    answer: oneshot::Sender<Reply>,
}

/// What belongs to the cycle in work, or to the last one.
struct Current {
    id: String,
    /// The CHECK or FREEZE that it is for.
    request: Option<RequestId>,
    budget: Option<Budget>,
    plan: Plan,
    recorder: Option<Recorder>,
    survey: Option<StepMark>,
    flush: Option<StepMark>,
    hold: Option<StepMark>,
    /// Where it is noted what this cycle owes.
    noted: Vec<PathBuf>,
    scripts: HashMap<(HostId, String, Phase), StepMark>,
    /// What holders said when they failed.
    sayings: HashMap<HolderId, String>,
    deaths: HashMap<HostId, String>,
    refusals: Vec<String>,
    changed: String,
}

/// Where a survey stands.
enum Survey {
    None,
    /// It begins when all plugins that are being started are ready, or known not to get so.
    WaitsForPlugins,
    Asks(tokio::task::JoinHandle<()>),
}

impl Current {
    fn none() -> Self {
        Self {
            id: "none".to_owned(),
            request: None,
            budget: None,
            plan: Plan::default(),
            recorder: None,
            survey: None,
            flush: None,
            hold: None,
            noted: Vec::new(),
            scripts: HashMap::new(),
            sayings: HashMap::new(),
            deaths: HashMap::new(),
            refusals: Vec::new(),
            changed: String::new(),
        }
    }
}

impl RehearsalWish {
    /// Leaves out of the plan what is not to be rehearsed.
    fn narrow(&self, plan: &mut Plan, roster: &Roster) {
        if !self.freeze {
            plan.filesystems.clear();
        }
        if self.only.is_some() {
            plan.apps.retain(|app| roster.name(app.host).replace('-', "_") == "exec_hook");
        }
    }
}

impl Engine {
    /// An engine for this device. `scribe` writes for it; `events` is where the device's thread, signals and operators send what happens.
    #[must_use]
    pub fn new(
        config: Config,
        journal: Journal,
        device: Arc<Device>,
        scribe: Scribe,
        (sender, events): (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    ) -> Self {
        let limits = Self::limits_with(&config, &device);
        let roster = Roster::new(&config, sender.clone());
        let history = History::load(&config.paths.state.join(HISTORY));
        Self {
            config,
            limits,
            journal,
            device,
            cycle: Cycle::default(),
            roster,
            events,
            sender,
            timers: BTreeMap::new(),
            requests: HashMap::new(),
            next_request: 0,
            awaited: None,
            thaw: None,
            current: Current::none(),
            steps: Steps::default(),
            serial: 0,
            survey: Survey::None,
            inputs: VecDeque::new(),
            flushed_in_background: None,
            log_is_held: false,
            state_since: Monotonic::now(),
            rehearsal: None,
            outlook: None,
            history,
            tally: Tally::default(),
            scribe,
            debts: Vec::new(),
            last_stamp: (String::new(), 0),
            exit: false,
        }
    }

    /// The driver in base has its 15 s in its code; ours tells. The configuration may lower either.
    fn limits_with(config: &Config, device: &Device) -> Limits {
        let mut limits = config.limits;
        if let Some(driver) = hv_vss_platform::driver::time_limit().filter(|_| device.driver() == Driver::Ours) {
            limits.limit = if config.limit_is_given { limits.limit.min(driver) } else { driver };
        }
        limits
    }

    /// Starts the plugins and serves until the daemon is to end. `ready` is called once every plugin is ready, or known not to get so.
    pub async fn serve(mut self, ready: impl FnOnce(&str)) {
        if let Some(damage) = &self.history.damage {
            tracing::warn!("{damage}");
        }
        self.roster.look(&self.config);
        self.roster.start_absent();
        self.find_debts();
        let mut ready = Some(ready);
        while !self.exit {
            if ready.is_some() && !self.roster.is_starting() {
                let names: Vec<&str> = self
                    .roster
                    .each()
                    .filter(|(_, plugin)| plugin.ready().is_some())
                    .map(|(_, plugin)| plugin.name.as_str())
                    .collect();
                let text = format!(
                    "{} with plugins {}",
                    self.device.path(),
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                );
                self.complain_of_missing_plugins();
                if let Some(ready) = ready.take() {
                    ready(&text);
                }
            }
            let next = self.timers.values().min().copied();
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep(Monotonic::now().until(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(event) => self.happened(event),
                    None => break,
                },
                () = timer => self.fire_timers(),
            }
        }
        self.roster.dismiss();
        self.journal.let_go();
    }

    fn complain_of_missing_plugins(&self) {
        if let Some(why) = self.roster.unreadable() {
            tracing::error!("{why}; every backup will be refused");
        }
        for (_, plugin) in self.roster.each() {
            if let roster::State::Absent(why) = &plugin.state {
                tracing::error!("plugin {} {why}", plugin.name);
            }
        }
    }

    fn fire_timers(&mut self) {
        let now = Monotonic::now();
        let due: Vec<Timer> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            // An earlier one may have stopped it.
            if self.timers.remove(&timer).is_some() {
                self.input(Input::TimeUp(timer));
            }
        }
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Device(hv_vss_device::Event::Request(message)) => self.asked(message),
            Event::Device(hv_vss_device::Event::Gone(why)) => {
                tracing::error!("{why}");
                self.input(Input::Stop);
            }
            Event::Plugin(host, generation, said) => self.plugin_said(host, generation, said),
            Event::Opened(host, generation, answer) => {
                if self.roster.current(host, generation).is_some() {
                    self.roster.opened(host, answer);
                    self.plugin_settled(host);
                }
            }
            Event::Surveyed(serial, findings) if serial == self.serial => self.surveyed(*findings),
            Event::Noted(serial) if serial == self.serial => self.input(Input::Noted),
            Event::Flushed(serial) if serial == self.serial => {
                if let (Some(recorder), Some(mark)) = (&mut self.current.recorder, self.current.flush.take()) {
                    recorder.ended(mark, Monotonic::now(), None);
                }
                self.input(Input::Flushed);
            }
            Event::Surveyed(..) | Event::Flushed(_) | Event::Noted(_) => {}
            Event::Control(question, answer) => self.asked_by_operator(question, answer),
            Event::LookAfterDebts => self.look_after_debts(),
            Event::DebtAnswered(host, answer) => self.debt_answered(host, answer),
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
            Event::Restart(host, generation) => {
                let wanted = self
                    .roster
                    .current(host, generation)
                    .is_some_and(|plugin| matches!(plugin.state, roster::State::Absent(_)));
                if wanted && !self.filesystem_held() {
                    self.roster.start(host);
                }
            }
            Event::Operator(order) => self.ordered(order),
        }
    }

    fn ordered(&mut self, order: Order) {
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
    fn asked(&mut self, message: Message) {
        let read = Monotonic::now();
        let left = hv_vss_device::budget(message.msgid, wall_clock_ns(), self.limits.limit);
        let budget = self.limits.budget(read, left);
        let operation = message.asks_for();
        let request = RequestId(self.next_request);
        self.next_request += 1;
        tracing::debug!("the host asks: {operation:?}, with {} ms left", left.as_millis());
        if operation == Operation::Thaw {
            self.thaw = Some(budget);
        }
        self.requests
            .insert(request, Open { reply: Obligation::owed(Arc::clone(&self.device), message), operation, budget });
        self.input(Input::Host(request, operation));
    }

    /// Gives the cycle an input, performs what it says, and goes on with what that leads to at once.
    fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
        let before = self.cycle.stage_name();
        while let Some(input) = self.inputs.pop_front() {
            for action in self.cycle.handle(input) {
                self.perform(action);
            }
        }
        if self.cycle.stage_name() != before {
            self.state_since = Monotonic::now();
        }
        if self.log_is_held && !self.filesystem_held() {
            self.log_is_held = false;
            self.journal.let_go();
        }
        self.journal.send();
    }

    fn filesystem_held(&self) -> bool {
        self.cycle.run().is_some_and(crate::cycle::Run::filesystem_held)
    }

    fn plugin_said(&mut self, host: HostId, generation: u64, said: Said) {
        if self.roster.current(host, generation).is_none() {
            return;
        }
        let name = self.roster.name(host).to_owned();
        match said {
            Said::Loaded(about) => self.roster.loaded(host, about),
            Said::Unfit(reason) => {
                tracing::error!("plugin {name} can't be used: {reason}");
                if let Some(plugin) = self.roster.get_mut(host) {
                    plugin.state = roster::State::Absent(format!("can't be used: {reason}"));
                    plugin.generation += 1;
                }
                self.plugin_settled(host);
            }
            Said::Log(level, text) => match level {
                Level::Debug => tracing::debug!("{name}: {text}"),
                Level::Info => tracing::info!("{name}: {text}"),
                Level::Warn => tracing::warn!("{name}: {text}"),
                Level::Error => tracing::error!("{name}: {text}"),
            },
            Said::Substep(script, phase, progress) => self.substep(host, script, phase, progress),
            Said::LetGo => tracing::error!("plugin {name} let go of all it held by itself, since its time had expired"),
            Said::Gone(how) => {
                let quiet = !self.cycle.run().is_some_and(crate::cycle::Run::anything_held);
                tracing::error!("plugin {name} {how}");
                self.current.deaths.insert(host, how.clone());
                self.roster.gone(host, how);
                self.input(Input::HostGone(host));
                self.plugin_settled(host);
                if quiet {
                    self.restart_later(host);
                }
            }
        }
    }

    /// A plugin that was being started is ready, or is known not to get so: whoever waited for it goes on.
    fn plugin_settled(&mut self, host: HostId) {
        let ready = self.roster.get(host).is_some_and(|plugin| plugin.ready().is_some());
        let starting = self.roster.get(host).is_some_and(|plugin| matches!(plugin.state, roster::State::Starting(..)));
        if !starting && self.steps.is_reviving(host) {
            self.steps.revived(host);
            self.input(if ready { Input::HostReady(host) } else { Input::HostLost(host) });
        }
        if matches!(self.survey, Survey::WaitsForPlugins) && !self.roster.is_starting() {
            self.ask_everyone();
        }
    }

    /// A plugin that died in peace is started again after a while, a little longer each time; a request of the host starts it at once.
    fn restart_later(&self, host: HostId) {
        let Some(plugin) = self.roster.get(host) else { return };
        let tries = u32::try_from(plugin.restarts).unwrap_or(u32::MAX);
        if tries >= MOST_RESTARTS {
            tracing::error!(
                "plugin {} was started {tries} times and ended each time; the next request of the host will try again",
                plugin.name
            );
            return;
        }
        let (sender, generation) = (self.sender.clone(), plugin.generation);
        let pause = FIRST_PAUSE * 2_u32.pow(tries);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            let _ = sender.send(Event::Restart(host, generation));
        });
    }

    fn substep(&mut self, host: HostId, script: String, phase: Phase, progress: Progress) {
        let now = Monotonic::now();
        let key = (host, script.clone(), phase);
        if let (Some(plugin), generation) = (self.roster.get_mut(host), self.steps.generation_of_freeze(host)) {
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

    fn words(&self) -> Words<'_> {
        Words {
            plan: &self.current.plan,
            roster: &self.roster,
            sayings: &self.current.sayings,
            deaths: &self.current.deaths,
            refusals: &self.current.refusals,
            changed: &self.current.changed,
            run: self.cycle.run(),
        }
    }

    fn mount_source(&self) -> Source {
        self.config.mount_table.clone().map_or(Source::Kernel, Source::File)
    }

    fn surveyed(&mut self, findings: survey::Findings) {
        self.survey = Survey::None;
        if self.tell_outlook(&findings) {
            return;
        }
        self.survey_step_ended((!findings.reasons.is_empty()).then(|| findings.reasons.join("; ")));
        for judged in &findings.judged {
            if let Verdict::Veto { .. } = judged.verdict {
                self.tally.count_veto(&judged.mount.fstype);
            }
        }
        self.current.refusals = findings.reasons;
        let shape = findings.plan.map(|mut plan| {
            if let Some(wish) = &self.rehearsal {
                wish.narrow(&mut plan, &self.roster);
            }
            let shape = plan.shape();
            self.current.plan = plan;
            shape
        });
        self.input(Input::Surveyed(shape));
    }

    fn conclude(&mut self, result: CycleResult, why: Why) {
        let sentence = self.words().because(why);
        if let Some(recorder) = &mut self.current.recorder {
            recorder.concluded(result, &sentence);
        }
    }

    fn kind_of(purpose: Purpose) -> Kind {
        match purpose {
            Purpose::Check => Kind::Check,
            Purpose::Freeze => Kind::Backup,
            Purpose::Rehearsal => Kind::Rehearsal,
        }
    }
}

/// The history's name in the state directory.
const HISTORY: &str = "history.jsonl";
const MOST_RESTARTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
