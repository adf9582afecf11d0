//! The trials themselves. Each is a short story with a new worker; its `Err` is the sentence that ends up in the report.

use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_platform::mounts::Mount;
use hv_vss_wire::{About, Answer, Call, Event, Outcome, Role, Step};

use super::subject::{Ended, Subject};
use super::{Finding, Report, Trial, Verdict};

/// How long a plugin may go on after it should have given up, before that counts as not having noticed.
const GRACE: Duration = Duration::from_secs(2);

/// How long a freeze is left alone before it is cancelled.
const UNDER_WAY: Duration = Duration::from_millis(20);

/// A setting that no plugin has.
const UNHEARD_OF: &str = "a_setting_that_no_plugin_has";

pub(super) fn run(trial: &Trial) -> Report {
    let mut report = Report { file: trial.file.display().to_string(), about: None, findings: Vec::new() };
    let mut found = |claim, verdict| report.findings.push(Finding { claim, verdict });

    match loads(trial) {
        Ok(about) => {
            found("it loads", Verdict::Kept);
            report.about = Some(about);
        }
        Err(why) => {
            found("it loads", Verdict::Broken(why));
            return report;
        }
    }
    let Some(about) = report.about.clone() else { return report };
    let mut found = |claim, verdict| report.findings.push(Finding { claim, verdict });
    let mut story = |claim, story: Story| {
        let result = story(trial);
        let verdict = result.map_or_else(Verdict::Broken, |()| Verdict::Kept);
        let kept = verdict == Verdict::Kept;
        found(claim, verdict);
        kept
    };
    if !story("it opens with its settings, and closes", opens) {
        return report;
    }
    story("it refuses a setting it does not know, and names it", refuses_unknown_settings);
    if !about.observer {
        story("check works, and again", checks);
    }
    story("it ends when nobody is left to talk to", ends_alone);
    if about.filesystem {
        story("it claims each mount, the same each time", claims);
    }
    if about.observer {
        for (claim, told) in OBSERVER {
            story(claim, told);
        }
    }
    let roles = [(about.application, Role::Application), (about.filesystem, Role::Filesystem)];
    for (_, role) in roles.into_iter().filter(|(has, _)| *has) {
        cycles(trial, role, about.holds_survive_exit, &mut report);
    }
    report
}

type Story = fn(&Trial) -> Result<(), String>;
type Cycle = fn(&Trial, &Freezing) -> Result<(), String>;

/// What is frozen in the trials of one role.
struct Freezing {
    role: Role,
    mounts: Vec<Mount>,
}

const CYCLES: [(&str, Cycle); 8] = [
    ("thaw works without a freeze", thaws_without_a_freeze),
    ("freeze and thaw work, and again", freezes_and_thaws),
    ("thaw works twice", thaws_twice),
    ("check works after a cycle", checks_after_a_cycle),
    ("a freeze that is cancelled ends soon, and is thawed", gives_up),
    ("a freeze that runs out of time ends soon, and is thawed", runs_out_of_time),
    ("it lets go at the expiry, and a cycle works after it", expires),
    ("it lets go and ends when the daemon dies while it holds", survives_the_daemon),
];

const OBSERVER: [(&str, Story); 4] = [
    ("it is told of cycles of every kind and result", hears_of_all),
    ("it takes a record with members it does not know, and one that comes again", hears_of_the_unheard_of),
    ("after it was told to give up it is done soon, and hears of the next cycle", gives_up_hearing),
    ("a new process hears of the next cycle after one was killed", hears_after_a_kill),
];

fn cycles(trial: &Trial, role: Role, holds_survive_exit: bool, report: &mut Report) {
    let mounts = match role {
        Role::Application => trial.mounts.iter().filter(|mount| !mount.read_only).cloned().collect(),
        Role::Filesystem => trial.freezable.iter().cloned().collect(),
    };
    let freezing = Freezing { role, mounts };
    let nothing_to_freeze = role == Role::Filesystem && freezing.mounts.is_empty();
    let last: (&str, Cycle) = if holds_survive_exit {
        ("a new process lets go of what a killed one held", recovers_from_a_kill)
    } else {
        ("a new process thaws and works after one was killed while it held", recovers_from_a_kill)
    };
    for (claim, cycle) in CYCLES.into_iter().chain([last]) {
        let verdict = if nothing_to_freeze {
            Verdict::Skipped("no filesystem was named that may be frozen".to_owned())
        } else {
            cycle(trial, &freezing).map_or_else(Verdict::Broken, |()| Verdict::Kept)
        };
        report.findings.push(Finding { claim, verdict });
    }
}

