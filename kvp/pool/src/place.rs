//! The pool's directory and file: made where missing, refused where something else is in their
//! place, and never waited for.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};

use crate::error::PoolError;

/// The directory's mode when it is made here. What keeps secrets is the file's own mode.
const DIRECTORY_MODE: u32 = 0o755;
/// The file's mode when it is made here.
const FILE_MODE: u32 = 0o600;

/// Makes the directory, and those above it, where they are missing. A directory that exists is
/// success, whatever its mode.
///
/// # Errors
/// As [`PoolError`] says.
pub fn make_directory(path: &Path) -> Result<(), PoolError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_directory(above)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        // The umask of a daemon or worker may be 077.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
            .map_err(|error| PoolError::System("set the mode of", path.into(), error)),
        // Another program made it meanwhile.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => {
            Err(PoolError::NotADirectory(path.into()))
        }
        Err(error) => Err(PoolError::System("make the directory", path.into(), error)),
    }
}

/// Opens the file for reading; none if there is none. No link is followed, and only a regular file
/// is opened.
pub(crate) fn open(path: &Path) -> Result<Option<File>, PoolError> {
    match options().open(path) {
        Ok(file) => regular(file, path).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot_open(path, error)),
    }
}

/// Opens the file for writing, too, and makes an empty one if there is none.
pub(crate) fn open_or_make(path: &Path) -> Result<File, PoolError> {
    match options().write(true).open(path) {
        // Another program may make it meanwhile, and that one is good, too.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            options().write(true).create(true).mode(FILE_MODE).open(path)
        }
        opened => opened,
    }
    .map_err(|error| cannot_open(path, error))
    .and_then(|file| regular(file, path))
}

/// Without waiting: the open of a pipe in the file's place would last until something reads it.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    options
}

fn regular(file: File, path: &Path) -> Result<File, PoolError> {
    let about = file.metadata().map_err(|error| PoolError::System("look at", path.into(), error))?;
    if about.is_file() { Ok(file) } else { Err(PoolError::NotAFile(path.into())) }
}

fn cannot_open(path: &Path, error: io::Error) -> PoolError {
    let in_its_place = fs::symlink_metadata(path).is_ok_and(|about| !about.is_file());
    if in_its_place { PoolError::NotAFile(path.into()) } else { PoolError::System("open", path.into(), error) }
}
