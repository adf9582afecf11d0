//! Where the mount table comes from: the kernel, or a file that plays one in tests.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{Mount, Table, file, system};
use crate::OsError;

/// Whom to ask for the mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kernel.
    Kernel,
    /// A file of JSON lines, one [`Mount`] each; empty lines and those that begin with `#` are skipped.
    File(PathBuf),
}

/// Why there is no mount table.
#[derive(Debug)]
pub enum MountsError {
    /// The kernel did not tell.
    Kernel(OsError),
    /// The file can't be read.
    Unreadable(PathBuf, io::Error),
    /// A line of the file is no mount; lines count from 1.
    Line(PathBuf, usize, serde_json::Error),
    /// Something is mounted and not listed: see [`Table::hidden`].
    Unmounting,
}

/// The mounts, the oldest first, with their backing and swap files.
///
/// # Errors
/// When the kernel doesn't tell, or not of all of them, or the file can't be read or understood.
pub fn read(source: &Source) -> Result<Vec<Mount>, MountsError> {
    let table = read_bare(source)?;
    match (table.hidden, source) {
        (0, Source::Kernel) => Ok(system::with_files(table.mounts)),
        (0, Source::File(_)) => Ok(table.mounts),
        _ => Err(MountsError::Unmounting),
    }
}

/// The table without backing and swap files: the kernel's bare one, which takes no lock that somebody might hold while he waits for a suspended
/// filesystem. For a look at it while filesystems are frozen.
///
/// # Errors
/// When the kernel doesn't tell, or the file can't be read or understood.
pub fn read_bare(source: &Source) -> Result<Table, MountsError> {
    match source {
        Source::Kernel => system::mounts().map_err(MountsError::Kernel),
        Source::File(path) => from_file(path),
    }
}

fn from_file(path: &Path) -> Result<Table, MountsError> {
    let text = std::fs::read_to_string(path).map_err(|cause| MountsError::Unreadable(path.into(), cause))?;
    file::parse(&text).map_err(|(line, cause)| MountsError::Line(path.into(), line, cause))
}

impl fmt::Display for MountsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(cause) => fmt::Display::fmt(cause, f),
            Self::Unreadable(path, cause) => write!(f, "can't read the mount table {}: {cause}", path.display()),
            Self::Line(path, line, cause) => write!(f, "{} line {line} is no mount: {cause}", path.display()),
            Self::Unmounting => f.write_str(
                "a filesystem is being unmounted just now, and until that is done it is not listed; try again then",
            ),
        }
    }
}

impl std::error::Error for MountsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Kernel(cause) => cause.source(),
            Self::Unreadable(_, cause) => Some(cause),
            Self::Line(_, _, cause) => Some(cause),
            Self::Unmounting => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_file_that_is_missing_or_wrong_is_named_with_its_line() {
        let missing = read(&Source::File("/nonexistent/mounts".into())).unwrap_err().to_string();
        assert!(missing.starts_with("can't read the mount table /nonexistent/mounts: No such file"), "{missing}");

        let path = std::env::temp_dir().join(format!("hv_vss-mounts-{}", std::process::id()));
        std::fs::write(&path, "# fine\n{\"fsid\":\"12\"}\n").unwrap();
        let wrong = read(&Source::File(path.clone())).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(wrong.starts_with(&format!("{} line 2 is no mount: ", path.display())), "{wrong}");
        assert!(wrong.contains("\"12\" is not a filesystem id"), "{wrong}");
    }

    #[test]
    fn the_kernel_tells_of_the_root_and_of_devices_and_both_tables_agree() {
        let mounts = read(&Source::Kernel).unwrap();
        assert!(mounts.iter().any(|mount| mount.on == "/"), "{mounts:?}");
        assert!(mounts.iter().any(|mount| mount.on == "/dev" || mount.on.starts_with("/dev/")), "{mounts:?}");
        let names = |mounts: &[Mount]| mounts.iter().map(|mount| (mount.fsid, mount.on.clone())).collect::<Vec<_>>();
        // Other tests of this machine may mount and unmount meanwhile: the two looks must agree once, not at once.
        let agreed = (0..100)
            .any(|_| names(&read(&Source::Kernel).unwrap()) == names(&read_bare(&Source::Kernel).unwrap().mounts));
        assert!(agreed);
    }
}
