//! The configuration, hv_vss.toml(5): read, checked and completed with defaults, all or nothing.
//!
//! Keys that we don't know are refused with file, line and key: a mistyped exemption
//! that is silently ignored is a backup that is silently wrong.

mod span;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::deadline::Limits;
use crate::mapped;
use crate::plan::Exemption;
pub use span::Span;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it was read from.
    pub origin: (PathBuf, Presence),
    /// The device node to serve.
    pub node: PathBuf,
    /// A file to read the mount table from, in place of the kernel's: for tests.
    pub mount_table: Option<PathBuf>,
    /// The deadlines.
    pub limits: Limits,
    /// The driver's limit is to be asked of the driver, unless the configuration gives one.
    pub limit_is_given: bool,
    /// Where things lie.
    pub paths: Paths,
    /// Where the metrics are written after each cycle, for a collector of text files.
    pub metrics_file: Option<PathBuf>,
    /// Filesystems that need no freezing.
    pub exemptions: Vec<Exemption>,
    /// What is said of single plugins, by name.
    pub plugins: BTreeMap<String, PluginConfig>,
    /// What is said of mapped files, in the table of the plugin `ufs`.
    pub mapped: mapped::Rules,
}

/// Where things lie.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// The directory of plugins.
    pub plugins: PathBuf,
    /// The program that loads one plugin.
    pub worker: PathBuf,
    /// The program that flushes.
    pub flush: PathBuf,
    /// What has to outlive us: history, and what is owed.
    pub state: PathBuf,
    /// Our process id.
    pub pid_file: PathBuf,
    /// The control socket.
    pub control: PathBuf,
}

/// What the configuration says of one plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginConfig {
    /// `false` leaves it out; `true` takes one in that is off by default.
    pub enabled: Option<bool>,
    /// Its place in the order, 0 to 99.
    pub number: Option<u8>,
    /// `false`: a backup goes on without it if it can't be used. Without meaning for an observer, which no backup waits for.
    pub required: Option<bool>,
    /// `true`: its thaw hooks are run when the machine was started from a backup of itself.
    pub run_after_restore: Option<bool>,
    /// Limits of its process, as options of the worker: `memory`, `descriptors`, `core`.
    pub process_limits: Vec<(String, String)>,
    /// What is the plugin's own.
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// Why a configuration can't be used: a sentence with file, line and key.
#[derive(Debug)]
pub enum ConfigError {
    /// The file can't be read.
    Unreadable(PathBuf, std::io::Error),
    /// Somebody other than root decides what it says.
    Distrusted(String),
    /// It is not TOML, or has keys or values that we don't know.
    Wrong(PathBuf, Place, Box<toml::de::Error>),
    /// Each value is fine by itself, but not this one with the others.
    Senseless(PathBuf, String),
}

/// Where in a file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Place {
    fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        Self { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

/// The file as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    device: Device,
    time: Time,
    paths: Paths,
    filesystems: Filesystems,
    metrics: Metrics,
    plugin: BTreeMap<String, toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Device {
    node: PathBuf,
    mount_table: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Time {
    limit: Option<Span>,
    reserve: Span,
    max_frozen: Span,
    thaw_answer_after: Span,
    last_flush: Span,
    thaw_limit: Span,
    observer_limit: Span,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Metrics {
    textfile: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Filesystems {
    exempt: Vec<Exempt>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exempt {
    #[serde(rename = "type")]
    fstype: String,
    mount: Option<String>,
    reason: String,
}

/// The plugin that suspends by UFSSUSPEND. What a resume of its filesystems loses is judged by the orchestrator.
pub const UFS: &str = "ufs";

/// The in-base driver's limit (FreeBSD: sys/dev/hyperv/utilities/hv_snapshot.c).
pub const BASE_LIMIT: Duration = Duration::from_secs(15);

impl Default for Device {
    fn default() -> Self {
        Self { node: "/dev/hv_fsvss_dev".into(), mount_table: None }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self {
            limit: None,
            reserve: Span::seconds(1),
            max_frozen: Span::seconds(60),
            thaw_answer_after: Span::seconds(2),
            last_flush: Span::seconds(7),
            thaw_limit: Span::seconds(60),
            observer_limit: Span::seconds(10),
        }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            plugins: "/usr/local/lib/hv_vss/plugins".into(),
            worker: "/usr/local/libexec/hv_vss/hv_vss_worker".into(),
            flush: "/usr/local/libexec/hv_vss/hv_vss_flush".into(),
            state: "/var/db/hv_vss".into(),
            pid_file: "/var/run/hv_vss_daemon.pid".into(),
            control: "/var/run/hv_vss.sock".into(),
        }
    }
}

impl Config {
    /// Where the configuration lies unless the command line says otherwise.
    pub const DEFAULT_PATH: &str = "/usr/local/etc/hv_vss/hv_vss.toml";

    /// Reads a configuration from text; `path` is for the error's sentence.
    ///
    /// # Errors
    /// A sentence with file, line and key.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let written: Written = toml::from_str(text).map_err(|error: toml::de::Error| {
            match error.span() {
                Some(span) => ConfigError::Wrong(path.into(), Place::of(text, span.start), Box::new(error)),
                // The parser knows no place for what has no end.
                None => {
                    ConfigError::Senseless(path.into(), format!("tables in tables without end ({})", error.message()))
                }
            }
        })?;
        written.complete(path).map_err(|sentence| ConfigError::Senseless(path.into(), sentence))
    }

    /// What is said of this plugin; `-` and `_` in its name are alike.
    #[must_use]
    pub fn plugin(&self, name: &str) -> PluginConfig {
        self.plugins.iter().find(|(key, _)| same_name(key, name)).map(|(_, plugin)| plugin.clone()).unwrap_or_default()
    }
}

/// Do these name the same plugin? `-` and `_` are alike.
#[must_use]
pub fn same_name(one: &str, other: &str) -> bool {
    one.replace('-', "_") == other.replace('-', "_")
}

/// Must a configuration file be there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It was asked for by name.
    Required,
    /// Without it the defaults hold.
    Optional,
}

