//! What is in hooks.d, and what will become of each file: the one answer that CHECK, the freeze and `vssctl` share.

use std::error::Error;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use hv_vss_platform::noexec;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use crate::interpreter;
use crate::name::{self, HookName, Phase, Reading};
use crate::settings::Settings;
use crate::spawn::is_short;
use crate::user::{self, Identity};

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
        /// What is executed.
        path: PathBuf,
        /// As whom; none: root.
        user: Option<Identity>,
    },
    /// It was meant to run, and will not: an administrator has to act. Why, and what to do.
    Refused(String),
    /// It is not meant to run. Why.
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

/// Judges every file in `directory`, in the order of their names, as if the configuration said nothing else.
///
/// # Errors
/// When the directory can't be read.
pub fn survey(directory: &Path) -> Result<Vec<Surveyed>, Unreadable> {
    with(&Settings::in_directory(directory))
}

/// Judges every file in the directory of hooks, in the order of their names.
///
/// # Errors
/// When the directory can't be read.
pub fn with(settings: &Settings) -> Result<Vec<Surveyed>, Unreadable> {
    let directory = settings.directory.as_path();
    let unreadable = |cause| Unreadable { directory: directory.into(), cause };
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
    names.sort();
    let judged = names.iter().map(|name| Surveyed { name: shown(name), verdict: judge(settings, name) });
    let mut files: Vec<Surveyed> = judged.collect();
    if !settings.allow_alike {
        refuse_the_alike(&mut files);
    }
    Ok(files)
}

/// Of two hooks whose names differ only by an ending one is probably a copy, and which one can't be told.
fn refuse_the_alike(files: &mut [Surveyed]) {
    let hooks: Vec<HookName> = files.iter().cloned().filter_map(Surveyed::into_hook).collect();
    for file in files {
        let Verdict::Runs { hook, .. } = &file.verdict else { continue };
        if let Some(other) = hooks.iter().find(|other| name::alike(hook, other)) {
            file.verdict = Verdict::Refused(format!(
                "{0} is there, too, and both would run: remove one, end its name in .disabled, or set allow_alike = true in \
                 [plugin.exec_hook]",
                other.file
            ));
        }
    }
}

/// Judges one file: by what it is, by its name, then by whether it may run, and can.
fn judge(settings: &Settings, name: &OsStr) -> Verdict {
    let reading = name::read(name);
    if let Reading::Skipped(why) = reading {
        return Verdict::Skipped(why);
    }
    if let Err(why) = is_a_file(&settings.directory.join(name)) {
        return Verdict::Refused(why);
    }
    let hook = match reading {
        Reading::Skipped(why) => return Verdict::Skipped(why),
        Reading::Refused(why) => return Verdict::Refused(why),
        Reading::Hook(hook) => hook,
    };
    let own = settings.of(&hook.file);
    if !own.enabled {
        return Verdict::Skipped("it is switched off by enabled = false in the configuration".to_owned());
    }
    let judged = own.user.as_deref().map(user::look_up).transpose().and_then(|user| {
        let path = fit_to_run(&settings.directory, &hook.file).map_err(|unfit| unfit.why)?;
        interpreter::judge(&path, user.as_ref(), &own)?;
        Ok((path, user))
    });
    match judged {
        Ok((path, user)) => Verdict::Runs { phases: hook.form.phases(), hook, path, user },
        Err(why) => Verdict::Refused(why),
    }
}

/// What is no file can't be repaired by making it executable.
fn is_a_file(path: &Path) -> Result<(), String> {
    let looked = |cause: io::Error| format!("{} can't be looked at: {cause}", path.display());
    let link = fs::symlink_metadata(path).map_err(looked)?;
    let meta = match fs::metadata(path) {
        Err(cause) if link.is_symlink() && cause.kind() == io::ErrorKind::NotFound => {
            let target = fs::read_link(path).map_err(looked)?;
            return Err(format!(
                "{0} is a link to {1}, which is not there: remove the link, or put the file there",
                path.display(),
                target.display()
            ));
        }
        other => other.map_err(looked)?,
    };
    if meta.is_file() {
        return Ok(());
    }
    let kind = if meta.is_dir() { "a directory" } else { "no regular file" };
    Err(format!(
        "{} is {kind}: nothing but hooks may be here; move it elsewhere, or let its name begin with a dot",
        path.display()
    ))
}

/// Why a hook's file can't be run.
#[derive(Debug)]
pub(crate) struct Unfit {
    /// A sentence with what to do.
    pub(crate) why: String,
    /// It is not there.
    pub(crate) gone: bool,
    /// Something was short for a moment.
    pub(crate) short: bool,
}

/// Judges the file of a hook by its place, owner and mode, and gives the path to execute. Asked again right before each run, since time has passed.
/// It opens nothing: a thaw may run while a filesystem is still held.
pub(crate) fn fit_to_run(directory: &Path, file: &str) -> Result<PathBuf, Unfit> {
    let path = hv_vss_trust::regular_file(&directory.join(file), Some(directory)).map_err(|distrust| {
        let cause = distrust.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        Unfit {
            gone: cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound),
            short: cause.and_then(io::Error::raw_os_error).is_some_and(|errno| is_short(Errno::from_raw(errno))),
            why: distrust.to_string(),
        }
    })?;
    executable(&path).map_err(|why| Unfit { why, gone: false, short: false })?;
    Ok(under_its_own_name(directory, file).unwrap_or(path))
}

fn executable(path: &Path) -> Result<(), String> {
    if mode(path)? & 0o111 == 0 {
        return Err(format!(
            "{0} is not executable: chmod +x {0} if it is to run; if hooks read it, move it elsewhere or let its name begin with a dot",
            path.display()
        ));
    }
    if noexec::holds(path) {
        return Err(format!(
            "{} lies on a filesystem that is mounted noexec: move hooks.d (`directory` in [plugin.exec_hook]), or mount it without",
            path.display()
        ));
    }
    access(path, AccessFlags::X_OK).map_err(|errno| format!("{} can't be executed: {}", path.display(), errno.desc()))
}

pub(crate) fn mode(path: &Path) -> Result<u32, String> {
    let meta = fs::metadata(path).map_err(|cause| format!("{} can't be looked at: {cause}", path.display()))?;
    Ok(meta.permissions().mode())
}

/// A link to a file beside it runs under the link's name: some scripts look at $0. Only a link that leads to the file in one step stays within the
/// directories that were judged.
fn under_its_own_name(directory: &Path, file: &str) -> Option<PathBuf> {
    let directory = fs::canonicalize(directory).ok()?;
    let link = directory.join(file);
    let target = directory.join(fs::read_link(&link).ok()?);
    let holder = fs::canonicalize(target.parent()?).ok()?;
    let plain = fs::symlink_metadata(&target).ok()?.is_file();
    (plain && holder.starts_with(&directory)).then_some(link)
}

fn shown(name: &OsStr) -> String {
    let text = name.to_string_lossy();
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.into_owned() }
}
