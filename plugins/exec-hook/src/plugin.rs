//! The plugin's calls: check, freeze, thaw.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hv_vss_platform::{limits, reaper};
use hv_vss_plugin::{About, Failure, Level, Opening, Outcome, Plugin, Progress, Step};
use nix::unistd::Pid;

use crate::limit::{Limit, Source};
use crate::message::Message;
use crate::name::{self, Form, HookName, Phase, Reading};
use crate::order::{Ledger, freeze_groups};
use crate::reap;
use crate::report::{NOT_AT_REST, Report, list};
use crate::run::{self, Dying, End, Ended, Job, Remains, Rules, Then, Watch};
use crate::settings::{Need, Settings};
use crate::sink::Sink;
use crate::spawn::{Failed, Program};
use crate::survey::{self, Surveyed, Verdict, fit_to_run};
use crate::user::{self, Identity};

/// Of a call's time, the part kept back for killing and answering, and at most how much.
const KEPT_BACK_PART: u32 = 10;
const KEPT_BACK_MOST: Duration = Duration::from_millis(300);

/// The plugin.
pub struct ExecHook {
    settings: Settings,
    ledger: Ledger,
    sink: Sink,
    /// What failed the last freeze and was told to end, with the names of the hooks.
    dying: Vec<(Vec<String>, Vec<Dying>)>,
    users: BTreeMap<String, Identity>,
    marks: u64,
    told_of_missing_directory: bool,
    /// Whether this process has been asked to freeze or thaw before.
    served: Served,
}

/// Whether a process has itself begun what its plugin owes.
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
        let broken = |error: hv_vss_platform::OsError| Failure::Broken(error.to_string());
        reaper::acquire().map_err(broken)?;
        reap::begin().map_err(broken)?;
        // The other half is for the scripts that run.
        let most = usize::try_from(limits::descriptors() / 2).unwrap_or(usize::MAX);
        Ok(Self {
            settings,
            ledger: Ledger::default(),
            sink: Sink::start(most).map_err(broken)?,
            dying: Vec::new(),
            users: BTreeMap::new(),
            marks: 0,
            told_of_missing_directory: false,
            served: Served::NotYet,
        })
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        self.plan(step).into_result()?;
        Ok(())
    }

    fn freeze(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        self.bury_the_dying(step);
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
                return Err(Failure::Refused(list(&failures)));
            }
        }
        Ok(())
    }

    fn thaw(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        self.bury_the_dying(step);
        let until = until(step);
        self.inherit(step);
        let message = Message::of(Phase::Thaw, step);
        let groups = self.ledger.thaw_groups();
        let mut failures = Vec::new();
        for (done, group) in groups.iter().enumerate() {
            let share = Share { until, groups: groups.len() - done };
            failures.extend(self.run(step, Phase::Thaw, group, &message, share));
        }
        // What ran and failed has been reported, and nothing can be done about it. What did not run is still to be done.
        match failures.as_slice() {
            [] => Ok(()),
            some => Err(Failure::Refused(format!("still owed: {}", list(some)))),
        }
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
    /// A rehearsal of one hook: the others are not run, and not owed anything either. The halves of a pair belong together: one of them alone would
    /// leave its application locked.
    fn narrow(&mut self, only: &str, directory: &Path) {
        let wanted = name::stem(only);
        let pair = |hook: &HookName| hook.form != Form::Both && name::stem(&hook.file) == wanted;
        let halves = only == wanted || wanted.len() < only.len();
        self.hooks.retain(|hook| hook.file == only || halves && pair(hook));
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
            all => Err(Failure::Refused(format!("{} hooks would not run: {}", all.len(), list(all)))),
        }
    }
}

impl ExecHook {
    /// Waits for what failed the last freeze: a script's thaw must not begin before its freeze has ended.
    fn bury_the_dying(&mut self, step: &Step<'_>) {
        for (files, dying) in std::mem::take(&mut self.dying) {
            run::bury(dying, &mut |job, remains| match remains {
                Remains::Lingers => {
                    step.log(
                        Level::Error,
                        &format!("{} freeze was killed and is not gone: it waits for a disk", files[job]),
                    );
                }
                _ => step.log(Level::Debug, &format!("{} freeze has ended", files[job])),
            });
        }
    }

