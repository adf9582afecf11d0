//! Would a backup work? Found out without the daemon, as it would find it out: the same configuration, the same plan, plugins in processes of their
//! own that are thrown away afterwards. Nothing is frozen and nothing is changed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_platform::mounts::{self, Mount, Source};
use hv_vss_wire::{About, Answer, Call, Claim, Event, Outcome, Step};
use hv_vss_worker::conformance::subject::{Ended, Subject};

use super::findings::{Asked, Findings};
use crate::hooks;
use crate::settings::{self, Settings};
use hv_vss_core::config::{Config, PluginConfig, same_name};
use hv_vss_core::control::{MountOutlook, Outlook, PluginStatus};
use hv_vss_core::cycle::WorkerId;
use hv_vss_core::plan::{App, Judged, Judging, Plan, Verdict};
use hv_vss_daemon::absent;
use hv_vss_daemon::plugin_files;

/// How long a plugin may take to load, and to open its settings.
const STARTING: Duration = Duration::from_secs(10);
/// The place of a plugin that has none of its own.
const DEFAULT_NUMBER: u8 = 50;

/// A plugin in a process of its own.
struct Tried {
    name: String,
    config: PluginConfig,
    /// Ready for calls, or why not.
    worker: Result<(Subject, About), String>,
    /// No backup waits for it.
    observes: bool,
}

/// Finds out.
pub(super) fn findings(settings: &Settings, asked: Asked) -> Findings {
    let config = &settings.config;
    let began = clock::now();
    let mut reasons: Vec<String> = settings.distrusted().into_iter().collect();
    if let Err(error) = fs::metadata(&config.node) {
        reasons.push(format!(
            "the device node {} can't be found ({error}): this is no virtual machine on Hyper-V, its host offers no backup, or the driver is not loaded",
            config.node.display()
        ));
    }
    let mut plugins = start_all(config, &mut reasons);
    plugins.sort_by(|one, other| (one.number(), &one.name).cmp(&(other.number(), &other.name)));
    let deadline = began + config.limits.limit;
    let judged = claims(config, &mut plugins, deadline, &mut reasons);
    let apps = checks(&mut plugins, deadline, &mut reasons);
    let took_ms = u64::try_from(began.until(clock::now()).as_millis()).unwrap_or(u64::MAX);

    let mounts = judged.iter().map(|judged| shown(judged, &plugins)).collect();
    let applications = apps.iter().map(|app| (app.number, plugins[app.worker.0].name.clone())).collect();
    let freeze_order = match Plan::make(apps, judged, |_| false) {
        Ok(plan) => plan.filesystems.into_iter().map(|step| step.mount.on).collect(),
        Err(vetoes) => {
            reasons.extend(vetoes);
            Vec::new()
        }
    };
    let limit = hv_vss_platform::driver::time_limit().filter(|_| !config.limit_is_given).unwrap_or(config.limits.limit);
    let plugins: Vec<PluginStatus> = plugins.iter().map(Tried::status).collect();
    let outlook = Outlook {
        would_work: reasons.is_empty(),
        reasons,
        mounts,
        freeze_order,
        applications,
        took_ms,
        limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
    };
    Findings {
        would_work: outlook.would_work,
        asked,
        hooks: hooks::see(config, Some(&plugins)),
        outlook,
        plugins,
        warnings: Vec::new(),
        last: None,
    }
}

/// Every plugin that is there and not left out.
fn start_all(config: &Config, reasons: &mut Vec<String>) -> Vec<Tried> {
    let directory = &config.paths.plugins;
    let files = match plugin_files::find(directory) {
        Ok(files) => files,
        Err(error) => {
            reasons.push(format!("can't read the plugin directory {}: {error}", directory.display()));
            return Vec::new();
        }
    };
    match plugin_files::none_in(directory, &files) {
        Some(none) => reasons.push(none),
        None => reasons.extend(absent::reasons(config, |name| files.keys().any(|file| same_name(file, name)))),
    }
    let mut plugins = Vec::new();
    for (name, file) in files {
        let own = config.plugin(&name);
        if !file.default.enabled(&own) {
            continue;
        }
        let mut observes = false;
        let worker = start(&config.paths.worker, &file.path, &own, &mut observes);
        if let Err(why) = &worker
            && !observes
            && own.required != Some(false)
        {
            reasons.push(format!(
                "plugin {name} {why}; repair it, or set required = false or enabled = false in [plugin.{name}]"
            ));
        }
        plugins.push(Tried { name, config: own, worker, observes });
    }
    plugins
}

