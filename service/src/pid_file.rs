//! The pid file: its lock makes this daemon the only one, its content is for `kill`.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hv_vss_platform::descriptors;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

/// A locked pid file. The lock lasts as long as this process, whatever becomes of the file.
#[derive(Debug)]
pub struct PidFile {
    lock: Flock<OwnedFd>,
    path: PathBuf,
    name: &'static str,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum PidFileError {
    /// Another daemon has it: its name, and its process id if the file tells.
    Running(PathBuf, &'static str, String),
    /// The file can't be opened or written.
    Unusable(PathBuf, io::Error),
    /// What lies there is no pid file of ours.
    Strange(PathBuf),
}

/// The lock has to be kept, and it is on a disk file: its number is above every socket and device node we will ever have, so that a daemon which
/// is killed while it holds filesystems loses those before it can block on closing this one.
const ABOVE_ALL_OTHERS: RawFd = 900;

impl PidFile {
    /// Takes the lock for the daemon of this name, or says which process has it.
    ///
    /// # Errors
    /// As [`PidFileError`] says.
    pub fn lock(path: &Path, name: &'static str) -> Result<Self, PidFileError> {
        let unusable = |error| PidFileError::Unusable(path.into(), error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            // Whoever may read a file may lock it, and a daemon whose lock somebody else holds doesn't start.
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(path)
            .map_err(unusable)?;
        let meta = file.metadata().map_err(unusable)?;
        if !meta.is_file() || meta.nlink() != 1 || meta.uid() != geteuid().as_raw() {
            return Err(PidFileError::Strange(path.into()));
        }
        file.set_permissions(Permissions::from_mode(0o600)).map_err(unusable)?;
        let mut other = String::new();
        // What it says matters only if the lock is taken.
        let _ = file.read_to_string(&mut other);
        let high = getrlimit(Resource::RLIMIT_NOFILE).ok().and_then(|(soft, _)| RawFd::try_from(soft).ok());
        let above = high.map_or(ABOVE_ALL_OTHERS, |limit| ABOVE_ALL_OTHERS.min(limit - 1));
        let fd = descriptors::move_up(file.into(), above).map_err(|error| unusable(error.into()))?;
        match Flock::lock(fd, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { lock, path: path.into(), name }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                Err(PidFileError::Running(path.into(), name, other.trim().to_owned()))
            }
            Err((_, errno)) => Err(unusable(errno.into())),
        }
    }

    /// Writes our process id, once we are the process that stays.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_pid(self) -> Result<Self, PidFileError> {
        let write = || -> io::Result<()> {
            // The copy shares the lock's file and is closed here, before anything can be frozen.
            let mut file = File::from(self.lock.as_fd().try_clone_to_owned()?);
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write().map_err(|error| PidFileError::Unusable(self.path.clone(), error))?;
        Ok(self)
    }

    /// Removes the file; the lock goes with it.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("{} can't remove {}: {error}", self.name, self.path.display());
        }
    }
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(path, name, pid) => {
                let who = if pid.is_empty() { "another process".to_owned() } else { format!("process {pid}") };
                write!(f, "{name} is already running as {who}, which has locked {}", path.display())
            }
            Self::Unusable(path, error) => write!(f, "can't use the pid file {}: {error}", path.display()),
            Self::Strange(path) => write!(
                f,
                "can't use the pid file {0}: what lies there is not a file of its own that belongs to whom this daemon runs as; look who put it there, and remove it",
                path.display()
            ),
        }
    }
}

impl std::error::Error for PidFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Running(..) | Self::Strange(_) => None,
            Self::Unusable(_, error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_daemon_is_told_who_the_first_is_and_the_lock_lies_high() {
        let path = std::env::temp_dir().join(format!("hv_vss-pid-{}", std::process::id()));
        let first = PidFile::lock(&path, "hv_vss_daemon").unwrap().write_pid().unwrap();
        let second = PidFile::lock(&path, "hv_vss_daemon").unwrap_err().to_string();
        assert!(second.contains(&format!("already running as process {}", std::process::id())), "{second}");
        assert!(std::os::fd::AsRawFd::as_raw_fd(&first.lock.as_fd()) >= 900);
        first.remove();
        assert!(!path.exists());
    }

    #[test]
    fn what_only_looks_like_a_pid_file_is_neither_written_nor_followed() {
        let path = std::env::temp_dir().join(format!("hv_vss-no-pid-{}", std::process::id()));
        let precious = path.with_extension("precious");
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        assert!(matches!(PidFile::lock(&path, "hv_vss_daemon"), Err(PidFileError::Unusable(..))), "a link");
        fs::remove_file(&path).unwrap();
        fs::hard_link(&precious, &path).unwrap();
        assert!(
            matches!(PidFile::lock(&path, "hv_vss_daemon"), Err(PidFileError::Strange(_))),
            "another name of another file"
        );
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(matches!(PidFile::lock(&path, "hv_vss_daemon"), Err(PidFileError::Strange(_))), "a pipe");
        fs::remove_file(&path).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        fs::remove_file(&precious).unwrap();
    }

    #[test]
    fn nobody_else_can_take_the_lock_since_nobody_else_may_open_the_file() {
        let path = std::env::temp_dir().join(format!("hv_vss-own-pid-{}", std::process::id()));
        // As an earlier version left it.
        fs::write(&path, "1\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let lock = PidFile::lock(&path, "hv_vss_daemon").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        lock.remove();
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = PidFile::lock(Path::new("/nonexistent/pid"), "hv_vss_daemon").unwrap_err().to_string();
        assert!(error.starts_with("can't use the pid file /nonexistent/pid: No such file"), "{error}");
    }
}
