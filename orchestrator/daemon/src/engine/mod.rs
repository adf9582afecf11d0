//! The engine performs what the cycle decides: one task that owns all state, takes events one at a time, and never waits for anyone.
//!
//! Everything that could wait (a plugin's answer, a flush, a child's end) is somebody else's task, which sends an event when it is done. What
//! belongs to an earlier cycle is told by its number and dropped here, so that the state machine never hears of it.

mod aftermath;
mod control;
mod debts;
mod events;
mod explain;
mod families;
mod flush;
#[cfg(any(test, feature = "harness"))]
pub mod harness;
mod mapped;
mod observe;
mod owed;
mod perform;
mod reload;
mod roster;
mod serve;
mod steps;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use hv_vss_device::{Driver, Operation};
use hv_vss_platform::boot;
use hv_vss_platform::clock::{Clock, Monotonic};
use hv_vss_platform::mounts::Source;
use hv_vss_service::Journal;
use hv_vss_wire::{Answer, Phase};
use tokio::sync::{mpsc, oneshot};

use crate::child::{Programs, Said};
use crate::port::Port;
use crate::reply::Reply as Obligation;
use crate::scribe::Scribe;
use explain::Words;
use hv_vss_core::config::{BASE_LIMIT, Config};
use hv_vss_core::control::{Question, Reply};
use hv_vss_core::cycle::{Cycle, HolderId, Input, Purpose, RequestId, Timer, Why, WorkerId};
use hv_vss_core::deadline::{Budget, Limits};
use hv_vss_core::history::History;
use hv_vss_core::metrics::Tally;
use hv_vss_core::plan::Plan;
use hv_vss_core::record::{CycleResult, Kind, Recorder, StepMark};
use observe::Observers;
use roster::Roster;
use steps::Steps;

/// Everything that can happen to the engine.
#[derive(Debug)]
pub enum Event {
    /// From the device, and when that was.
    Device(hv_vss_device::Event, Read),
    /// A plugin's process tells something. The second number counts the plugin's processes.
    Plugin(WorkerId, u64, Said),
    /// A plugin has opened its configuration, or not.
    Opened(WorkerId, u64, Option<Answer>),
    /// A plugin's process has had its time to load.
    LoadingOverdue(WorkerId, u64),
    /// The survey with this number has ended.
    Surveyed(u64, Box<survey::Findings>),
    /// What the cycle with this number will owe is written down.
    Noted(u64),
    /// An operator asks.
    Control(Question, oneshot::Sender<Reply>),
    /// It is time to look after what an earlier daemon left.
    LookAfterDebts,
    /// A plugin has let go of what an earlier daemon left, or not.
    DebtAnswered(WorkerId, Option<Answer>),
    /// The flush of the cycle with this number is over.
    Flushed(u64),
    /// The look of the cycle with this number before its first suspend is over.
    Scanned(u64, Box<mapped::Look>),
    /// The look of the cycle with this number before its release is over.
    ScannedAgain(u64, Box<mapped::Look>),
    /// A holder's call has ended.
    StepEnded(steps::StepId, Option<Answer>),
    /// A holder's call has passed its limit.
    Overdue(steps::StepId),
    /// An observer has dealt with what it was told, or not.
    Observed(WorkerId, u64, Option<Answer>),
    /// A plugin's process may be started again.
    Restart(WorkerId, u64),
    /// A signal, or an operator's word.
    Operator(Order),
}

/// When a request was taken from the driver, on both clocks. It may have lain in our queue since, and the machine may have slept meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    at: Monotonic,
    wall_ns: u64,
}

impl Read {
    /// Now.
    #[must_use]
    pub fn now(clock: &Clock) -> Self {
        Self { at: clock.now(), wall_ns: clock.wall_ns() }
    }
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

/// All that lies outside of the engine, and that it works with.
pub struct Outside {
    /// Where it has the time from.
    pub clock: Clock,
    /// Where requests come from and answers go to.
    pub port: Port,
    /// How its children are started.
    pub programs: Programs,
    /// Who writes to disks for it.
    pub scribe: Scribe,
    /// The judged directory for what has to outlive it; none: it can't be used, or not be trusted.
    pub state: Option<PathBuf>,
}

/// The engine.
pub struct Engine {
    config: Config,
    /// The directory for what has to outlive us; none: it can't be used, or not be trusted.
    state: Option<PathBuf>,
    limits: Limits,
    journal: Journal,
    clock: Clock,
    port: Port,
    programs: Programs,
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
    observers: Observers,
    /// Counts surveys and cycles: what an earlier one brings is dropped.
    serial: u64,
    survey: Survey,
    /// Inputs that actions have led to, not yet given to the cycle.
    inputs: VecDeque<Input>,
    flush_beside: Option<flush::Beside>,
    flushed_in_background: Option<Monotonic>,
    state_since: Monotonic,
    rehearsal: Option<RehearsalWish>,
    /// The operator who asked whether a backup would work, and when.
    outlook: Option<(oneshot::Sender<Reply>, Monotonic)>,
    /// The answer to an operator's check, until the cycle says whether it is possible now.
    asks: Option<oneshot::Sender<Reply>>,
    /// What the survey for an operator has found.
    found: Option<survey::Findings>,
    /// Why the backup was lost whose THAW has yet to come, or fails.
    lost: String,
    history: History,
    tally: Tally,
    scribe: Scribe,
    /// This boot of the machine: read once, since later there may be no descriptor to do it with.
    boot: String,
    /// What an earlier daemon left.
    debts: debts::Debts,
    families: families::Families,
    /// When the in-base driver was last given the success of a THAW, which it then passes on to an application.
    thaw_passed_on: Option<Monotonic>,
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
    scan: Option<StepMark>,
    hold: Option<StepMark>,
    /// Where it is noted what this cycle owes.
    noted: Vec<PathBuf>,
    scripts: HashMap<(WorkerId, String, Phase), StepMark>,
    /// What holders said when they failed.
    sayings: HashMap<HolderId, String>,
    deaths: HashMap<WorkerId, String>,
    refusals: Vec<String>,
    changed: String,
    /// What is mapped, and keeps the freeze from going on.
    mapped: String,
    /// What the look before the first suspend was at.
    looked_at: Option<(Vec<hv_vss_platform::mounts::Mount>, mapped::Looker)>,
    /// Applications whose thaw was begun and has not run to its end, with the reason.
    unthawed: HashMap<HolderId, String>,
}

/// Where a survey stands.
enum Survey {
    None,
    /// It begins when all plugins that are being started are ready, or known not to get so.
    /// With the reasons against it that are known already.
    WaitsForPlugins(Vec<String>),
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
            scan: None,
            hold: None,
            noted: Vec::new(),
            scripts: HashMap::new(),
            sayings: HashMap::new(),
            deaths: HashMap::new(),
            refusals: Vec::new(),
            changed: String::new(),
            mapped: String::new(),
            looked_at: None,
            unthawed: HashMap::new(),
        }
    }
}