fn start(program: &Path, file: &Path, config: &PluginConfig, observes: &mut bool) -> Result<(Subject, About), String> {
    // As the daemon starts it, so that a limit that is too low shows here.
    let options: Vec<String> =
        config.process_limits.iter().flat_map(|(key, value)| [format!("--{key}"), value.clone()]).collect();
    let trusted = settings::program(program).map_err(|why| format!("can't be started: {why}"))?;
    let mut worker = Subject::start(&trusted, file, &options)
        .map_err(|error| format!("can't be started by {}: {error}", program.display()))?;
    let about = loop {
        match worker.event(clock::now() + STARTING) {
            Ok(Some(Event::Loaded { about, .. })) => break about,
            Ok(Some(Event::Unfit { reason })) => return Err(format!("can't be used: {reason}")),
            Ok(Some(_)) => {}
            Ok(None) => return Err(format!("was not loaded within {STARTING:?}")),
            Err(how) => return Err(format!("can't be used: {how}")),
        }
    };
    *observes = about.observer;
    match worker.call(Call::Open { config: config.settings.clone() }, STARTING) {
        Ended::Answered(Answer::Done { .. }) => Ok((worker, about)),
        Ended::Answered(Answer::Refused { reason } | Answer::Broken { reason }) => {
            Err(format!("can't be used: {reason}"))
        }
        Ended::Died(how) => Err(format!("can't be used: {how}")),
        Ended::TimedOut => Err(format!("did not open its settings within {STARTING:?}")),
    }
}

fn claims(config: &Config, plugins: &mut [Tried], deadline: Monotonic, reasons: &mut Vec<String>) -> Vec<Judged> {
    let source = config.mount_table.clone().map_or(Source::Kernel, Source::File);
    let mounts: Vec<Mount> = mounts::read(&source).unwrap_or_else(|error| {
        reasons.push(format!("the mount table can't be read, so nobody knows what a backup would hold: {error}"));
        Vec::new()
    });
    let mut judging = Judging::begin(mounts, &config.exemptions);
    for (at, plugin) in plugins.iter_mut().enumerate() {
        let Ok((_, About { filesystem: true, .. })) = &plugin.worker else { continue };
        let call = Call::Claim { step: step(deadline), mounts: judging.undecided() };
        let said = plugin.answer(call, deadline).and_then(|claims| judging.said(WorkerId(at), &plugin.name, claims));
        reasons.extend(said.err());
    }
    judging.end()
}

fn checks(plugins: &mut [Tried], deadline: Monotonic, reasons: &mut Vec<String>) -> Vec<App> {
    let mut apps = Vec::new();
    for (at, plugin) in plugins.iter_mut().enumerate() {
        let Ok((_, about)) = &plugin.worker else { continue };
        if about.observer {
            continue;
        }
        let (application, filesystem) = (about.application, about.filesystem);
        match plugin.answer(Call::Check(step(deadline)), deadline) {
            Ok(_) if application => apps.push(App { worker: WorkerId(at), number: plugin.number() }),
            Ok(_) => {}
            Err(reason) if filesystem || plugin.config.required != Some(false) => reasons.push(reason),
            Err(_) => {}
        }
    }
    apps
}

fn step(deadline: Monotonic) -> Step {
    Step { cycle: "check".to_owned(), outcome: Outcome::Ok, deadline, mounts: Vec::new() }
}

fn shown(judged: &Judged, plugins: &[Tried]) -> MountOutlook {
    let name = |worker: WorkerId| plugins.get(worker.0).map_or("?", |plugin| &plugin.name).to_owned();
    let (verdict, by, reason) = match &judged.verdict {
        Verdict::Freeze(worker) => ("freeze", name(*worker), String::new()),
        Verdict::Ignore { by, reason } => ("ignore", by.clone(), reason.clone()),
        Verdict::Veto { by, reason } => ("veto", by.clone(), reason.clone()),
    };
    MountOutlook { mount: judged.mount.clone(), verdict: verdict.to_owned(), by, reason }
}

impl Tried {
    fn number(&self) -> u8 {
        let own = self.worker.as_ref().ok().and_then(|(_, about)| about.number);
        self.config.number.or(own).unwrap_or(DEFAULT_NUMBER)
    }

    fn answer(&mut self, call: Call, deadline: Monotonic) -> Result<Vec<Claim>, String> {
        let name = &self.name;
        let Ok((worker, _)) = &mut self.worker else { return Err(format!("plugin {name} does not run")) };
        match worker.call(call, clock::now().until(deadline)) {
            Ended::Answered(Answer::Done { claims, .. }) => Ok(claims),
            Ended::Answered(Answer::Refused { reason }) => Err(format!("{name}: {reason}")),
            Ended::Answered(Answer::Broken { reason }) => Err(format!("plugin {name} is broken: {reason}")),
            Ended::Died(how) => Err(format!("plugin {name} {how} while it was asked whether a backup would work")),
            Ended::TimedOut => Err(format!("plugin {name} did not answer in time whether a backup would work")),
        }
    }

    fn status(&self) -> PluginStatus {
        let about = self.worker.as_ref().ok();
        PluginStatus {
            name: self.name.clone(),
            version: about.map(|(_, about)| about.version.clone()),
            description: about.map(|(_, about)| about.description.clone()),
            number: self.number(),
            // Its process ends with this program.
            pid: None,
            filesystem: about.is_some_and(|(_, about)| about.filesystem),
            application: about.is_some_and(|(_, about)| about.application),
            observer: self.observes,
            trouble: self.worker.as_ref().err().cloned(),
            restarts: 0,
        }
    }
}