fn start(trial: &Trial) -> Result<(Subject, About), String> {
    let mut worker = Subject::start(&trial.program, &trial.file, &trial.options)
        .map_err(|error| format!("can't start {}: {error}", trial.program.display()))?;
    match worker.event(clock::now() + trial.patience)? {
        Some(Event::Loaded { about, .. }) => Ok((worker, about)),
        Some(Event::Unfit { reason }) => Err(reason),
        Some(other) => Err(format!("the worker began with {other:?}")),
        None => Err(format!("it was not loaded within {:?}", trial.patience)),
    }
}

fn opened(trial: &Trial) -> Result<Subject, String> {
    let (mut worker, _) = start(trial)?;
    done("open", worker.call(Call::Open { config: trial.config.clone() }, trial.patience))?;
    Ok(worker)
}

/// The answer must be "done"; gives back whether what was frozen had stayed so.
fn done(call: &str, ended: Ended) -> Result<bool, String> {
    match ended {
        Ended::Answered(Answer::Done { held, .. }) => Ok(held),
        Ended::Answered(Answer::Refused { reason }) => Err(format!("{call} was refused: {reason}")),
        Ended::Answered(Answer::Broken { reason }) => Err(format!("{call} failed: {reason}")),
        Ended::Died(how) => Err(format!("in {call} {how}")),
        Ended::TimedOut => Err(format!("{call} did not end in time")),
    }
}

fn held(call: &str, ended: Ended) -> Result<(), String> {
    match done(call, ended)? {
        true => Ok(()),
        false => Err(format!("{call} found that what was frozen had not stayed so")),
    }
}

fn step(outcome: Outcome, within: Duration, mounts: &[Mount]) -> Step {
    Step { cycle: "trial".to_owned(), outcome, deadline: clock::now() + within, mounts: mounts.to_vec() }
}

fn loads(trial: &Trial) -> Result<About, String> {
    start(trial).map(|(_, about)| about)
}

fn opens(trial: &Trial) -> Result<(), String> {
    let mut worker = opened(trial)?;
    done("close", worker.call(Call::Close, trial.patience))?;
    match worker.ended(clock::now() + GRACE) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("after close the process ended with {status}")),
        None => Err("after close the process goes on".to_owned()),
    }
}

fn refuses_unknown_settings(trial: &Trial) -> Result<(), String> {
    let (mut worker, _) = start(trial)?;
    let mut config = trial.config.clone();
    config.insert(UNHEARD_OF.to_owned(), "x".into());
    match worker.call(Call::Open { config }, trial.patience) {
        Ended::Answered(Answer::Refused { reason }) if reason.contains(UNHEARD_OF) => Ok(()),
        Ended::Answered(Answer::Refused { reason }) => {
            Err(format!("it refused {UNHEARD_OF} = \"x\", but its reason does not name it: {reason}"))
        }
        Ended::Answered(Answer::Done { .. }) => Err(format!(
            "it took {UNHEARD_OF} = \"x\" without a word: a typing error in the configuration would go unnoticed"
        )),
        other => done("open", other).map(drop),
    }
}

fn checks(trial: &Trial) -> Result<(), String> {
    let mut worker = opened(trial)?;
    for _ in 0..2 {
        let check = Call::Check(step(Outcome::Ok, trial.patience, &trial.mounts));
        done("check", worker.call(check, trial.patience))?;
    }
    Ok(())
}

fn ends_alone(trial: &Trial) -> Result<(), String> {
    let mut worker = opened(trial)?;
    worker.hang_up();
    worker.ended(clock::now() + GRACE).map(drop).ok_or_else(|| format!("the process goes on for more than {GRACE:?}"))
}

fn claims(trial: &Trial) -> Result<(), String> {
    let mut worker = opened(trial)?;
    let mut ask = || {
        let step = step(Outcome::Ok, trial.patience, &[]);
        match worker.call(Call::Claim { step, mounts: trial.mounts.clone() }, trial.patience) {
            Ended::Answered(Answer::Done { claims, .. }) => Ok(claims),
            other => done("claim", other).and(Err("claim gave no claims".to_owned())),
        }
    };
    let (first, second) = (ask()?, ask()?);
    for ((mount, first), second) in trial.mounts.iter().zip(&first).zip(&second) {
        if first != second {
            return Err(format!("{} was first {first:?}, then {second:?}", mount.on));
        }
    }
    Ok(())
}

