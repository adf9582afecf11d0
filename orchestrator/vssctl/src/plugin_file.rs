//! `vssctl plugin inspect` and `vssctl plugin test`: a plugin's file, without a daemon. For vendors, who are often not root.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hv_vss_platform::mounts::{self, Mount, Source};
use hv_vss_worker::conformance::{self, Trial};
use hv_vss_worker::inspect::{self, Report};
use serde_json::{Map, Value};

use super::options::{Options, PluginCommand, PluginTest};
use super::paper::{Ink, Paper};
use super::said::{Exit, Failure, Said};
use super::settings::{self, Settings};
use hv_vss_core::config::Config;

/// How long a plugin may take to let itself be loaded.
const LOADING: Duration = Duration::from_secs(10);

pub(super) fn command(options: &Options, command: &PluginCommand, paper: &Paper) -> Result<Said, Failure> {
    let config = config(options)?;
    let program = worker_program(&config)?;
    match command {
        PluginCommand::Inspect { file } => {
            let report = inspect::in_throwaway_process(&program, file, LOADING).map_err(Failure::Other)?;
            let exit = if report.usable { Exit::Well } else { Exit::Unwell };
            Ok(Said::new(inspected(&report, paper), &report, exit))
        }
        PluginCommand::Test(test) => {
            let report = conformance::run(&trial(test, &config, program)?);
            let exit = if report.passed() { Exit::Well } else { Exit::Unwell };
            Ok(Said::new(report.to_string(), &report, exit))
        }
    }
}

/// A vendor's machine need not have a configuration, nor one that the vendor may read.
fn config(options: &Options) -> Result<Config, Failure> {
    match (Settings::load(options.config.as_deref()), &options.config) {
        // Root does not start what somebody else's file names.
        (Ok(settings), _) => match settings.distrusted().filter(|_| nix::unistd::geteuid().is_root()) {
            Some(distrust) => Err(Failure::Other(distrust)),
            None => Ok(settings.config),
        },
        (Err(_), None) => Ok(Config::parse(Path::new(Config::DEFAULT_PATH), "")?),
        (Err(error), Some(_)) => Err(error.into()),
    }
}

/// The installed worker, or the one that was built with this program.
fn worker_program(config: &Config) -> Result<PathBuf, Failure> {
    let configured = &config.paths.worker;
    if configured.exists() {
        return settings::program(configured)
            .map_err(|why| Failure::Other(format!("the worker is not started: {why}")));
    }
    // Whoever can replace that one can replace this very program.
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("hv_vss_worker")));
    beside.filter(|program| program.exists()).ok_or_else(|| {
        Failure::Other(format!("the worker {} is not there: install hv_vss as a whole", configured.display()))
    })
}

fn trial(test: &PluginTest, config: &Config, program: PathBuf) -> Result<Trial, Failure> {
    let file = std::path::absolute(&test.file)
        .map_err(|error| Failure::Other(format!("can't find {}: {error}", test.file.display())))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let own = config.plugin(&name);
    let source = config.mount_table.clone().map_or(Source::Kernel, Source::File);
    let mounts =
        mounts::read(&source).map_err(|error| Failure::Other(format!("the mount table can't be read: {error}")))?;
    let freezable = test.freeze.as_ref().map(|on| mounted(&mounts, on)).transpose()?;
    Ok(Trial {
        program,
        file,
        options: own.process_limits.iter().flat_map(|(key, value)| [format!("--{key}"), value.clone()]).collect(),
        config: set_on(own.settings, &test.set)?,
        mounts,
        freezable,
        patience: test.patience,
    })
}

fn mounted(mounts: &[Mount], on: &str) -> Result<Mount, Failure> {
    let found = mounts.iter().rev().find(|mount| mount.on == on).cloned();
    found.ok_or_else(|| Failure::Other(format!("nothing is mounted on {on}: --freeze takes a mount point, whole")))
}

/// The configuration's settings, and over them those of the command line.
fn set_on(mut settings: Map<String, Value>, set: &[String]) -> Result<Map<String, Value>, Failure> {
    for assignment in set {
        let (key, value) =
            assignment.split_once('=').ok_or_else(|| Failure::Other(format!("--set {assignment}: write KEY=VALUE")))?;
        // As it would be in the configuration, but that text needs no quotes.
        let written = format!("value = {value}").parse::<toml::Table>().ok();
        let written = written.and_then(|mut table| table.remove("value"));
        let json = written.and_then(|value| serde_json::to_value(value).ok());
        settings.insert(key.to_owned(), json.unwrap_or_else(|| Value::String(value.to_owned())));
    }
    Ok(settings)
}

fn inspected(report: &Report, paper: &Paper) -> String {
    const COLUMN: usize = 13;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{}{}", paper.cell(COLUMN, name), paper.wrap(COLUMN, value));
    };
    row("File", &report.file);
    if let Some(about) = &report.about {
        row("Plugin", &format!("{} {}", about.name, about.version));
        row("Says", &about.description);
        let roles: Vec<&str> =
            [(about.application, "application"), (about.filesystem, "filesystem"), (about.observer, "observer")]
                .into_iter()
                .filter_map(|(has, role)| has.then_some(role))
                .collect();
        row("Roles", &roles.join(", "));
        row("Number", &about.number.map_or_else(|| "50, since it names none".to_owned(), |number| number.to_string()));
        row("ABI", &about.abi.to_string());
        if about.holds_survive_exit {
            row("Holds", "outlive its process");
        }
    }
    if let Some(size) = report.table_size {
        row("Table", &format!("{size} bytes, with {}", report.members.join(", ")));
    }
    if !report.needs.is_empty() {
        row("Libraries", &report.needs.join(", "));
    }
    if !report.not_found.is_empty() {
        row("Not found", &report.not_found.join(", "));
    }
    for (at, problem) in report.problems.iter().enumerate() {
        row(if at == 0 { "Problem" } else { "" }, problem);
    }
    let verdict = if report.usable {
        paper.ink(Ink::Good, "hv_vss_daemon would load it.")
    } else {
        paper.ink(Ink::Bad, "hv_vss_daemon would NOT load it.")
    };
    let _ = writeln!(text, "{verdict}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_command_line_are_as_in_the_configuration_and_win() {
        let from_file = [("limit".to_owned(), Value::from("3s")), ("retries".to_owned(), Value::from(2))];
        let set = ["socket=/var/run/x.sock", "retries=5", "debug=true", "quoted=\"a b\""].map(str::to_owned);
        let settings = set_on(from_file.into_iter().collect(), &set).unwrap();
        assert_eq!(settings["limit"], "3s");
        assert_eq!(settings["socket"], "/var/run/x.sock");
        assert_eq!(settings["retries"], 5);
        assert_eq!(settings["debug"], true);
        assert_eq!(settings["quoted"], "a b");
    }

    #[test]
    fn a_setting_without_a_value_is_explained() {
        let wrong = set_on(Map::new(), &["socket".to_owned()]).unwrap_err();
        assert!(wrong.to_string().contains("KEY=VALUE"));
    }
}
