//! May root use this file? One routine for plugins, hooks, configuration and state.
//!
//! A file is trusted when nobody but root could have put it there, can change it, or can put another in its place: it belongs to root, neither
//! group nor others may write to it, and the same holds for every directory from the one it lies in up to `/`. Links are followed first and
//! the *resolved* path is judged; the caller must go on with that path, since only it stays what it was. (To judge a descriptor instead would
//! be no way out: FreeBSD runs a script by fexecve(2) only where fdescfs is mounted.)
//!
//! A directory on the way may be root's with the sticky bit, as `/tmp` is: nobody can rename or remove root's entries there. The directory that
//! holds the file may not, for anyone could make a hard link there to some other file of root's.
//!
//! What root writes is judged by its directory ([`place`]), and written so that nothing lying in wait there leads elsewhere ([`replace()`]).
//!
//! An NFSv4 access list can grant more than the mode bits show; such lists are root's to set, and not looked at. POSIX.1e lists show in the
//! group's bits.

mod append;
mod distrust;
mod keep;
mod replace;

pub use append::append;
pub use distrust::Distrust;
pub use keep::{read_within, remove};
pub use replace::replace;

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const ROOT: u32 = 0;
const GROUP_MAY_WRITE: u32 = 0o020;
const OTHERS_MAY_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Judges a regular file and gives back its resolved path, which is the one to use.
///
/// After links are resolved the file must lie in `within` (or deeper); without `within`, in the directory that `path` itself names.
///
/// # Errors
/// The first thing found that would let somebody other than root decide what the file holds, as a sentence.
pub fn regular_file(path: &Path, within: Option<&Path>) -> Result<PathBuf, Distrust> {
    let resolved = resolve(path)?;
    let bounds = match within {
        Some(directory) => directory,
        None => path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
    };
    if !resolved.starts_with(resolve(bounds)?) {
        return Err(Distrust::Elsewhere { link: path.into(), target: resolved, bounds: bounds.into() });
    }
    let meta = look(&resolved)?;
    if !meta.is_file() {
        return Err(Distrust::OtherKind { path: resolved, kind: kind(&meta), wanted: "a regular file" });
    }
    only_root_decides(&resolved, &meta, Sticky::Refused)?;
    ancestors(&resolved)?;
    Ok(resolved)
}

/// Judges a program that a trusted file names, such as a script's interpreter, and gives back its resolved path. It may lie anywhere, and belong to
/// the user as whom it will run.
///
/// # Errors
/// The first thing found that would let somebody other than root and that user decide what the program is, as a sentence.
pub fn program(path: &Path, runs_as: Option<u32>) -> Result<PathBuf, Distrust> {
    let resolved = resolve(path)?;
    let meta = look(&resolved)?;
    if !meta.is_file() {
        return Err(Distrust::OtherKind { path: resolved, kind: kind(&meta), wanted: "a regular file" });
    }
    let theirs = |meta: &Metadata| runs_as.is_some_and(|uid| uid == meta.uid());
    let mut above = Sticky::Refused;
    for path in resolved.ancestors() {
        let meta = look(path)?;
        if theirs(&meta) {
            only_its_owner_writes(path, &meta, above)?;
        } else {
            only_root_decides(path, &meta, above)?;
        }
        // The file and the directory that holds it may not be anybody's to write to; see above.
        if meta.is_dir() {
            above = Sticky::Accepted;
        }
    }
    Ok(resolved)
}

/// Judges a directory that holds such files, and gives back its resolved path, which is the one to use.
///
/// # Errors
/// The first thing found that would let somebody other than root decide what the directory holds, as a sentence.
pub fn directory(path: &Path) -> Result<PathBuf, Distrust> {
    let resolved = resolve(path)?;
    let meta = look(&resolved)?;
    if !meta.is_dir() {
        return Err(Distrust::OtherKind { path: resolved, kind: kind(&meta), wanted: "a directory" });
    }
    only_root_decides(&resolved, &meta, Sticky::Refused)?;
    on_the_way(resolved.parent())?;
    Ok(resolved)
}

/// Whose the directory may be that root writes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Root's alone: what lies there is read by root again.
    Root,
    /// Anybody's: what lies there is for others to read, and root never reads it. All directories above it are root's nevertheless, or the whole
    /// way could be laid elsewhere.
    Anyone,
}

/// Judges the directory in which root is to make or replace the file `path`, and gives back the path to use: the resolved directory and the
/// file's name. The file itself need not be there, and is not looked at.
///
/// # Errors
/// The first thing found that would let somebody other than root decide where that is, as a sentence.
pub fn place(path: &Path, holder: Holder) -> Result<PathBuf, Distrust> {
    let unnamed = || Distrust::Unreadable { path: path.into(), cause: std::io::ErrorKind::InvalidInput.into() };
    let name = path.file_name().ok_or_else(unnamed)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = match holder {
        Holder::Root => directory(parent)?,
        Holder::Anyone => {
            let resolved = resolve(parent)?;
            let meta = look(&resolved)?;
            if !meta.is_dir() {
                return Err(Distrust::OtherKind { path: resolved, kind: kind(&meta), wanted: "a directory" });
            }
            on_the_way(resolved.parent())?;
            resolved
        }
    };
    Ok(directory.join(name))
}

/// Whether a directory that all may write to is good enough when its sticky bit is set.
#[derive(Clone, Copy, PartialEq)]
enum Sticky {
    Accepted,
    Refused,
}

fn ancestors(file: &Path) -> Result<(), Distrust> {
    let Some(holder) = file.parent() else { return Ok(()) };
    only_root_decides(holder, &look(holder)?, Sticky::Refused)?;
    on_the_way(holder.parent())
}

fn on_the_way(from: Option<&Path>) -> Result<(), Distrust> {
    from.into_iter()
        .flat_map(Path::ancestors)
        .try_for_each(|directory| only_root_decides(directory, &look(directory)?, Sticky::Accepted))
}

fn only_root_decides(path: &Path, meta: &Metadata, sticky: Sticky) -> Result<(), Distrust> {
    if meta.uid() != ROOT {
        return Err(Distrust::Owner { path: path.into(), uid: meta.uid() });
    }
    only_its_owner_writes(path, meta, sticky)
}

fn only_its_owner_writes(path: &Path, meta: &Metadata, sticky: Sticky) -> Result<(), Distrust> {
    let mode = meta.mode();
    let by = match (mode & GROUP_MAY_WRITE != 0, mode & OTHERS_MAY_WRITE != 0) {
        (false, false) => return Ok(()),
        (true, false) => "its group",
        (false, true) => "others",
        (true, true) => "its group and others",
    };
    if meta.is_dir() && mode & STICKY != 0 && sticky == Sticky::Accepted {
        return Ok(());
    }
    Err(Distrust::Writable { path: path.into(), mode: mode & 0o7777, by })
}

fn resolve(path: &Path) -> Result<PathBuf, Distrust> {
    fs::canonicalize(path).map_err(|cause| Distrust::Unreadable { path: path.into(), cause })
}

/// Without following links: a resolved path has none, unless somebody is swapping it at this moment, and then it is not trusted.
fn look(path: &Path) -> Result<Metadata, Distrust> {
    fs::symlink_metadata(path).map_err(|cause| Distrust::Unreadable { path: path.into(), cause })
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_file() {
        "a regular file"
    } else if kind.is_symlink() {
        "a link"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "something else"
    }
}