/// What the daemon tells an observer; `more` is inside of the object.
fn told(trial: &Trial, kind: &str, result: &str, more: &str) -> Call {
    let record = format!(
        concat!(
            r#"{{"version":1,"cycle":"trial","kind":"{}","began_ms":1700000000000,"budget_ms":14000,"result":"{}","#,
            r#""sentence":"this is a trial","steps":[],"frozen_ms":null,"daemon_version":"{}","state":"idle","again":false{}}}"#
        ),
        kind,
        result,
        env!("CARGO_PKG_VERSION"),
        more
    );
    Call::Ended { step: step(Outcome::Ok, trial.patience, &[]), record }
}

fn hears(worker: &mut Subject, trial: &Trial, kind: &str, result: &str, more: &str) -> Result<(), String> {
    done("ended", worker.call(told(trial, kind, result, more), trial.patience)).map(drop)
}

fn hears_of_all(trial: &Trial) -> Result<(), String> {
    let mut worker = opened(trial)?;
    for kind in ["check", "backup", "rehearsal"] {
        for result in ["refused", "failed", "expired", "ok"] {
            hears(&mut worker, trial, kind, result, "")
                .map_err(|why| format!("of a {kind} that was {result}: {why}"))?;
        }
    }
    done("close", worker.call(Call::Close, trial.patience)).map(drop)
}

