//! `vssctl check`: would a backup work now? Asked of the daemon, or found out without one; shown alike.

mod findings;
mod offline;
mod text;
mod warnings;

use std::time::Duration;

use super::client::{AT_ONCE, Daemon};
use super::commands::unexpected;
use super::hooks;
use super::options::Options;
use super::paper::Paper;
use super::said::{Exit, Failure, Said};
use super::settings::Settings;
use findings::{Asked, Findings};
use hv_vss_core::control::{Question, Reply};

/// How long plugins may take to answer: the driver's limit is shorter.
const CHECKING: Duration = Duration::from_secs(60);

/// Finds out, and says so.
pub(super) fn command(options: &Options, alone: bool, paper: &Paper) -> Result<Said, Failure> {
    let settings = Settings::load(options.config.as_deref())?;
    let mut findings = if alone { offline::findings(&settings, Asked::Nobody) } else { ask(options, &settings)? };
    findings.warnings = warnings::all(&findings, &settings.config.limits, hv_vss_platform::vnodes::cached());
    let exit = if findings.would_work { Exit::Well } else { Exit::Unwell };
    Ok(Said::new(text::whole(&findings, &settings.path, paper), &findings, exit))
}

/// Asks the daemon; if none runs, everything but its absence is found out without one.
fn ask(options: &Options, settings: &Settings) -> Result<Findings, Failure> {
    let path = options.socket.as_ref().unwrap_or(&settings.config.paths.control);
    let reach = || Daemon::reach(path);
    let outlook = match reach() {
        Err(absent) if absent.is_absence() => {
            let mut findings = offline::findings(settings, Asked::NotRunning);
            findings.would_work = false;
            findings.outlook.would_work = false;
            findings.outlook.reasons.insert(0, absent.to_string());
            return Ok(findings);
        }
        Err(error) => return Err(error.into()),
        Ok(daemon) => match daemon.ask(&Question::Check, CHECKING, "Waiting for what the plugins say")? {
            Reply::Outlook(outlook) => outlook,
            // A cycle is in work: whether the next one would work, nobody can tell now.
            Reply::Refused { reason } => return Err(Failure::Other(format!("can't tell now: {reason}"))),
            other => return Err(unexpected(other)),
        },
    };
    let status = match reach()?.ask(&Question::Status, AT_ONCE, "Waiting for the daemon")? {
        Reply::Status(status) => *status,
        other => return Err(unexpected(other)),
    };
    let last = match reach()?.ask(&Question::Show { cycle: None }, AT_ONCE, "Waiting for the daemon")? {
        Reply::Records { mut records, .. } => records.pop(),
        // There was no backup yet.
        _ => None,
    };
    Ok(Findings {
        would_work: outlook.would_work,
        asked: Asked::Daemon,
        hooks: hooks::see(&settings.config, Some(&status.plugins)),
        outlook,
        plugins: status.plugins,
        warnings: Vec::new(),
        last,
    })
}
