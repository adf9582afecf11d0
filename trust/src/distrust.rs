//! Why a file is not trusted, as a sentence that names the file and the command or change that would repair it.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

/// Why root may not use a file.
#[derive(Debug)]
pub enum Distrust {
    /// It can't be looked at; most often it is not there.
    Unreadable {
        /// What was to be looked at.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is not the kind of file that was asked for.
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// A link leads out of the directory in which the file should lie.
    Elsewhere {
        /// The path that was asked about.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
        /// The directory it should not leave.
        bounds: PathBuf,
    },
    /// The file, or a directory on the way to it, belongs to somebody else.
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Somebody else may write to the file, or to a directory on the way to it.
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Who may.
        by: &'static str,
    },
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, cause } => write!(f, "{} can't be looked at: {cause}", path.display()),
            Self::OtherKind { path, kind, wanted } => write!(f, "{} is {kind}, not {wanted}", path.display()),
            Self::Elsewhere { link, target, bounds } => {
                let (link, target, bounds) = (link.display(), target.display(), bounds.display());
                write!(f, "{link} leads to {target}, out of {bounds}: put the file itself there")
            }
            Self::Owner { path, uid } => {
                let path = path.display();
                write!(f, "{path} belongs to uid {uid}, not to root: chown root {path}")
            }
            Self::Writable { path, mode, by } => {
                let path = path.display();
                write!(f, "{path} may be written to by {by} (mode {mode:04o}): chmod go-w {path}")
            }
        }
    }
}

impl Error for Distrust {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreadable { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
