//! The plugin's calls: check, freeze, thaw.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hv_vss_platform::reaper;
use hv_vss_plugin::{About, Failure, Level, Opening, Outcome, Plugin, Progress, Step};

use crate::message::Message;
use crate::name::{self, HookName, Phase, Reading};
use crate::order::{Ledger, freeze_groups};
use crate::run::{self, End, Ended, Job, Kept, Rules, Then};
use crate::settings::{Need, Settings};
use crate::spawn::{self, Program};
use crate::survey::{Surveyed, Verdict, fit_to_run, survey};
use crate::user;
use crate::user::Identity;

/// Of a call's time, the part kept back for killing, reaping and answering, and at most how much.
const KEPT_BACK_PART: u32 = 10;
const KEPT_BACK_MOST: Duration = Duration::from_millis(300);
/// How often it is tried whether there are descriptors again: nobody tells.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The plugin.
pub struct ExecHook {
    settings: Settings,
    ledger: Ledger,
    kept: Kept,
    users: BTreeMap<String, Identity>,
    marks: u64,
    told_of_missing_directory: bool,
    /// Whether this process has been asked to freeze or thaw before.
    served: Served,
}

/// Whether a process knows by itself what its plugin owes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// It is new: what is owed was begun by an earlier process.
    NotYet,
    Before,
}

/// What the directory holds, judged for this cycle.
#[derive(Default)]
struct Plan {
    hooks: Vec<HookName>,
    /// Why the backup must not start, one for each file.
    problems: Vec<String>,
}

impl Plugin for ExecHook {
    const ABOUT: About =
        About::application("exec_hook", env!("CARGO_PKG_VERSION"), "Runs the scripts in hooks.d around the freeze")
            .with_number(50);

    fn open(opening: Opening<'_>) -> Result<Self, Failure> {
        let settings = Settings::read(&opening.config)?;
        reaper::acquire().map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(Self {
            settings,
            ledger: Ledger::default(),
            kept: Kept::default(),
            users: BTreeMap::new(),
            marks: 0,
            told_of_missing_directory: false,
            served: Served::NotYet,
        })
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        reap_orphans(step);
        self.plan(step).into_result()?;
        Ok(())
    }

    fn freeze(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        reap_orphans(step);
        self.served = Served::Before;
        let plan = self.plan(step);
        self.ledger.begin(&plan.hooks);
        let hooks = plan.into_result()?;
        let until = until(step);
        let message = Message::of(Phase::Freeze, step);
        for group in freeze_groups(&hooks) {
            let names = names(&group);
            if step.cancelled() {
                return Err(Failure::Refused(format!("the freeze was given up before {names}")));
            }
            if Instant::now() >= until {
                return Err(Failure::Refused(format!("no time was left to run {names}")));
            }
            let failures = self.run(step, Phase::Freeze, &group, &message, Share { until, groups: 1 });
            if !failures.is_empty() {
                return Err(Failure::Refused(failures.join("; ")));
            }
        }
        Ok(())
    }

    fn thaw(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        reap_orphans(step);
        let until = until(step);
        wait_for_descriptors(step, Share { until, groups: 1 });
        self.inherit(step);
        let message = Message::of(Phase::Thaw, step);
        let groups = self.ledger.thaw_groups();
        for (done, group) in groups.iter().enumerate() {
            let share = Share { until, groups: groups.len() - done };
            wait_for_descriptors(step, share);
            // What fails here has been reported; the others run all the same, and what the host hears does not change.
            self.run(step, Phase::Thaw, group, &message, share);
        }
        self.kept = Kept::default();
        reap_orphans(step);
        Ok(())
    }
}

/// The time that the groups still to come have together.
#[derive(Clone, Copy)]
struct Share {
    until: Instant,
    /// After a thaw each group gets its part of the time, so that one that hangs does not eat up what the others are owed. Before a freeze all
    /// must succeed anyway, and each may take what it needs.
    groups: usize,
}

impl Share {
    fn limit(self) -> Duration {
        let groups = u32::try_from(self.groups).unwrap_or(u32::MAX).max(1);
        self.until.saturating_duration_since(Instant::now()) / groups
    }
}

impl Plan {
    /// A rehearsal of one hook: the others are not run, and not owed anything either.
    fn narrow(&mut self, only: &str, directory: &Path) {
        self.hooks.retain(|hook| hook.file == only);
        if self.hooks.is_empty() {
            let text = format!("no {only} to rehearse in {} (`vssctl hooks` lists what is there)", directory.display());
            self.problems.push(text);
        }
    }

    fn problem(&mut self, step: &Step<'_>, need: Need, text: String) {
        match need {
            Need::Required => {
                step.log(Level::Error, &text);
                self.problems.push(text);
            }
            Need::Optional => step.log(Level::Warn, &format!("{text} (not required: backups go on without it)")),
        }
    }

