//! What is in hooks.d, and what will become of each file: judged by the plugin's own survey, so that what is shown is what happens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use exec_hook::{DEFAULT_DIRECTORY, DEFAULT_LIMIT, Phase, Settings, Verdict, survey_with};
use serde::Serialize;
use serde_json::{Map, Value};

use super::paper::{Ink, Paper, columns};
use super::when::span_of;
use hv_vss_core::config::{Config, Span};
use hv_vss_core::control::PluginStatus;

/// The plugin that runs scripts.
const PLUGIN: &str = "exec_hook";

/// What is in hooks.d.
#[derive(Debug, Serialize)]
pub(super) struct HooksSeen {
    /// The directory.
    pub(super) directory: PathBuf,
    /// Why it can't be read.
    pub(super) unreadable: Option<String>,
    /// Every file, by name.
    pub(super) hooks: Vec<HookSeen>,
    /// Why no script runs at all, although there are some.
    pub(super) not_run: Option<String>,
}

/// A file in hooks.d.
#[derive(Debug, Serialize)]
pub(super) struct HookSeen {
    /// Its name.
    pub(super) name: String,
    /// What will become of it.
    #[serde(flatten)]
    pub(super) fate: Fate,
}

/// What will become of a file.
#[derive(Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub(super) enum Fate {
    /// It runs.
    Runs {
        /// Its place.
        number: u8,
        /// Called with `freeze`.
        freeze: bool,
        /// Called with `thaw`.
        thaw: bool,
        /// How long each call may take, in milliseconds.
        limit_ms: u64,
        /// As whom.
        user: String,
        /// The backup fails when it does.
        required: bool,
    },
    /// It was meant to run, and won't.
    Refused {
        /// Why, and what to do.
        why: String,
    },
    /// Nobody meant it to run.
    Skipped {
        /// Why.
        why: String,
    },
}

/// Looks, with what the configuration says of scripts. `plugins` are those that run, if somebody knows.
pub(super) fn see(config: &Config, plugins: Option<&[PluginStatus]>) -> HooksSeen {
    let settings = config.plugin(PLUGIN).settings;
    let directory =
        settings.get("directory").and_then(Value::as_str).map_or_else(|| DEFAULT_DIRECTORY.into(), PathBuf::from);
    let mut seen = HooksSeen { directory, unreadable: None, hooks: Vec::new(), not_run: None };
    let judged = match Settings::of_table(&settings) {
        Ok(settings) => survey_with(&settings).map_err(|error| (error.is_missing(), error.to_string())),
        Err(why) => Err((false, why)),
    };
    match judged {
        Ok(files) => {
            let fate = |file: exec_hook::Surveyed| HookSeen { fate: fate(file.verdict, &settings), name: file.name };
            seen.hooks = files.into_iter().map(fate).collect();
        }
        // Without a directory there are no scripts, and that is fine.
        Err((true, _)) => {}
        Err((false, why)) => seen.unreadable = Some(why),
    }
    let alike = |name: &str| name.replace('-', "_") == PLUGIN;
    let runs = match plugins {
        Some(plugins) => plugins.iter().any(|plugin| alike(&plugin.name) && plugin.trouble.is_none()),
        None => {
            let there = |name: &str| config.paths.plugins.join(name).exists();
            config.plugin(PLUGIN).enabled != Some(false) && (there("exec_hook.so") || there("exec-hook.so"))
        }
    };
    if !runs && seen.running().next().is_some() {
        seen.not_run = Some(not_run(&seen.directory, config));
    }
    seen
}

fn not_run(directory: &Path, config: &Config) -> String {
    let why = match config.plugin(PLUGIN).enabled {
        Some(false) => "it is switched off by enabled = false in [plugin.exec_hook]".to_owned(),
        Some(true) | None => {
            format!("see whether exec_hook.so is in {} and fit to be loaded", config.paths.plugins.display())
        }
    };
    format!("no script in {} is run, since the plugin exec_hook does not run: {why}", directory.display())
}

fn fate(verdict: Verdict, settings: &Map<String, Value>) -> Fate {
    match verdict {
        Verdict::Runs { phases, hook, .. } => {
            let own = settings.get("hook").and_then(|hooks| hooks.get(&hook.file));
            let said = |key: &str| own.and_then(|own| own.get(key));
            let limit = said("limit").or_else(|| settings.get("limit"));
            let limit = limit.and_then(Value::as_str).and_then(Span::parse).map_or(DEFAULT_LIMIT, Span::get);
            Fate::Runs {
                number: hook.number,
                freeze: phases.contains(&Phase::Freeze),
                thaw: phases.contains(&Phase::Thaw),
                limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
                user: said("user").and_then(Value::as_str).unwrap_or("root").to_owned(),
                required: said("required").and_then(Value::as_bool).unwrap_or(true),
            }
        }
        Verdict::Refused(why) => Fate::Refused { why },
        Verdict::Skipped(why) => Fate::Skipped { why },
    }
}

impl HooksSeen {
    fn running(&self) -> impl Iterator<Item = &HookSeen> {
        self.hooks.iter().filter(|hook| matches!(hook.fate, Fate::Runs { .. }))
    }

    /// Whether a file was meant to run and won't.
    pub(super) fn any_refused(&self) -> bool {
        self.unreadable.is_some() || self.hooks.iter().any(|hook| matches!(hook.fate, Fate::Refused { .. }))
    }

