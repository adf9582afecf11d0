//! Each command: whom it asks, and what it makes of the answer.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::Shell;
use hv_vss_platform::clock::wall_clock_ns;
use serde_json::json;

use super::app_watch::{self, Voice};
use super::client::{AT_ONCE, Daemon};
use super::options::{Command, Options, Rehearse};
use super::paper::Paper;
use super::said::{Exit, Failure, Said};
use super::settings::Settings;
use super::{check, config, cycles, hooks, kvp, plugin_file, status, timeline};
use hv_vss_core::control::{Question, Reply};
use hv_vss_core::record::Record;

/// What a cycle may take beside the hold: the driver's limit for the freeze, and as much as slow scripts may take after the thaw.
const REHEARSING: Duration = Duration::from_secs(180);
/// What a human is told when an answer that should come at once doesn't.
const WAITING: &str = "Waiting for hv_vss_daemon";

/// Does what the command line says.
pub(super) fn perform(options: &Options, paper: &Paper) -> Result<Said, Failure> {
    match &options.command {
        Command::Check { offline } => check::command(options, *offline, paper),
        Command::Status => match ask(options, &Question::Status, AT_ONCE, WAITING)? {
            Reply::Status(said) => Ok(Said::new(status::text(&said, now_ms(), paper), &said, status::exit(&said))),
            other => Err(unexpected(other)),
        },
        Command::Thaw => {
            done(options, &Question::Thaw, "The daemon lets go of everything; `vssctl status` tells what came of it.")
        }
        Command::Forgive { plugin } => {
            let question = Question::Forgive { plugin: plugin.clone() };
            done(options, &question, "It is written off, and not tried again. See to the application yourself.")
        }
        Command::Reload => done(options, &Question::Reload, "The configuration was read again and is in force."),
        Command::History { last } => {
            let (records, damage) = records(options, &Question::History { last: *last }, AT_ONCE, WAITING)?;
            let text = cycles::list(&records, damage.as_deref(), paper);
            Ok(Said::new(text, &json!({ "records": records, "damage": damage }), Exit::Well))
        }
        Command::Show { cycle } => {
            let record = one(options, cycle.clone())?;
            Ok(Said::new(cycles::whole(&record, paper), &record, Exit::Well))
        }
        Command::Rehearse(wish) => rehearse(options, wish, paper),
        Command::Timeline { cycle, svg } => {
            let record = one(options, cycle.clone())?;
            match svg {
                Some(file) => write_svg(&record, file),
                None => Ok(Said::new(timeline::terminal(&record, paper), &record, Exit::Well)),
            }
        }
        Command::Metrics => match ask(options, &Question::Metrics, AT_ONCE, WAITING)? {
            Reply::Metrics { text } => Ok(Said::new(text.clone(), &json!({ "openmetrics": text }), Exit::Well)),
            other => Err(unexpected(other)),
        },
        Command::Plugins => match ask(options, &Question::Status, AT_ONCE, WAITING)? {
            Reply::Status(said) => {
                let unfit = said.plugins.is_empty() || said.plugins.iter().any(|plugin| plugin.trouble.is_some());
                let exit = if unfit { Exit::Unwell } else { Exit::Well };
                Ok(Said::new(status::plugins(&said.plugins, paper), &said.plugins, exit))
            }
            other => Err(unexpected(other)),
        },
        Command::Hooks => {
            let config = Settings::load(options.config.as_deref())?.config;
            let seen = hooks::see(&config, None);
            let exit = if seen.any_refused() || seen.not_run.is_some() { Exit::Unwell } else { Exit::Well };
            Ok(Said::new(hooks::whole(&seen, paper), &seen, exit))
        }
        Command::Config(command) => config::command(options, command, paper),
        Command::Plugin(command) => plugin_file::command(options, command, paper),
        Command::Kvp(wish) => kvp::command(options, wish),
        Command::AppWatch(wish) => {
            let voice = if options.json { Voice::Json } else { Voice::Text };
            app_watch::command(wish, voice).map(|never| match never {})
        }
        Command::Completions { shell } => Ok(completions(*shell)),
    }
}

fn rehearse(options: &Options, wish: &Rehearse, paper: &Paper) -> Result<Said, Failure> {
    let question = Question::Rehearse {
        hold_ms: u64::try_from(wish.hold.as_millis()).unwrap_or(u64::MAX),
        freeze: !wish.no_freeze,
        only: wish.only.clone(),
    };
    let doing = format!("Rehearsing: everything is brought to rest, held for {:?}, and let go", wish.hold);
    let (mut records, _) = records(options, &question, wish.hold.saturating_add(REHEARSING), &doing)?;
    let record =
        records.pop().ok_or_else(|| Failure::Other("the daemon sent no record of the rehearsal".to_owned()))?;
    let exit = if record.ending.is_trouble() || record.ending.result.is_none() { Exit::Unwell } else { Exit::Well };
    Ok(Said::new(timeline::terminal(&record, paper), &record, exit))
}

fn write_svg(record: &Record, file: &Path) -> Result<Said, Failure> {
    let picture = timeline::svg(record);
    if file == Path::new("-") {
        return Ok(Said::new(picture, record, Exit::Well));
    }
    fs::write(file, picture).map_err(|error| Failure::Other(format!("can't write {}: {error}", file.display())))?;
    Ok(Said::new(String::new(), record, Exit::Well))
}

fn completions(shell: Shell) -> Said {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Options::command(), "vssctl", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Said::new(script.clone(), &script, Exit::Well)
}

fn done(options: &Options, question: &Question, sentence: &str) -> Result<Said, Failure> {
    match ask(options, question, AT_ONCE, WAITING)? {
        Reply::Done => Ok(Said::new(format!("{sentence}\n"), &json!({ "done": true }), Exit::Well)),
        other => Err(unexpected(other)),
    }
}

/// One cycle's record.
fn one(options: &Options, cycle: Option<String>) -> Result<Record, Failure> {
    let (mut records, _) = records(options, &Question::Show { cycle }, AT_ONCE, WAITING)?;
    records.pop().ok_or_else(|| Failure::Refused("there was no such cycle".to_owned()))
}

fn records(
    options: &Options,
    question: &Question,
    at_most: Duration,
    doing: &str,
) -> Result<(Vec<Record>, Option<String>), Failure> {
    match ask(options, question, at_most, doing)? {
        Reply::Records { records, damage } => Ok((records, damage)),
        other => Err(unexpected(other)),
    }
}

/// Asks the daemon.
pub(super) fn ask(options: &Options, question: &Question, at_most: Duration, doing: &str) -> Result<Reply, Failure> {
    // Whoever names the socket needs no configuration: the fewer files a thaw opens, the better.
    let path = match &options.socket {
        Some(path) => path.clone(),
        None => Settings::load(options.config.as_deref())?.config.paths.control,
    };
    Ok(Daemon::reach(&path)?.ask(question, at_most, doing)?)
}

/// An answer to something else than we asked, or a refusal.
pub(super) fn unexpected(reply: Reply) -> Failure {
    match reply {
        Reply::Refused { reason } => Failure::Refused(reason),
        _ => Failure::Other(
            "hv_vss_daemon answered another question than it was asked: install it and vssctl from one build"
                .to_owned(),
        ),
    }
}

fn now_ms() -> u64 {
    wall_clock_ns() / 1_000_000
}
