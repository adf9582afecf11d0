//! `[plugin.exec_hook]` in the configuration: what may be set, and what it is when it isn't.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hv_vss_plugin::{Config, Failure};
use serde_json::{Map, Value};

use crate::name::{self, Reading};

/// Where the hooks are, unless the configuration says otherwise.
pub const DIRECTORY: &str = "/usr/local/etc/hv_vss/hooks.d";
/// How long one script may run, unless the configuration says otherwise.
pub const LIMIT: Duration = Duration::from_secs(10);
const KNOWN: &str = "directory, limit, allow_alike, and in [plugin.exec_hook.hook.\"NN-name\"] enabled, limit, user, required, environment";
/// What an environment variable of a hook may not be called: those are what hv_vss tells it.
const RESERVED: &str = "HV_VSS_";

/// The plugin's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the hooks are.
    pub(crate) directory: PathBuf,
    /// How long one script may run, unless it has a limit of its own.
    pub(crate) limit: Duration,
    /// Whether the configuration leaves that open.
    pub(crate) limit_is_default: bool,
    /// Whether hooks may run whose names differ only by an ending.
    pub(crate) allow_alike: bool,
    hooks: BTreeMap<String, HookSettings>,
}

/// What the configuration says about one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HookSettings {
    /// Whether it runs.
    pub(crate) enabled: bool,
    /// How long it may run.
    pub(crate) limit: Option<Duration>,
    /// As whom it runs; root if none.
    pub(crate) user: Option<String>,
    /// Whether the backup fails when it does.
    pub(crate) need: Need,
    /// Variables beside those that every hook has.
    pub(crate) environment: BTreeMap<String, String>,
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
        Self { enabled: true, limit: None, user: None, need: Need::Required, environment: BTreeMap::new() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: DIRECTORY.into(),
            limit: LIMIT,
            limit_is_default: true,
            allow_alike: false,
            hooks: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// The defaults, for the hooks in this directory.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.into(), ..Self::default() }
    }

    /// Reads the table.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn read(config: &Config) -> Result<Self, Failure> {
        let mut settings = Self::default();
        for (key, value) in config.iter() {
            let of_hook = key.strip_prefix("hook.");
            // A hook's name may have dots in it, that of a variable has none.
            let variable = of_hook.and_then(|rest| rest.rsplit_once(".environment."));
            if let Some((hook, name)) = variable.filter(|(_, name)| !name.contains('.')) {
                settings.variable(key, hook, name, value)?;
                continue;
            }
            match of_hook.and_then(|rest| rest.rsplit_once('.')) {
                Some((hook, part)) => settings.hook(config, hook, part, value)?,
                None => match key {
                    "directory" => settings.directory = absolute(key, value)?,
                    "limit" => {
                        settings.limit = limit(config, key)?;
                        settings.limit_is_default = false;
                    }
                    "allow_alike" => settings.allow_alike = config.flag(key)? == Some(true),
                    _ => return Err(unknown(key)),
                },
            }
        }
        Ok(settings)
    }

    /// Reads the table as the configuration's file has it.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn of_table(table: &Map<String, Value>) -> Result<Self, String> {
        let flat = hv_vss_wire::flat(table);
        let pairs: Vec<(&str, &str)> = flat.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Self::read(&Config::of(&pairs)).map_err(|failure| match failure {
            Failure::Refused(why) | Failure::Broken(why) => why,
        })
    }

    fn entry(&mut self, key: &str, hook: &str) -> Result<&mut HookSettings, Failure> {
        if !matches!(name::read(hook.as_ref()), Reading::Hook(_)) {
            return Err(Failure::Refused(format!("the setting {key}: \"{hook}\" is not the name of a hook (NN-name)")));
        }
        Ok(self.hooks.entry(hook.to_owned()).or_default())
    }

    fn variable(&mut self, key: &str, hook: &str, name: &str, value: &str) -> Result<(), Failure> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins = name.bytes().next().is_some_and(|byte| word(byte) && !byte.is_ascii_digit());
        if !begins || !name.bytes().all(word) {
            return Err(Failure::Refused(format!("the setting {key}: \"{name}\" is not the name of a variable")));
        }
        if name.starts_with(RESERVED) {
            return Err(Failure::Refused(format!(
                "the setting {key}: variables that begin with {RESERVED} are set by hv_vss"
            )));
        }
        self.entry(key, hook)?.environment.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn hook(&mut self, config: &Config, hook: &str, part: &str, value: &str) -> Result<(), Failure> {
        let key = format!("hook.{hook}.{part}");
        let of_hook = self.entry(&key, hook)?;
        match part {
            "enabled" => of_hook.enabled = config.flag(&key)? != Some(false),
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
        assert_eq!(settings.of("10-any"), HookSettings::default());
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
        assert!(settings.of("20-x.post-thaw").enabled);
        assert_eq!(settings.of("10-mysql"), HookSettings::default());
    }

    #[test]
    fn a_hook_has_variables_of_its_own_and_can_be_switched_off() {
        let settings = read(&[
            ("hook.20-pg.sh.environment.PGHOST", "/tmp"),
            ("hook.20-pg.sh.environment.PGPORT", "5433"),
            ("hook.30-x.enabled", "false"),
        ])
        .unwrap();
        let environment = settings.of("20-pg.sh").environment;
        assert_eq!(
            environment.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
            ["PGHOST=/tmp", "PGPORT=5433"]
        );
        assert!(!settings.of("30-x").enabled && settings.of("20-pg.sh").enabled);
        refused(&[("hook.20-pg.environment.1X", "y")], "\"1X\" is not the name of a variable");
        refused(&[("hook.20-pg.environment.HV_VSS_PHASE", "y")], "are set by hv_vss");
        refused(&[("hook.20-pg.environment", "y")], "unknown setting hook.20-pg.environment");
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
