//! What is in hooks.d, and what will become of each file: the one answer that CHECK, the freeze and `vssctl` share.

use std::error::Error;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use nix::unistd::{AccessFlags, access};

use crate::name::{self, HookName, Phase, Reading};

/// A file in hooks.d.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Its name, with what can't be shown spelled out.
    pub name: String,
    /// What will become of it.
    pub verdict: Verdict,
}

/// What will become of a file in hooks.d.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It will run.
    Runs {
        /// In these halves of the cycle.
        phases: &'static [Phase],
        /// What its name says.
        hook: HookName,
        /// The file itself, links resolved.
        path: PathBuf,
    },
    /// It was meant to run, and will not: an administrator has to act. Why, and what to do.
    Refused(String),
    /// Nobody meant it to run. Why.
    Skipped(String),
}

impl Surveyed {
    /// The hook, if the file is one that will run.
    #[must_use]
    pub fn into_hook(self) -> Option<HookName> {
        match self.verdict {
            Verdict::Runs { hook, .. } => Some(hook),
            Verdict::Refused(_) | Verdict::Skipped(_) => None,
        }
    }
}

/// Why there is no survey.
#[derive(Debug)]
pub struct Unreadable {
    /// The directory.
    pub directory: PathBuf,
    /// What the system said.
    pub cause: io::Error,
}

impl Unreadable {
    /// Whether there simply is no such directory.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.cause.kind() == io::ErrorKind::NotFound
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hook directory {} can't be read: {}", self.directory.display(), self.cause)
    }
}

impl Error for Unreadable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// Judges every file in `directory`, in the order of their names.
///
/// # Errors
/// When the directory can't be read.
pub fn survey(directory: &Path) -> Result<Vec<Surveyed>, Unreadable> {
    let unreadable = |cause| Unreadable { directory: directory.into(), cause };
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
    names.sort();
    let judged = names.iter().map(|name| Surveyed { name: shown(name), verdict: judge(directory, name) });
    Ok(judged.collect())
}

/// Judges one file: by its name, then by whether root may run it.
fn judge(directory: &Path, name: &OsStr) -> Verdict {
    match name::read(name) {
        Reading::Skipped(why) => Verdict::Skipped(why),
        Reading::Refused(why) => Verdict::Refused(why),
        Reading::Hook(hook) => match fit_to_run(directory, &hook.file) {
            Ok(path) => Verdict::Runs { phases: hook.form.phases(), hook, path },
            Err(why) => Verdict::Refused(why),
        },
    }
}

/// Judges the file of a hook, and gives its resolved path. Asked again right before each run, since time has passed.
pub(crate) fn fit_to_run(directory: &Path, file: &str) -> Result<PathBuf, String> {
    let path = hv_vss_trust::regular_file(&directory.join(file), Some(directory)).map_err(|error| error.to_string())?;
    let mode = fs::metadata(&path).map_err(|cause| format!("{} can't be looked at: {cause}", path.display()))?;
    if mode.permissions().mode() & 0o111 == 0 {
        return Err(format!("{0} is not executable: chmod +x {0}, or end its name in .sample", path.display()));
    }
    // Root is refused, too, on a filesystem that is mounted noexec.
    access(&path, AccessFlags::X_OK)
        .map_err(|errno| format!("{} can't be executed: {}", path.display(), errno.desc()))?;
    Ok(path)
}

fn shown(name: &OsStr) -> String {
    let text = name.to_string_lossy();
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.into_owned() }
}
