//! `vssctl config check` and `vssctl config show`: the configuration without a daemon.

mod show;

use serde_json::json;

use super::options::{ConfigCommand, Options};
use super::paper::{Ink, Paper};
use super::said::{Exit, Failure, Said};
use super::settings::Settings;
use hv_vss_core::config::ConfigError;

/// Whose file is checked.
#[derive(Clone, Copy)]
enum Whose {
    Daemon,
    Draft,
}

pub(super) fn command(options: &Options, command: &ConfigCommand, paper: &Paper) -> Result<Said, Failure> {
    match command {
        ConfigCommand::Check { file: Some(file) } => check(Settings::load(Some(file)), Whose::Draft, paper),
        ConfigCommand::Check { file: None } => check(Settings::load(options.config.as_deref()), Whose::Daemon, paper),
        ConfigCommand::Show => {
            let settings = Settings::load(options.config.as_deref())?;
            let shown = show::entries(&settings).map_err(Failure::Other)?;
            Ok(Said::new(show::text(&shown, &settings, paper), &json!({ "settings": shown }), Exit::Well))
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(super) fn shown(settings: &Settings, paper: &Paper) -> Result<String, String> {
    Ok(show::text(&show::entries(settings)?, settings, paper))
}

/// A file that was named may be a draft that lies anywhere; the daemon's own must also belong to root.
fn check(loaded: Result<Settings, ConfigError>, whose: Whose, paper: &Paper) -> Result<Said, Failure> {
    let settings = match loaded {
        Ok(settings) => settings,
        Err(unreadable @ ConfigError::Unreadable(..)) => return Err(unreadable.into()),
        // That it is wrong is not a failure to find out.
        Err(wrong) => {
            let text = format!("{wrong}\n");
            return Ok(Said::new(text, &json!({ "right": false, "error": wrong.to_string() }), Exit::Unwell));
        }
    };
    if let (Whose::Daemon, Some(distrusted)) = (whose, settings.distrusted()) {
        let json = json!({ "right": false, "error": distrusted });
        return Ok(Said::new(format!("{}\n", paper.wrap(0, &distrusted)), &json, Exit::Unwell));
    }
    let path = settings.path.display();
    let text = if settings.text.is_some() {
        paper.ink(Ink::Good, &format!("{path} is right.")) + "\n"
    } else {
        format!("{path} does not exist: the defaults hold, and they are right.\n")
    };
    let more = paper.wrap(0, "What the plugins make of their own settings, `vssctl check` tells.");
    let json = json!({ "right": true, "file": path.to_string(), "exists": settings.text.is_some() });
    Ok(Said::new(format!("{text}{more}\n"), &json, Exit::Well))
}