    /// How long the scripts may take before the freeze, if each takes as long as it may: those with one number run at once.
    pub(super) fn longest_freeze_ms(&self) -> u64 {
        let mut groups: BTreeMap<u8, u64> = BTreeMap::new();
        for hook in &self.hooks {
            if let Fate::Runs { number, freeze: true, limit_ms, .. } = hook.fate {
                let longest = groups.entry(number).or_default();
                *longest = limit_ms.max(*longest);
            }
        }
        groups.values().sum()
    }
}

/// In words, with the directory and what is wrong with all of them.
pub(super) fn whole(seen: &HooksSeen, paper: &Paper) -> String {
    let heading = paper.ink(Ink::Heading, &format!("Scripts in {}", seen.directory.display()));
    let mut whole = format!("{heading}\n{}", text(seen, paper));
    if let Some(not_run) = &seen.not_run {
        let _ = writeln!(whole, "{} {}", paper.ink(Ink::Bad, "!"), paper.wrap(2, not_run));
    }
    whole
}

/// In words.
pub(super) fn text(seen: &HooksSeen, paper: &Paper) -> String {
    const INDENT: usize = 11;
    if let Some(unreadable) = &seen.unreadable {
        return format!("  {}\n", paper.wrap(2, unreadable));
    }
    if seen.hooks.is_empty() {
        return "  none\n".to_owned();
    }
    let widest = seen.hooks.iter().map(|hook| columns(&hook.name)).max().unwrap_or(0).min(paper.width / 3);
    let mut text = String::new();
    for hook in &seen.hooks {
        let name = paper.cell(widest.max(columns(&hook.name)), &hook.name);
        let mut row = |ink: Ink, word: &str, rest: &str| {
            let word = paper.ink(ink, &format!("{word:<8}"));
            let _ = writeln!(text, "{}", format!("  {word} {name}  {rest}").trim_end());
        };
        let why = match &hook.fate {
            Fate::Runs { freeze, thaw, limit_ms, user, required, .. } => {
                let calls = match (freeze, thaw) {
                    (true, true) => "freeze and thaw",
                    (true, false) => "freeze only",
                    (false, _) => "thaw only",
                };
                let user = if user == "root" { String::new() } else { format!(", as {user}") };
                let required = if *required { "" } else { ", may fail" };
                let ink = if seen.not_run.is_some() { Ink::Warn } else { Ink::Good };
                let word = if seen.not_run.is_some() { "NOT RUN" } else { "runs" };
                row(ink, word, &format!("{calls}, at most {} each{user}{required}", span_of(*limit_ms)));
                continue;
            }
            Fate::Refused { why } => {
                row(Ink::Bad, "REFUSED", "");
                why
            }
            Fate::Skipped { why } => {
                row(Ink::Faint, "skipped", why);
                continue;
            }
        };
        let _ = writeln!(text, "{}{}", " ".repeat(INDENT), paper.wrap(INDENT, why));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PAPER: Paper = Paper { width: 80, colour: false, unicode: true };

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("hv_vss-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    fn config(directory: &Path, more: &str) -> Config {
        let text = format!("[plugin.exec-hook]\ndirectory = \"{}\"\n{more}", directory.display());
        Config::parse(Path::new("x"), &text).unwrap()
    }

    fn script(directory: &Path, name: &str, mode: u32) {
        let path = directory.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn every_file_in_the_directory_is_named_and_what_will_become_of_it() {
        hv_vss_testbed::needs!(Root);
        let place = directory("hooks-seen");
        script(&place, "10-mysql.sh", 0o755);
        script(&place, "20-forgotten", 0o644);
        script(&place, "mysql", 0o755);
        script(&place, "30-old.bak", 0o755);
        let seen = see(&config(&place, "hook.\"10-mysql.sh\".limit = \"1500ms\"\n"), Some(&[]));
        fs::remove_dir_all(&place).unwrap();
        let shown = text(&seen, &PAPER);
        for said in [
            "10-mysql.sh",
            "freeze and thaw, at most 1.50 s each",
            "20-forgotten",
            "is not executable",
            "mysql",
            "skipped  30-old.bak",
        ] {
            assert!(shown.contains(said), "{said} in {shown}");
        }
        assert!(seen.any_refused());
        // exec_hook itself does not run here, and that must not go unnoticed.
        assert!(shown.contains("NOT RUN") && seen.not_run.unwrap().contains("exec_hook.so"));
    }

    #[test]
    fn scripts_with_one_number_take_their_time_together() {
        let runs = |number, limit_ms| HookSeen {
            name: "x".into(),
            fate: Fate::Runs { number, freeze: true, thaw: true, limit_ms, user: "root".into(), required: true },
        };
        let hooks = vec![runs(10, 3_000), runs(10, 5_000), runs(20, 4_000)];
        let seen = HooksSeen { directory: "/x".into(), unreadable: None, hooks, not_run: None };
        assert_eq!(seen.longest_freeze_ms(), 9_000);
    }

    #[test]
    fn a_missing_directory_is_a_machine_without_scripts() {
        let seen = see(&config(Path::new("/there/is/none"), ""), None);
        assert!(!seen.any_refused() && seen.not_run.is_none());
        assert_eq!(text(&seen, &PAPER), "  none\n");
    }
}
