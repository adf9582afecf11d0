//! The plugins: which there are, which of them run, and why the others don't. A plugin keeps its number here for the daemon's whole life,
//! whatever becomes of its processes.

mod plugin;

use std::path::PathBuf;

use hv_vss_platform::clock::Clock;
use hv_vss_wire::{About, Answer, Call};
use tokio::sync::mpsc;

use crate::child::{self, Launch, Programs, Said};
use crate::engine::{Engine, Event};
use crate::plugin_files;
use crate::sleep::Later;
use hv_vss_core::config::{Config, same_name};
use hv_vss_core::cycle::WorkerId;
use plugin::FileId;
pub(super) use plugin::{Plugin, State};

/// All plugins.
pub(super) struct Roster {
    plugins: Vec<Plugin>,
    worker_program: PathBuf,
    directory: PathBuf,
    state: Option<PathBuf>,
    programs: Programs,
    clock: Clock,
    events: mpsc::UnboundedSender<Event>,
    /// Why the directory can't be read, if it can't.
    unreadable: Option<String>,
}

/// Which plugins something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those that may hold something, and those of which nobody knows yet what they are.
    Holders,
    /// Those that are only told.
    Observers,
    /// All.
    Everybodys,
}

/// How long a plugin may take to end when the daemon does. It holds nothing by then.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);
/// How long a plugin may take to be loaded, and then to open its configuration.
const OPENING: std::time::Duration = std::time::Duration::from_secs(10);

