//! What a plugin's process may use. The defaults stand here and in hv_vss_plugin(3); the configuration changes them for one plugin.
//!
//! The limits guard against a plugin's mistakes, not its malice: they are soft ones, so that a plugin that starts programs (exec-hook) can
//! raise them to the hard ones in the child.

use std::ffi::{OsStr, OsString};

use hv_vss_platform::limits::{self, Limited};

/// The limits of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Address space in bytes; none: no limit.
    pub memory: Option<u64>,
    /// Open descriptors.
    pub descriptors: u64,
    /// Size of a core dump in bytes. A dump is written by a dying process, to a disk that may be frozen.
    pub core: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: Some(1 << 30), descriptors: 256, core: 0 }
    }
}

impl Limits {
    /// Takes the options, each followed by its value, from what follows the file's name; `--owed` is left to [`crate::debt`].
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut limits = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(option) = arguments.next() {
            let value = arguments.next();
            let bytes = |value: &Option<OsString>| {
                value.as_deref().and_then(size).ok_or_else(|| {
                    format!("{} needs a size: a number of bytes, or one with K, M or G", option.display())
                })
            };
            match option.to_str() {
                Some("--memory") if value.as_deref() == Some(OsStr::new("none")) => limits.memory = None,
                Some("--memory") => limits.memory = Some(bytes(&value)?),
                Some("--descriptors") => limits.descriptors = bytes(&value)?,
                Some("--core") => limits.core = bytes(&value)?,
                Some("--owed") => drop(value),
                _ => {
                    return Err(format!(
                        "unknown option {}: there are --memory, --descriptors, --core and --owed",
                        option.display()
                    ));
                }
            }
        }
        Ok(limits)
    }

    /// Sets them for this process.
    ///
    /// # Errors
    /// A sentence that names the limit.
    pub fn apply(&self) -> Result<(), String> {
        let set = |limited, most| limits::set(limited, most).map_err(|error| error.to_string());
        set(Limited::Core, self.core)?;
        set(Limited::Descriptors, self.descriptors)?;
        // AddressSanitizer's shadow alone is many times as large as any limit.
        self.memory.filter(|_| !cfg!(sanitized)).map_or(Ok(()), |bytes| set(Limited::Memory, bytes))
    }
}

/// A number of bytes, such as `512M`.
fn size(text: &OsStr) -> Option<u64> {
    let text = text.to_str()?;
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(arguments: &[&str]) -> Result<Limits, String> {
        Limits::from_arguments(arguments.iter().map(OsString::from))
    }

    #[test]
    fn each_limit_can_be_changed_alone() {
        let default = Limits::default();
        assert_eq!(limits(&[]), Ok(default));
        assert_eq!(limits(&["--memory", "64M"]), Ok(Limits { memory: Some(64 << 20), ..default }));
        assert_eq!(
            limits(&["--memory", "none", "--core", "1G"]),
            Ok(Limits { memory: None, core: 1 << 30, ..default })
        );
        assert_eq!(limits(&["--descriptors", "32"]), Ok(Limits { descriptors: 32, ..default }));
    }

    #[test]
    fn a_wrong_option_or_value_is_named() {
        assert!(limits(&["--memroy", "1G"]).unwrap_err().contains("--memroy"));
        assert!(limits(&["--memory", "lots"]).unwrap_err().contains("--memory needs a size"));
        assert!(limits(&["--core"]).unwrap_err().contains("--core needs a size"));
    }
}
