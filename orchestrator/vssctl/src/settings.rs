//! The daemon's configuration, read without closing anything.
//!
//! FreeBSD blocks close(2) of a file on a suspended filesystem until it is resumed, even of a file that was only read (seen on 12.1 and 14.0).
//! A `vssctl thaw` that closed the configuration file before it had asked would wait for the thaw it was to ask for.

use std::fs::File;
use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use hv_vss_core::config::{Config, ConfigError, Presence};

/// A configuration and where it is from.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) path: PathBuf,
    /// The text; none if there is no such file and none was asked for.
    pub(super) text: Option<String>,
    pub(super) config: Config,
}

impl Settings {
    /// Reads `asked`, or else the installed system's.
    pub(super) fn load(asked: Option<&Path>) -> Result<Self, ConfigError> {
        let (path, presence) = match asked {
            Some(path) => (path, Presence::Required),
            None => (Path::new(Config::DEFAULT_PATH), Presence::Optional),
        };
        let text = match read(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && presence == Presence::Optional => None,
            Err(error) => return Err(ConfigError::Unreadable(path.into(), error)),
        };
        let config = Config::parse(path, text.as_deref().unwrap_or_default())?;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        Ok(Self { path, text, config })
    }

    /// Why the daemon would not use this file, whatever is in it: somebody else than root could have written it.
    pub(super) fn distrusted(&self) -> Option<String> {
        self.text.as_ref()?;
        let trusted = hv_vss_trust::regular_file(&self.path, Some(Path::new("/")));
        trusted.err().map(|distrust| format!("the configuration is not used: {distrust}"))
    }
}

/// A program that the configuration names, as root may start it: judged, and by the path that was judged. Whoever is not root starts what they
/// could start anyway.
pub(super) fn program(path: &Path) -> Result<PathBuf, String> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(path.to_owned());
    }
    hv_vss_trust::regular_file(path, Some(Path::new("/"))).map_err(|distrust| distrust.to_string())
}

fn read(path: &Path) -> io::Result<String> {
    let mut file = ManuallyDrop::new(File::open(path)?);
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}
