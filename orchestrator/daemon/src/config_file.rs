//! Reading the configuration file.

use std::io;
use std::path::Path;

use hv_vss_core::config::{Config, ConfigError, Presence};
use hv_vss_trust::{Distrust, regular_file};

/// Reads the file, if only root can decide what it says. One that is not there is an empty one,
/// unless it was asked for by name.
///
/// # Errors
/// A sentence with file, line and key, or with the command that makes the file root's.
pub fn load(path: &Path, presence: Presence) -> Result<Config, ConfigError> {
    let text = match regular_file(path, Some(Path::new("/"))) {
        Ok(trusted) => std::fs::read_to_string(trusted),
        Err(Distrust::Unreadable { cause, .. }) => Err(cause),
        Err(distrust) => return Err(ConfigError::Distrusted(distrust.to_string())),
    };
    let text = match text {
        Err(error) if error.kind() == io::ErrorKind::NotFound && presence == Presence::Optional => String::new(),
        text => text.map_err(|error| ConfigError::Unreadable(path.into(), error))?,
    };
    let mut config = Config::parse(path, &text)?;
    config.origin.1 = presence;
    Ok(config)
}