impl Written {
    fn complete(self, path: &Path) -> Result<Config, String> {
        let time = self.time;
        let limits = Limits {
            limit: time.limit.map_or(BASE_LIMIT, Span::get),
            freeze_limit: time.limit.map_or(BASE_LIMIT, Span::get),
            reserve: time.reserve.get(),
            max_frozen: time.max_frozen.get(),
            thaw_answer_after: time.thaw_answer_after.get(),
            last_flush: time.last_flush.get(),
            thaw_limit: time.thaw_limit.get(),
            observer_limit: time.observer_limit.get(),
        };
        if limits.reserve >= limits.limit {
            let (reserve, limit) = (limits.reserve, limits.limit);
            return Err(format!("[time] reserve = {reserve:?} leaves nothing of limit = {limit:?}: make it smaller"));
        }
        let mut plugins = BTreeMap::new();
        let mut mapped = mapped::Rules::default();
        for (name, mut table) in self.plugin {
            if name == UFS {
                mapped = mapped::Rules::take_from(&mut table).map_err(|wrong| format!("[plugin.{name}] {wrong}"))?;
            }
            let plugin = PluginConfig::from_table(table).map_err(|wrong| format!("[plugin.{name}] {wrong}"))?;
            plugins.insert(name, plugin);
        }
        let exempt = |one: Exempt| Exemption { fstype: one.fstype, mount: one.mount, reason: one.reason };
        Ok(Config {
            origin: (path.into(), Presence::Required),
            node: self.device.node,
            mount_table: self.device.mount_table,
            limits,
            limit_is_given: time.limit.is_some(),
            paths: self.paths,
            metrics_file: self.metrics.textfile,
            exemptions: self.filesystems.exempt.into_iter().map(exempt).collect(),
            plugins,
            mapped,
        })
    }
}

impl PluginConfig {
    fn from_table(mut table: toml::Table) -> Result<Self, String> {
        let mut flag = |key: &str| match table.remove(key) {
            None => Ok(None),
            Some(toml::Value::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(format!("{key} = {other} is neither true nor false")),
        };
        let (enabled, required, run_after_restore) = (flag("enabled")?, flag("required")?, flag("run_after_restore")?);
        let number = match table.remove("number") {
            None => None,
            Some(toml::Value::Integer(number @ 0..=99)) => u8::try_from(number).ok(),
            Some(other) => return Err(format!("number = {other} is not a number from 0 to 99")),
        };
        let mut process_limits = Vec::new();
        for key in ["memory", "descriptors", "core"] {
            match table.remove(key) {
                None => {}
                Some(toml::Value::String(value)) => process_limits.push((key.to_owned(), value)),
                Some(toml::Value::Integer(value)) => process_limits.push((key.to_owned(), value.to_string())),
                Some(other) => return Err(format!("{key} = {other} is neither a number nor a size such as \"512M\"")),
            }
        }
        // JSON has neither dates nor infinity; what a plugin would get in their place is not what was written.
        let can_be_handed = table.values().all(can_be_handed);
        match serde_json::to_value(table) {
            Ok(serde_json::Value::Object(settings)) if can_be_handed => {
                Ok(Self { enabled, number, required, run_after_restore, process_limits, settings })
            }
            Ok(_) | Err(_) => {
                Err("has a value that can't be handed to a plugin: use text, numbers, true, false, lists and tables"
                    .to_owned())
            }
        }
    }
}

fn can_be_handed(value: &toml::Value) -> bool {
    match value {
        toml::Value::Datetime(_) => false,
        toml::Value::Float(number) => number.is_finite(),
        toml::Value::Array(items) => items.iter().all(can_be_handed),
        toml::Value::Table(table) => table.values().all(can_be_handed),
        toml::Value::String(_) | toml::Value::Integer(_) | toml::Value::Boolean(_) => true,
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "can't read the configuration {}: {error}", path.display()),
            Self::Distrusted(distrust) => write!(f, "the configuration is not used: {distrust}"),
            // toml's own text shows the line itself: good on an administrator's terminal, and for nobody else, since there may be a password in it.
            Self::Wrong(path, _, error) if f.alternate() => {
                write!(f, "the configuration {} has an error: {}", path.display(), error.to_string().trim_end())
            }
            Self::Wrong(path, Place { line, column }, error) => {
                let path = path.display();
                write!(f, "the configuration {path} has an error at line {line}, column {column}: {}", error.message())
            }
            Self::Senseless(path, sentence) => {
                write!(f, "the configuration {} makes no sense: {sentence}", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::Wrong(_, _, error) => Some(error.as_ref()),
            Self::Distrusted(_) | Self::Senseless(..) => None,
        }
    }
}
