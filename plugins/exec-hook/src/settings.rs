//! `[plugin.exec_hook]` in the configuration: what may be set, and what it is when it isn't.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hv_vss_plugin::{Config, Failure};

use crate::name::{self, Reading};

/// Where the hooks are, unless the configuration says otherwise.
pub const DIRECTORY: &str = "/usr/local/etc/hv_vss/hooks.d";
/// How long one script may run, unless the configuration says otherwise.
pub const LIMIT: Duration = Duration::from_secs(10);
const KNOWN: &str = "directory, limit, and in [plugin.exec_hook.hook.\"NN-name\"] limit, user, required";

/// The plugin's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where the hooks are.
    pub(crate) directory: PathBuf,
    /// How long one script may run, unless it has a limit of its own.
    pub(crate) limit: Duration,
    hooks: BTreeMap<String, HookSettings>,
}

/// What the configuration says about one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HookSettings {
    /// How long it may run.
    pub(crate) limit: Option<Duration>,
    /// As whom it runs; root if none.
    pub(crate) user: Option<String>,
    /// Whether the backup fails when it does.
    pub(crate) need: Need,
}

/// What a hook's failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The backup fails.
    Required,
    /// The log says so, and the backup goes on.
    Optional,
}

impl Default for HookSettings {
    fn default() -> Self {
        Self { limit: None, user: None, need: Need::Required }
    }
}

impl Settings {
    /// Reads the table.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub(crate) fn read(config: &Config) -> Result<Self, Failure> {
        let mut settings = Self { directory: DIRECTORY.into(), limit: LIMIT, hooks: BTreeMap::new() };
        for (key, value) in config.iter() {
            match key.strip_prefix("hook.").and_then(|rest| rest.rsplit_once('.')) {
                Some((hook, part)) => settings.hook(config, hook, part, value)?,
                None => match key {
                    "directory" => settings.directory = absolute(key, value)?,
                    "limit" => settings.limit = limit(config, key)?,
                    _ => return Err(unknown(key)),
                },
            }
        }
        Ok(settings)
    }

    fn hook(&mut self, config: &Config, hook: &str, part: &str, value: &str) -> Result<(), Failure> {
        let key = format!("hook.{hook}.{part}");
        if !matches!(name::read(hook.as_ref()), Reading::Hook(_)) {
            return Err(Failure::Refused(format!("the setting {key}: \"{hook}\" is not the name of a hook (NN-name)")));
        }
        let of_hook = self.hooks.entry(hook.to_owned()).or_default();
        match part {
            "limit" => of_hook.limit = Some(limit(config, &key)?),
            "user" => of_hook.user = Some(value.to_owned()),
            "required" => {
                of_hook.need = if config.flag(&key)? == Some(false) { Need::Optional } else { Need::Required };
            }
            _ => return Err(unknown(&key)),
        }
        Ok(())
    }

    /// What is set for the hook in `file`.
    pub(crate) fn of(&self, file: &str) -> HookSettings {
        self.hooks.get(file).cloned().unwrap_or_default()
    }

    /// The hooks that the configuration names.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &HookSettings)> {
        self.hooks.iter().map(|(file, settings)| (file.as_str(), settings))
    }
}

fn absolute(key: &str, value: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(value);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Failure::Refused(format!("the setting {key} = \"{value}\" is not a whole path: begin it with \"/\"")))
}

fn limit(config: &Config, key: &str) -> Result<Duration, Failure> {
    let limit = config.duration(key)?.unwrap_or(LIMIT);
    if limit.is_zero() {
        return Err(Failure::Refused(format!("the setting {key} leaves no time at all: write a span such as \"10s\"")));
    }
    Ok(limit)
}

fn unknown(key: &str) -> Failure {
    Failure::Refused(format!("unknown setting {key}: there are {KNOWN}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Settings, Failure> {
        Settings::read(&Config::of(settings))
    }

    #[track_caller]
    fn refused(settings: &[(&str, &str)], naming: &str) {
        match read(settings) {
            Err(Failure::Refused(why)) => assert!(why.contains(naming), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_any_setting_the_defaults_of_the_manual_hold() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.directory, PathBuf::from("/usr/local/etc/hv_vss/hooks.d"));
        assert_eq!(settings.limit, Duration::from_secs(10));
        assert_eq!(settings.of("10-any"), HookSettings { limit: None, user: None, need: Need::Required });
    }

    #[test]
    fn a_hooks_own_table_is_found_by_the_whole_name_of_its_file() {
        let settings = read(&[
            ("limit", "3s"),
            ("hook.10-mysql.sh.limit", "1500ms"),
            ("hook.10-mysql.sh.user", "mysql"),
            ("hook.20-x.post-thaw.required", "false"),
        ])
        .unwrap();
        assert_eq!(settings.limit, Duration::from_secs(3));
        let mysql = settings.of("10-mysql.sh");
        assert_eq!((mysql.limit, mysql.user.as_deref()), (Some(Duration::from_millis(1500)), Some("mysql")));
        assert_eq!(settings.of("20-x.post-thaw").need, Need::Optional);
        assert_eq!(settings.of("10-mysql"), HookSettings::default());
    }

    #[test]
    fn a_mistake_is_refused_and_named() {
        refused(&[("directoy", "/x")], "unknown setting directoy");
        refused(&[("directory", "hooks.d")], "not a whole path");
        refused(&[("limit", "10")], "limit = \"10\"");
        refused(&[("limit", "0s")], "leaves no time");
        refused(&[("hook.10-x.sh.usr", "mysql")], "unknown setting hook.10-x.sh.usr");
        refused(&[("hook.10-x.required", "maybe")], "hook.10-x.required");
        refused(&[("hook.mysql.user", "mysql")], "\"mysql\" is not the name of a hook");
        refused(&[("hook", "10-x")], "unknown setting hook");
    }
}