fn hears_of_the_unheard_of(trial: &Trial) -> Result<(), String> {
    let mut worker = opened(trial)?;
    for _ in 0..2 {
        hears(&mut worker, trial, "backup", "ok", r#","a_member_of_later_years":[{"x":1}]"#)?;
    }
    Ok(())
}

fn gives_up_hearing(trial: &Trial) -> Result<(), String> {
    let mut worker = opened(trial)?;
    let id = worker.ask(told(trial, "backup", "ok", ""));
    let mut ended = worker.answer(id, clock::now() + UNDER_WAY);
    if ended == Ended::TimedOut {
        worker.ask(Call::Cancel { call_id: id });
        ended = worker.answer(id, clock::now() + GRACE);
    }
    match ended {
        Ended::Answered(Answer::Done { .. } | Answer::Refused { .. }) => {}
        Ended::TimedOut => {
            return Err(format!("ended was still at it {GRACE:?} later: look at cancelled() where you wait"));
        }
        other => done("ended", other).map(drop)?,
    }
    hears(&mut worker, trial, "backup", "ok", "").map_err(|why| format!("the next time {why}"))
}

fn hears_after_a_kill(trial: &Trial) -> Result<(), String> {
    let mut worker = opened(trial)?;
    worker.ask(told(trial, "backup", "ok", ""));
    worker.kill();
    hears(&mut opened(trial)?, trial, "backup", "failed", "")
}

fn freeze(trial: &Trial, freezing: &Freezing) -> Call {
    freeze_within(trial.patience, trial.patience * 10, freezing)
}

fn freeze_within(limit: Duration, expires_in: Duration, freezing: &Freezing) -> Call {
    let step = step(Outcome::Ok, limit, &freezing.mounts);
    Call::Freeze { step, role: freezing.role, expiry: clock::now() + expires_in, only: None, rehearsal: false }
}

fn thaw(trial: &Trial, freezing: &Freezing, outcome: Outcome) -> Call {
    Call::Thaw {
        step: step(outcome, trial.patience, &freezing.mounts),
        role: freezing.role,
        owed: Vec::new(),
        rehearsal: false,
    }
}

fn thaws_without_a_freeze(trial: &Trial, freezing: &Freezing) -> Result<(), String> {
    let mut worker = opened(trial)?;
    held("thaw", worker.call(thaw(trial, freezing, Outcome::Ok), trial.patience))
}

fn cycle(trial: &Trial, freezing: &Freezing, worker: &mut Subject) -> Result<(), String> {
    let frozen = done("freeze", worker.call(freeze(trial, freezing), trial.patience));
    let thawed = held("thaw", worker.call(thaw(trial, freezing, Outcome::Ok), trial.patience));
    frozen.and(thawed)
}

fn freezes_and_thaws(trial: &Trial, freezing: &Freezing) -> Result<(), String> {
    let mut worker = opened(trial)?;
    cycle(trial, freezing, &mut worker)?;
    cycle(trial, freezing, &mut worker).map_err(|why| format!("the second time {why}"))
}

fn thaws_twice(trial: &Trial, freezing: &Freezing) -> Result<(), String> {
    let mut worker = opened(trial)?;
    cycle(trial, freezing, &mut worker)?;
    held("the second thaw", worker.call(thaw(trial, freezing, Outcome::Ok), trial.patience))
}

fn checks_after_a_cycle(trial: &Trial, freezing: &Freezing) -> Result<(), String> {
    let mut worker = opened(trial)?;
    cycle(trial, freezing, &mut worker)?;
    let check = Call::Check(step(Outcome::Ok, trial.patience, &trial.mounts));
    done("check", worker.call(check, trial.patience)).map(drop)
}

/// After a freeze that may have been given up: it must have ended (either way), and the plugin must be as good as new.
fn aborted(trial: &Trial, freezing: &Freezing, worker: &mut Subject, ended: Ended) -> Result<(), String> {
    match ended {
        Ended::Answered(Answer::Done { .. } | Answer::Refused { .. }) => {}
        Ended::TimedOut => {
            return Err(format!("freeze was still at it {GRACE:?} later: look at cancelled() where you wait"));
        }
        other => done("freeze", other).map(drop)?,
    }
    done("thaw", worker.call(thaw(trial, freezing, Outcome::Aborted), trial.patience))?;
    cycle(trial, freezing, worker).map_err(|why| format!("in the next cycle {why}"))
}

fn gives_up(trial: &Trial, freezing: &Freezing) -> Result<(), String> {
    let mut worker = opened(trial)?;
    let id = worker.ask(freeze(trial, freezing));
    // Time to begin, or the plugin would not even be asked; one that is done by now has nothing to give up.
    let early = worker.answer(id, clock::now() + UNDER_WAY);
    if early != Ended::TimedOut {
        return aborted(trial, freezing, &mut worker, early);
    }
    worker.ask(Call::Cancel { call_id: id });
    let ended = worker.answer(id, clock::now() + GRACE);
    aborted(trial, freezing, &mut worker, ended)
}

fn runs_out_of_time(trial: &Trial, freezing: &Freezing) -> Result<(), String> {
    let mut worker = opened(trial)?;
    let limit = Duration::from_millis(20);
    let id = worker.ask(freeze_within(limit, trial.patience, freezing));
    let ended = worker.answer(id, clock::now() + limit + GRACE);
    aborted(trial, freezing, &mut worker, ended)
}

fn expires(trial: &Trial, freezing: &Freezing) -> Result<(), String> {
    let mut worker = opened(trial)?;
    // The freeze itself must fit in before.
    let expiry = clock::now() + trial.patience.min(Duration::from_secs(1));
    let step = step(Outcome::Ok, trial.patience, &freezing.mounts);
    done(
        "freeze",
        worker.call(Call::Freeze { step, role: freezing.role, expiry, only: None, rehearsal: false }, trial.patience),
    )?;
    let latest = expiry + trial.patience;
    while !worker.said.contains(&Event::LetGo) {
        if worker.event(latest)?.is_none() {
            let said = worker.said.iter().filter_map(|event| match event {
                Event::Log { text, .. } => Some(text.as_str()),
                _ => None,
            });
            return Err(format!(
                "it had not let go {:?} after the expiry ({})",
                trial.patience,
                said.collect::<Vec<_>>().join("; ")
            ));
        }
    }
    done("the late thaw", worker.call(thaw(trial, freezing, Outcome::Expired), trial.patience))?;
    cycle(trial, freezing, &mut worker).map_err(|why| format!("in the next cycle {why}"))
}

fn survives_the_daemon(trial: &Trial, freezing: &Freezing) -> Result<(), String> {
    let mut worker = opened(trial)?;
    done("freeze", worker.call(freeze(trial, freezing), trial.patience))?;
    worker.hang_up();
    if worker.ended(clock::now() + trial.patience).is_none() {
        return Err(format!("its process goes on for more than {:?}", trial.patience));
    }
    let mut next = opened(trial)?;
    cycle(trial, freezing, &mut next).map_err(|why| format!("in the next process {why}"))
}

fn recovers_from_a_kill(trial: &Trial, freezing: &Freezing) -> Result<(), String> {
    let mut worker = opened(trial)?;
    done("freeze", worker.call(freeze(trial, freezing), trial.patience))?;
    worker.kill();
    let mut next = opened(trial)?;
    done("the next process's thaw", next.call(thaw(trial, freezing, Outcome::Recovered), trial.patience))?;
    cycle(trial, freezing, &mut next).map_err(|why| format!("in the next cycle {why}"))
}