    /// Takes over what an earlier process began.
    fn inherit(&mut self, step: &Step<'_>) {
        for name in step.owed() {
            match name::read(name.as_ref()) {
                Reading::Hook(hook) => self.ledger.inherit([hook]),
                Reading::Skipped(_) | Reading::Refused(_) => {
                    step.log(
                        Level::Error,
                        &format!("{} is recorded as owed its thaw, and is no name of a hook", name.escape_debug()),
                    );
                }
            }
        }
        // A record from disk names every hook that is left. A daemon that lives names those that were started, and asks only after a freeze has
        // begun: then each .post-thaw is owed, too.
        let named_by_record = matches!(step.outcome(), Outcome::Recovered | Outcome::Restored);
        if self.served == Served::NotYet && !named_by_record {
            let files = survey::with(&self.settings).unwrap_or_default();
            self.ledger.begin(&files.into_iter().filter_map(Surveyed::into_hook).collect::<Vec<_>>());
        }
        self.served = Served::Before;
    }

    /// Judges the directory, says what will run, and collects all that stands in the way.
    fn plan(&mut self, step: &Step<'_>) -> Plan {
        let mut plan = Plan::default();
        let files = survey::with(&self.settings).unwrap_or_else(|error| {
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
            match &file.verdict {
                Verdict::Skipped(why) => step.log(Level::Debug, &format!("{} is skipped: {why}", file.name)),
                Verdict::Refused(why) => {
                    let need = self.settings.of(&file.name).need;
                    plan.problem(step, need, format!("{} is refused: {why}", file.name));
                }
                Verdict::Runs { hook, user, .. } => {
                    self.users.extend(user.clone().map(|who| (hook.file.clone(), who)));
                    plan.hooks.push(hook.clone());
                }
            }
        }
        for (named, settings) in self.settings.named() {
            if settings.enabled && !files.iter().any(|file| file.name == named) {
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

    /// Runs one group and reports each script. Gives the sentences about those whose failure counts: in a freeze, of each that is required; in a
    /// thaw, of each that could not be started, and is still owed.
    fn run(
        &mut self,
        step: &Step<'_>,
        phase: Phase,
        group: &[HookName],
        message: &Message,
        share: Share,
    ) -> Vec<String> {
        for hook in group.iter().filter(|_| phase == Phase::Freeze) {
            self.ledger.starting(hook);
            step.substep(&hook.file, phase.into(), Progress::Started);
        }
        // A freeze that lacks something is refused. A thaw is owed, and there may be enough again in a moment.
        let patience = Instant::now() + if phase == Phase::Thaw { share.limit() / 2 } else { Duration::ZERO };
        let Self { settings, ledger, users, marks, sink, .. } = self;
        let mut play = Play {
            report: Report { step, phase },
            group,
            message,
            limit: share.limit(),
            settings,
            ledger,
            users,
            marks,
            failures: Vec::new(),
            told_of_waiting: false,
        };
        let rules = Rules { phase, until: share.until, patience, sink };
        let dying = run::group(group.len(), &rules, &mut play);
        let failures = play.failures;
        if !dying.is_empty() {
            self.dying.push((group.iter().map(|hook| hook.file.clone()).collect(), dying));
        }
        failures
    }
}

/// One group at work.
struct Play<'a, 's> {
    report: Report<'a, 's>,
    group: &'a [HookName],
    message: &'a Message,
    /// What the call has left for this group.
    limit: Duration,
    settings: &'a Settings,
    ledger: &'a mut Ledger,
    users: &'a BTreeMap<String, Identity>,
    marks: &'a mut u64,
    failures: Vec<String>,
    told_of_waiting: bool,
}

impl Play<'_, '_> {
    fn limit(&self, hook: &HookName) -> Limit {
        let own = self.settings.of(&hook.file).limit;
        let source = match (own, self.settings.limit_is_default) {
            (Some(_), _) => Source::Hook,
            (None, false) => Source::Plugin,
            (None, true) => Source::Default,
        };
        let configured = own.unwrap_or(self.settings.limit);
        Limit { configured, source, given: configured.min(self.limit) }
    }

    fn freeze_ended(&mut self, ended: &Ended) -> Then {
        let hook = &self.group[ended.job];
        if matches!(ended.end, End::NeverRan(_) | End::NotStarted) {
            self.ledger.never_ran(hook);
        }
        let required = self.settings.of(&hook.file).need == Need::Required;
        // What was never started did not fail: it is a consequence.
        let counts = ended.end != End::NotStarted && required;
        let failure = self.report.ended(&hook.file, ended, if counts { Level::Error } else { Level::Warn });
        if !self.ledger.owes(&hook.file) {
            // What was reported as started counts as owed until its thaw is; this one has none.
            self.report.step.substep(&hook.file, Phase::Thaw.into(), Progress::Ended);
        }
        match failure.filter(|_| counts) {
            None => Then::GoOn,
            Some(sentence) => {
                // What was ended because of another's failure comes after that failure.
                let at = if ended.end == End::GivenUp { self.failures.len() } else { 0 };
                self.failures.insert(at, sentence);
                Then::GiveUp
            }
        }
    }

    fn thaw_ended(&mut self, ended: &Ended) {
        let hook = &self.group[ended.job];
        if let End::NeverRan(why) = &ended.end {
            let sentence = format!("{} thaw did not run: {why}", hook.file);
            self.report.step.log(Level::Error, &sentence);
            self.failures.push(sentence);
            return;
        }
        self.ledger.settled(hook);
        let failure = self.report.ended(&hook.file, ended, Level::Error);
        if ended.end == End::Status(NOT_AT_REST) {
            self.report.step.lost(&failure.unwrap_or_default());
        }
    }
}

impl Watch for Play<'_, '_> {
    /// The file is judged once more: it may have been changed since.
    fn prepare(&mut self, job: usize) -> Result<Job, Failed> {
        let hook = &self.group[job];
        let path = fit_to_run(&self.settings.directory, &hook.file).map_err(|unfit| {
            // A thaw whose file was removed can't be told by the survey.
            let remedy = if unfit.gone { ": put it back, and it is run" } else { "" };
            Failed { why: format!("{}{remedy}", unfit.why), short: unfit.short }
        })?;
        let own = self.settings.of(&hook.file);
        let identity = match (self.users.get(&hook.file), own.user) {
            (Some(known), _) => Some(known.clone()),
            (None, Some(name)) => Some(user::look_up(&name).map_err(Failed::unfit)?),
            (None, None) => None,
        };
        let limit = self.limit(hook);
        *self.marks += 1;
        let mark = format!("{}-{}", std::process::id(), self.marks);
        let c_string =
            |bytes: &[u8]| CString::new(bytes).map_err(|_| Failed::unfit("its path has a null byte".to_owned()));
        let program = Program {
            path: c_string(path.as_os_str().as_bytes())?,
            argument: c_string(self.report.phase.to_string().as_bytes())?,
            environment: self.message.environment(identity.as_ref(), &own.environment, limit.given, &mark),
            identity,
        };
        Ok(Job { program, input: self.message.input(limit.given), limit, mark })
    }

    fn started(&mut self, job: usize, pid: Pid, mark: &str) {
        let Report { step, phase } = self.report;
        step.started(&self.group[job].file, phase.into(), pid.as_raw(), mark);
        if phase == Phase::Thaw {
            step.substep(&self.group[job].file, phase.into(), Progress::Started);
        }
    }

    fn waits(&mut self, job: usize, why: &str) {
        if !std::mem::replace(&mut self.told_of_waiting, true) {
            let text = format!(
                "{} {} can't be started yet and is tried again: {why}",
                self.group[job].file, self.report.phase
            );
            self.report.step.log(Level::Warn, &text);
        }
    }

    fn ended(&mut self, ended: Ended) -> Then {
        match self.report.phase {
            Phase::Freeze => self.freeze_ended(&ended),
            Phase::Thaw => {
                self.thaw_ended(&ended);
                Then::GoOn
            }
        }
    }

    fn given_up(&self) -> bool {
        self.report.phase == Phase::Freeze && self.report.step.cancelled()
    }
}

fn names(group: &[HookName]) -> String {
    group.iter().map(|hook| hook.file.as_str()).collect::<Vec<_>>().join(", ")
}

/// By when the last script must be gone.
fn until(step: &Step<'_>) -> Instant {
    let left = step.time_left();
    Instant::now() + left.saturating_sub((left / KEPT_BACK_PART).min(KEPT_BACK_MOST))
}