impl RehearsalWish {
    /// Leaves out of the plan what is not to be rehearsed. False when nobody is left who could do what is.
    fn narrow(&self, plan: &mut Plan, roster: &mut Roster) -> bool {
        if !self.freeze {
            plan.filesystems.clear();
        }
        let Some(only) = &self.only else { return true };
        plan.apps.retain(|app| roster.name(app.worker).replace('-', "_") == SCRIPTS);
        for app in &plan.apps {
            // It plans all its scripts in the survey, which is not told of rehearsals; the record of what is owed is made of these.
            if let Some(plugin) = roster.get_mut(app.worker) {
                plugin.planned.retain(|script| script == only);
            }
        }
        !plan.apps.is_empty()
    }
}

impl Engine {
    /// An engine in these surroundings. `events` is where the device's thread, signals and operators send what happens.
    #[must_use]
    pub fn new(
        config: Config,
        journal: Journal,
        outside: Outside,
        (sender, events): (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    ) -> Self {
        let Outside { clock, port, programs, scribe, state } = outside;
        let limits = Self::limits_with(&config, &port);
        let roster = Roster::new(&config, state.clone(), programs.clone(), clock.clone(), sender.clone());
        let history = state.as_ref().map_or_else(History::default, |state| crate::state::history(&state.join(HISTORY)));
        Self {
            config,
            state,
            limits,
            journal,
            state_since: clock.now(),
            clock,
            port,
            programs,
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
            observers: Observers::default(),
            serial: 0,
            survey: Survey::None,
            inputs: VecDeque::new(),
            flush_beside: None,
            flushed_in_background: None,
            rehearsal: None,
            outlook: None,
            asks: None,
            found: None,
            lost: String::new(),
            history,
            tally: Tally::default(),
            scribe,
            boot: boot::id().unwrap_or_default(),
            debts: debts::Debts::default(),
            families: families::Families::default(),
            thaw_passed_on: None,
            exit: false,
        }
    }

    /// The driver in base has its 15 s in its code; ours tells. The configuration may lower either.
    fn limits_with(config: &Config, port: &Port) -> Limits {
        let mut limits = config.limits;
        let (all, freeze) = match port.driver() {
            Driver::Base => (Some(BASE_LIMIT), Some(BASE_LIMIT)),
            Driver::Ours => (hv_vss_platform::driver::time_limit(), hv_vss_platform::driver::freeze_time_limit()),
        };
        for (limit, driver) in [(&mut limits.limit, all), (&mut limits.freeze_limit, freeze)] {
            match driver {
                Some(driver) if config.limit_is_given => *limit = driver.min(*limit),
                Some(driver) => *limit = driver,
                None => {}
            }
        }
        limits
    }

    fn filesystem_held(&self) -> bool {
        self.cycle.run().is_some_and(hv_vss_core::cycle::Run::filesystem_held)
    }

    fn words(&self) -> Words<'_> {
        Words {
            plan: &self.current.plan,
            roster: &self.roster,
            sayings: &self.current.sayings,
            deaths: &self.current.deaths,
            refusals: &self.current.refusals,
            changed: &self.current.changed,
            lost: &self.lost,
            mapped: &self.current.mapped,
            run: self.cycle.run(),
        }
    }

    fn mount_source(&self) -> Source {
        self.config.mount_table.clone().map_or(Source::Kernel, Source::File)
    }

    fn conclude(&mut self, result: CycleResult, why: Why) {
        let sentence = self.words().because(why);
        if let Some(recorder) = &mut self.current.recorder {
            let record = recorder.so_far();
            if record.kind == Kind::Backup && record.ending.result.is_none() && result != CycleResult::Ok {
                self.lost.clone_from(&sentence);
            }
            recorder.concluded(result, &sentence);
        }
    }

    fn kind_of(purpose: Purpose) -> Kind {
        match purpose {
            Purpose::Check => Kind::Check,
            Purpose::Freeze => Kind::Backup,
            Purpose::Rehearsal | Purpose::Outlook => Kind::Rehearsal,
        }
    }
}

/// The plugin that runs the scripts of hooks.d.
const SCRIPTS: &str = "exec_hook";
/// The history's name in the state directory.
const HISTORY: &str = "history.jsonl";
const MOST_RESTARTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
