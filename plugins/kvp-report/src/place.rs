//! The pool's directory and file: made where missing, refused where something else is in their place, and never waited for.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

/// The directory's mode when it is made here. hv_kvp_daemon makes it 0700 when it starts; what keeps secrets is the file's own mode.
const DIRECTORY_MODE: u32 = 0o755;
/// The file's mode, as hv_kvp_daemon sets it.
const FILE_MODE: u32 = 0o600;

/// Makes the directory, and those above it, where they are missing. One that is there is success, whatever its mode.
///
/// # Errors
/// A sentence; a file in its place is one.
pub(crate) fn make_directory(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_directory(above)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        // The umask of a plugin's process is 077.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
            .map_err(|error| format!("can't set the mode of {}: {error}", path.display())),
        // Somebody else made it meanwhile, hv_kvp_daemon perhaps.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => {
            Err(format!("{} is not a directory: move it away, hv_kvp_daemon(8) can't work so either", path.display()))
        }
        Err(error) => Err(format!("can't make the directory {}: {error}", path.display())),
    }
}

/// Opens the file, and makes an empty one if there is none. No link is followed, and nothing that is not a file is opened.
///
/// # Errors
/// A sentence.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    // Without waiting: a pipe in its place would keep us until somebody reads it.
    options.read(true).write(true).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let opened = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => options.create_new(true).mode(FILE_MODE).open(path),
        opened => opened,
    };
    let file = opened.map_err(|error| cannot_open(path, &error))?;
    let about = file.metadata().map_err(|error| format!("can't look at {}: {error}", path.display()))?;
    if about.is_file() { Ok(file) } else { Err(no_file(path)) }
}

fn cannot_open(path: &Path, error: &io::Error) -> String {
    let in_its_place = fs::symlink_metadata(path).is_ok_and(|about| !about.is_file());
    if in_its_place { no_file(path) } else { format!("can't open {}: {error}", path.display()) }
}

fn no_file(path: &Path) -> String {
    format!("{} is not a file, so it is left alone: move it away", path.display())
}