    fn into_result(self) -> Result<Vec<HookName>, Failure> {
        match self.problems.as_slice() {
            [] => Ok(self.hooks),
            [only] => Err(Failure::Refused(format!("a hook would not run: {only}"))),
            all => Err(Failure::Refused(format!("{} hooks would not run: {}", all.len(), all.join("; ")))),
        }
    }
}

impl ExecHook {
    /// Takes over what an earlier process began.
    fn inherit(&mut self, step: &Step<'_>) {
        for name in step.owed() {
            match name::read(name.as_ref()) {
                Reading::Hook(hook) => self.ledger.inherit([hook]),
                Reading::Skipped(_) | Reading::Refused(_) => {
                    step.log(
                        Level::Error,
                        &format!("{} is said to be owed its thaw, and is no hook", name.escape_debug()),
                    );
                }
            }
        }
        // A record from disk names every hook that is left. An orchestrator that lives names those that were started, and asks only after a freeze
        // has begun: then each .post-thaw is owed, too.
        let named_by_record = matches!(step.outcome(), Outcome::Recovered | Outcome::Restored);
        if self.served == Served::NotYet && !named_by_record {
            let files = survey(&self.settings.directory).unwrap_or_default();
            self.ledger.begin(&files.into_iter().filter_map(Surveyed::into_hook).collect::<Vec<_>>());
        }
        self.served = Served::Before;
    }

    /// Judges the directory, says what will run, and collects all that stands in the way.
    fn plan(&mut self, step: &Step<'_>) -> Plan {
        let mut plan = Plan::default();
        let files = survey(&self.settings.directory).unwrap_or_else(|error| {
            if !error.is_missing() {
                plan.problems.push(error.to_string());
            } else if !self.told_of_missing_directory {
                self.told_of_missing_directory = true;
                let directory = self.settings.directory.display();
                let text = format!(
                    "there is no hook directory {directory}: backups go on without hooks (create it, or correct `directory` in [plugin.exec_hook])"
                );
                step.log(Level::Warn, &text);
            }
            Vec::new()
        });
        for file in &files {
            let settings = self.settings.of(&file.name);
            let problem = match &file.verdict {
                Verdict::Skipped(why) => {
                    step.log(Level::Debug, &format!("{} is skipped: {why}", file.name));
                    continue;
                }
                Verdict::Refused(why) => why.clone(),
                Verdict::Runs { hook, .. } => match settings.user.map(|name| user::look_up(&name)).transpose() {
                    Ok(who) => {
                        self.users.extend(who.map(|who| (hook.file.clone(), who)));
                        plan.hooks.push(hook.clone());
                        continue;
                    }
                    Err(why) => why,
                },
            };
            plan.problem(step, settings.need, format!("{} is refused: {problem}", file.name));
        }
        for (named, settings) in self.settings.named() {
            if !files.iter().any(|file| file.name == named) {
                let directory = self.settings.directory.display();
                let text = format!("{named}: the configuration names it, and {directory} has no such file");
                plan.problem(step, settings.need, text);
            }
        }
        if let Some(only) = step.only() {
            plan.narrow(only, &self.settings.directory);
        }
        for hook in &plan.hooks {
            for phase in hook.form.phases() {
                step.substep(&hook.file, (*phase).into(), Progress::Planned);
            }
        }
        plan
    }

    /// Runs one group, reports each script, and gives the sentences about those whose failure counts.
    fn run(
        &mut self,
        step: &Step<'_>,
        phase: Phase,
        group: &[HookName],
        message: &Message,
        share: Share,
    ) -> Vec<String> {
        let limits: Vec<Duration> = group.iter().map(|hook| self.limit(hook).min(share.limit())).collect();
        let jobs = group.iter().zip(&limits).map(|(hook, limit)| self.job(hook, phase, message, *limit)).collect();
        for hook in group {
            if phase == Phase::Freeze {
                self.ledger.starting(hook);
            }
            step.substep(&hook.file, phase.into(), Progress::Started);
        }
        let Self { settings, ledger, kept, .. } = self;
        let mut failures = Vec::new();
        let mut on_end = |ended: Ended| {
            let hook = &group[ended.job];
            match phase {
                Phase::Freeze if matches!(ended.end, End::NeverRan(_) | End::NotStarted) => ledger.never_ran(hook),
                Phase::Freeze => {}
                Phase::Thaw => ledger.settled(hook),
            }
            // What was never started did not fail: it is a consequence.
            let counts = phase == Phase::Freeze
                && ended.end != End::NotStarted
                && settings.of(&hook.file).need == Need::Required;
            let failure = failure(&hook.file, phase, limits[ended.job], &ended);
            tell(step, &hook.file, phase, &ended, failure.as_deref(), if counts { Level::Error } else { Level::Warn });
            if phase == Phase::Freeze && !ledger.owes(&hook.file) {
                // What was reported as started counts as owed until its thaw is; this one has none.
                step.substep(&hook.file, Phase::Thaw.into(), Progress::Ended);
            }
            match failure {
                Some(sentence) if counts => {
                    // What was killed because of another's failure comes after that failure.
                    let at = if ended.end == End::GivenUp { failures.len() } else { 0 };
                    failures.insert(at, sentence);
                    Then::GiveUp
                }
                _ => Then::GoOn,
            }
        };
        let given_up = || phase == Phase::Freeze && step.cancelled();
        run::group(jobs, &Rules { until: share.until, given_up: &given_up }, kept, &mut on_end);
        failures
    }

