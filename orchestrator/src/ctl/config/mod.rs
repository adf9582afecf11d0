//! `vssctl config check` and `vssctl config show`: the configuration without a daemon.

mod show;

use std::path::Path;

use serde_json::json;

use super::options::{ConfigCommand, Options};
use super::paper::{Ink, Paper};
use super::said::{Exit, Failure, Said};
use super::settings::Settings;
use crate::config::ConfigError;

pub(super) fn command(options: &Options, command: &ConfigCommand, paper: &Paper) -> Result<Said, Failure> {
    match command {
        ConfigCommand::Check { file } => check(file.as_deref().or(options.config.as_deref()), paper),
        ConfigCommand::Show => {
            let settings = Settings::load(options.config.as_deref())?;
            let shown = show::entries(&settings).map_err(Failure::Other)?;
            Ok(Said::new(show::text(&shown, &settings, paper), &json!({ "settings": shown }), Exit::Well))
        }
    }
}

fn check(file: Option<&Path>, paper: &Paper) -> Result<Said, Failure> {
    let settings = match Settings::load(file) {
        Ok(settings) => settings,
        Err(unreadable @ ConfigError::Unreadable(..)) => return Err(unreadable.into()),
        // That it is wrong is not a failure to find out.
        Err(wrong) => {
            let text = format!("{wrong}\n");
            return Ok(Said::new(text, &json!({ "right": false, "error": wrong.to_string() }), Exit::Unwell));
        }
    };
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
