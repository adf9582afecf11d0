//! Which plugins there are: every `.so` in the plugin directory, and in `optional` below it those that are used only where the configuration says so.
//!
//! A plugin in the directory itself takes part unless `enabled = false`; one in `optional` takes no part, and is not even looked at, unless
//! `enabled = true`. So whoever installs a plugin decides by the place whether an update of the package can change what a backup does.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use hv_vss_core::config::PluginConfig;

/// The directory below the plugin directory for those that are off by default.
pub const OPTIONAL: &str = "optional";

/// A plugin's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is so where the configuration says nothing.
    pub default: Default,
}

/// Whether a plugin takes part where the configuration says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// It lies in the plugin directory.
    On,
    /// It lies in `optional`.
    Off,
}

impl Default {
    /// Does a plugin take part that is configured so?
    #[must_use]
    pub fn enabled(self, config: &PluginConfig) -> bool {
        config.enabled.unwrap_or(self == Self::On)
    }
}

/// The plugins, by name: the file's, without its ending. One in the directory itself hides one of the same name in `optional`.
///
/// # Errors
/// When the directory can't be read. That there is none of optional plugins is no error.
pub fn find(directory: &Path) -> io::Result<BTreeMap<String, PluginFile>> {
    let mut found = BTreeMap::new();
    match look(&directory.join(OPTIONAL), Default::Off, &mut found) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(error);
        }
        Ok(()) | Err(_) => {}
    }
    look(directory, Default::On, &mut found)?;
    Ok(found)
}

fn look(directory: &Path, default: Default, found: &mut BTreeMap<String, PluginFile>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "so")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            found.insert(name.to_owned(), PluginFile { path: path.clone(), default });
        }
    }
    Ok(())
}

/// The sentence about a directory without a plugin that takes part by itself.
#[must_use]
pub fn none_in(directory: &Path, found: &BTreeMap<String, PluginFile>) -> Option<String> {
    let none = !found.values().any(|file| file.default == Default::On);
    none.then(|| format!("there is no plugin in {}: install at least ufs.so", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_in_optional_takes_part_only_where_the_configuration_says_so_and_is_hidden_by_one_beside_it() {
        let directory = std::env::temp_dir().join(format!("hv_vss-plugin-files-{}", std::process::id()));
        std::fs::create_dir_all(directory.join(OPTIONAL)).unwrap();
        for name in ["a.so", "both.so", "README", "optional/both.so", "optional/b.so"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        let found = find(&directory).unwrap();
        let defaults: Vec<_> = found.iter().map(|(name, file)| (name.as_str(), file.default)).collect();
        assert_eq!(defaults, [("a", Default::On), ("b", Default::Off), ("both", Default::On)]);
        let set = |enabled| PluginConfig { enabled, ..PluginConfig::default() };
        for (default, said, takes_part) in [
            (Default::On, None, true),
            (Default::On, Some(false), false),
            (Default::Off, None, false),
            (Default::Off, Some(false), false),
            (Default::Off, Some(true), true),
        ] {
            assert_eq!(default.enabled(&set(said)), takes_part, "{default:?} {said:?}");
        }
        assert_eq!(none_in(&directory, &found), None);
        std::fs::remove_dir_all(directory.join(OPTIONAL)).unwrap();
        assert_eq!(find(&directory).unwrap().len(), 2);
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(find(&directory).is_err());
    }
}