    fn limit(&self, hook: &HookName) -> Duration {
        self.settings.of(&hook.file).limit.unwrap_or(self.settings.limit)
    }

    /// Makes a script ready to be started. It is judged once more: since the last time somebody may have been at it.
    fn job(&mut self, hook: &HookName, phase: Phase, message: &Message, limit: Duration) -> Result<Job, String> {
        let path = fit_to_run(&self.settings.directory, &hook.file)?;
        let identity = match (self.users.get(&hook.file), self.settings.of(&hook.file).user) {
            (Some(known), _) => Some(known.clone()),
            (None, Some(name)) => Some(user::look_up(&name)?),
            (None, None) => None,
        };
        self.marks += 1;
        let mark = format!("{}-{}", std::process::id(), self.marks);
        let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| "its path has a null byte".to_owned());
        let program = Program {
            path: c_string(path.as_os_str().as_bytes())?,
            argument: c_string(phase.to_string().as_bytes())?,
            environment: message.environment(identity.as_ref(), limit, &mark),
            identity,
        };
        Ok(Job { program, input: message.input(limit), limit, mark })
    }
}

impl From<Phase> for hv_vss_plugin::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Freeze => Self::Freeze,
            Phase::Thaw => Self::Thaw,
        }
    }
}

/// Reports one script's end: what it said to the log, how it ended to the timeline.
fn tell(step: &Step<'_>, file: &str, phase: Phase, ended: &Ended, failure: Option<&str>, gravity: Level) {
    let level = if failure.is_some() { Level::Warn } else { Level::Info };
    for line in ended.output.lines() {
        step.log(level, &format!("{file} {phase}: {line}"));
    }
    match failure {
        None => step.substep(file, phase.into(), Progress::Ended),
        Some(sentence) => {
            step.substep(file, phase.into(), Progress::Failed(sentence));
            step.log(if phase == Phase::Thaw { Level::Error } else { gravity }, sentence);
        }
    }
}

/// The sentence about a script that did not end well.
fn failure(file: &str, phase: Phase, limit: Duration, ended: &Ended) -> Option<String> {
    let took = ended.took;
    let mut text = match &ended.end {
        End::Well => return None,
        End::Status(code) => format!("{file} {phase} failed with exit status {code} after {took:.1?}"),
        End::Signal(signal) => format!("{file} {phase} was ended by {signal} after {took:.1?}"),
        End::TooLong => format!("{file} {phase} did not end within {limit:.1?} and was killed"),
        End::GivenUp => format!("{file} {phase} was killed after {took:.1?}, since the freeze was given up"),
        End::NeverRan(why) => return Some(format!("{file} {phase} did not run: {why}")),
        End::NotStarted => return Some(format!("{file} {phase} was not started, since the freeze was given up")),
    };
    if ended.killed > 1 {
        text.push_str(&format!(" with {} processes it had started", ended.killed - 1));
    }
    if ended.lingers {
        text.push_str(", but is not gone yet: it waits for a disk");
    }
    if let Some(words) = ended.output.last_line() {
        text.push_str(&format!("; its last words: {words}"));
    }
    Some(text)
}

fn names(group: &[HookName]) -> String {
    group.iter().map(|hook| hook.file.as_str()).collect::<Vec<_>>().join(", ")
}

/// By when the last script must be gone.
fn until(step: &Step<'_>) -> Instant {
    let left = step.time_left();
    Instant::now() + left.saturating_sub((left / KEPT_BACK_PART).min(KEPT_BACK_MOST))
}

/// A freeze for which there are no descriptors is refused; a thaw is owed, and there may be some again in a moment. It waits for half of its time.
fn wait_for_descriptors(step: &Step<'_>, share: Share) {
    let patience = share.limit() / 2;
    let began = Instant::now();
    let Err(error) = spawn::has_room() else { return };
    step.log(Level::Warn, &format!("no thaw can be started yet, which is tried for {patience:.1?} more: {error}"));
    while began.elapsed() < patience && spawn::has_room().is_err() {
        thread::sleep(BETWEEN_TRIES);
    }
}

/// What scripts leave in the background is ours once its parents are gone, and so is burying it.
fn reap_orphans(step: &Step<'_>) {
    if let Err(error) = reaper::reap_orphans(&[]) {
        step.log(Level::Warn, &error.to_string());
    }
}