impl Roster {
    pub(super) fn new(
        config: &Config,
        state: Option<PathBuf>,
        programs: Programs,
        clock: Clock,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            plugins: Vec::new(),
            worker_program: config.paths.worker.clone(),
            directory: config.paths.plugins.clone(),
            state,
            programs,
            clock,
            events,
            unreadable: None,
        }
    }

    /// Looks at the plugin directory: new files get a place, places whose file is gone are left empty.
    pub(super) fn look(&mut self, config: &Config) {
        let found = match plugin_files::find(&self.directory) {
            Ok(found) => found,
            Err(error) => {
                self.unreadable =
                    Some(format!("can't read the plugin directory {}: {error}", self.directory.display()));
                return;
            }
        };
        self.unreadable = plugin_files::none_in(&self.directory, &found);
        for (name, file) in &found {
            if let Some(known) = self.plugins.iter_mut().find(|plugin| plugin.name == *name) {
                // One that was moved counts as replaced by what lies where it is now.
                (known.file, known.default) = (file.path.clone(), file.default);
                continue;
            }
            self.plugins.push(Plugin {
                name: name.clone(),
                file: file.path.clone(),
                default: file.default,
                config: config.plugin(name),
                state: State::Absent("has not been started yet".to_owned()),
                generation: 0,
                loaded: None,
                owed: Vec::new(),
                planned: Vec::new(),
                owed_by: 0,
                restarts: 0,
                observes: false,
                wanted: false,
                loading: None,
            });
        }
        self.plugins.iter_mut().filter(|plugin| !found.contains_key(&plugin.name)).for_each(|plugin| {
            plugin.state = State::Absent(format!("is no longer there: {} was removed", plugin.file.display()));
        });
    }

    /// The configuration has changed: plugins whose part of it did are let go, to be started with the new one.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.worker_program.clone_from(&config.paths.worker);
        self.directory.clone_from(&config.paths.plugins);
        for plugin in &mut self.plugins {
            let now = config.plugin(&plugin.name);
            if now != plugin.config {
                plugin.config = now;
                plugin.let_go("is being restarted with its new configuration");
            }
        }
    }

    pub(super) fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// How often a process had to be started again, of all plugins together.
    pub(super) fn restarts(&self) -> u64 {
        self.plugins.iter().map(|plugin| plugin.restarts).sum()
    }

    /// The plugins that are not disabled.
    pub(super) fn each(&self) -> impl Iterator<Item = (WorkerId, &Plugin)> {
        self.plugins
            .iter()
            .enumerate()
            .map(|(at, plugin)| (WorkerId(at), plugin))
            .filter(|(_, plugin)| plugin.enabled())
    }

    /// Is, or was, there a file of this plugin?
    pub(super) fn knows(&self, name: &str) -> bool {
        self.plugins.iter().any(|plugin| same_name(&plugin.name, name))
    }

    /// The names of those without which every backup is refused.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        let missing = self.each().filter(|(_, plugin)| plugin.required() && matches!(plugin.state, State::Absent(_)));
        missing.map(|(_, plugin)| plugin.name.as_str())
    }

    pub(super) fn each_mut(&mut self) -> impl Iterator<Item = (WorkerId, &mut Plugin)> {
        self.plugins.iter_mut().enumerate().map(|(at, plugin)| (WorkerId(at), plugin))
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&Plugin> {
        self.plugins.get(worker.0)
    }

    pub(super) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Plugin> {
        self.plugins.get_mut(worker.0)
    }

    pub(super) fn name(&self, worker: WorkerId) -> &str {
        self.plugins.get(worker.0).map_or("?", |plugin| &plugin.name)
    }

    /// The plugin whose process this event is from; `None` for one that was replaced.
    pub(super) fn current(&mut self, worker: WorkerId, generation: u64) -> Option<&mut Plugin> {
        self.plugins.get_mut(worker.0).filter(|plugin| plugin.generation == generation)
    }

    /// Names of plugins whose file is not the one that runs, but for observers.
    pub(super) fn replaced(&self) -> Vec<String> {
        let replaced = self.plugins.iter().filter(|plugin| !plugin.observes && plugin.replaced());
        replaced.map(|plugin| plugin.name.clone()).collect()
    }

    /// Lets go of processes whose file was replaced; [`start_absent`](Self::start_absent) starts the new ones.
    pub(super) fn drop_replaced(&mut self, whose: Whose) {
        for plugin in self.plugins.iter_mut().filter(|plugin| plugin.is_among(whose) && plugin.replaced()) {
            tracing::info!(
                "plugin {}: {} was replaced; its process is started anew",
                plugin.name,
                plugin.file.display()
            );
            plugin.let_go("is being restarted, since its file was replaced");
            // The new one may be anything.
            plugin.observes = false;
        }
    }

    /// Starts every one of these plugins that has no process.
    pub(super) fn start_absent(&mut self, whose: Whose) {
        for at in 0..self.plugins.len() {
            if self.plugins[at].is_among(whose) {
                self.start_if_absent(WorkerId(at));
            }
        }
    }

    fn start_if_absent(&mut self, worker: WorkerId) {
        let absent = |plugin: &&Plugin| matches!(plugin.state, State::Absent(_));
        if self.get(worker).filter(absent).is_some_and(|plugin| plugin.enabled() && plugin.file.exists()) {
            self.start(worker);
        }
    }

    /// An observer that has no process gets one when nothing is in work.
    pub(super) fn want_started(&mut self, worker: WorkerId) {
        if let Some(plugin) = self.plugins.get_mut(worker.0) {
            plugin.wanted = true;
        }
    }

    /// Starts those; to be called while nothing is in work.
    pub(super) fn start_wanted(&mut self) {
        for at in 0..self.plugins.len() {
            if std::mem::take(&mut self.plugins[at].wanted) {
                self.start_if_absent(WorkerId(at));
            }
        }
    }

    /// SIGKILL, and why; its end is an event.
    pub(super) fn kill(&self, worker: WorkerId, why: &'static str) {
        if let Some(handle) = self.get(worker).and_then(Plugin::handle) {
            handle.kill(why);
        }
    }

    /// Starts one plugin's process. Whether it gets ready, events tell.
    pub(super) fn start(&mut self, worker: WorkerId) {
        let Some(plugin) = self.plugins.get_mut(worker.0) else { return };
        plugin.generation += 1;
        // One that a reload has turned on had no process yet, though its generation has moved on.
        plugin.restarts += u64::from(plugin.loaded.is_some());
        plugin.loaded = FileId::of(&plugin.file);
        let mut options = Vec::new();
        if let Some(state) = &self.state {
            options.extend(["--owed".into(), Engine::owed_path(state, &plugin.name).into()]);
        }
        for (limit, value) in &plugin.config.process_limits {
            options.extend([format!("--{limit}").into(), value.into()]);
        }
        let (program, file) = (self.worker_program.clone(), plugin.file.clone());
        let launch = Launch { program, file, name: plugin.name.clone(), options };
        let (events, generation) = (self.events.clone(), plugin.generation);
        let overdue = events.clone();
        let told = move |said: Said| drop(events.send(Event::Plugin(worker, generation, said)));
        plugin.state = match child::start(&launch, &self.programs, &self.clock, told) {
            Ok(handle) => {
                // Its constructors run before it can say anything, and may hang.
                let latest = self.clock.now() + OPENING;
                let overdue = move || drop(overdue.send(Event::LoadingOverdue(worker, generation)));
                plugin.loading = Some(Later::at(self.clock.clone(), latest, overdue));
                State::Starting(handle, None)
            }
            Err(error) => {
                tracing::error!("{error}");
                State::Absent(error.to_string())
            }
        };
    }

    /// A process that has not said anything by now hangs in loading its plugin.
    pub(super) fn loading_overdue(&self, worker: WorkerId) {
        if let Some(State::Starting(handle, None)) = self.plugins.get(worker.0).map(|plugin| &plugin.state) {
            handle.kill("loading its plugin took too long");
        }
    }

    /// A process says what it has loaded: give it its configuration.
    pub(super) fn loaded(&mut self, worker: WorkerId, about: About) {
        let Some(plugin) = self.plugins.get_mut(worker.0) else { return };
        let State::Starting(handle, _) = &plugin.state else { return };
        let handle = handle.clone();
        plugin.observes = about.observer;
        let opening =
            handle.call(Call::Open { config: plugin.config.settings.clone() }, Some(self.clock.now() + OPENING));
        plugin.loading = None;
        plugin.state = State::Starting(handle, Some(about));
        let (events, generation) = (self.events.clone(), plugin.generation);
        tokio::task::spawn_local(async move {
            let answer = opening.answer().await;
            let _ = events.send(Event::Opened(worker, generation, answer));
        });
    }

    /// It has opened its configuration, or not.
    pub(super) fn opened(&mut self, worker: WorkerId, answer: Option<Answer>) {
        let Some(plugin) = self.plugins.get_mut(worker.0) else { return };
        let State::Starting(handle, Some(about)) = &plugin.state else { return };
        match answer {
            Some(Answer::Done { .. }) => {
                tracing::info!(
                    "plugin {} {} is ready (process {}): {}",
                    plugin.name,
                    about.version,
                    handle.pid,
                    about.description
                );
                plugin.state = State::Ready(handle.clone(), about.clone());
            }
            Some(Answer::Refused { reason } | Answer::Broken { reason }) => {
                tracing::error!("plugin {}: {reason}", plugin.name);
                plugin.state = State::Absent(format!("can't be used: {reason}"));
                plugin.generation += 1;
            }
            // Its end is reported by itself.
            None => {}
        }
    }

    /// Its process is gone.
    pub(super) fn gone(&mut self, worker: WorkerId, how: String) {
        let Some(plugin) = self.plugins.get_mut(worker.0) else { return };
        plugin.loading = None;
        // A sentence that says why it can't be used is worth more than how it then ended.
        if !matches!(plugin.state, State::Absent(_)) {
            plugin.state = State::Absent(how);
        }
    }

    /// Is a plugin being started that a backup may have to wait for?
    pub(super) fn is_starting(&self) -> bool {
        self.plugins.iter().any(|plugin| !plugin.observes && matches!(plugin.state, State::Starting(..)))
    }

    /// Tells every process to end. One that does not within its time is killed by whoever attends to it; each end is an event.
    pub(super) fn dismiss(&mut self) {
        for plugin in &self.plugins {
            if let Some(handle) = plugin.handle() {
                // Nobody waits for the answer: the end of the process is what counts.
                drop(handle.call(Call::Close, Some(self.clock.now() + FAREWELL)));
            }
        }
    }

    /// Is a process left?
    pub(super) fn has_processes(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin.handle().is_some())
    }
}
