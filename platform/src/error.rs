//! The error of everything in this crate: what was being done, to what, and what the kernel answered.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// A question the operating system did not answer. Its text is a whole sentence, cause included, since most of them end up as a `reason` on
/// the wire or in the log; [`errno`](Self::errno) and `source()` keep the cause for programs.
#[derive(Debug)]
pub struct OsError {
    doing: String,
    cause: io::Error,
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, OsError>;

impl OsError {
    /// `doing` completes "can't ...": `OsError::new("open /dev/x", cause)`.
    pub fn new(doing: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self { doing: doing.into(), cause: cause.into() }
    }

    /// The error that libc just left in errno.
    #[cfg(target_os = "freebsd")]
    pub(crate) fn last(doing: impl Into<String>) -> Self {
        Self::new(doing, io::Error::last_os_error())
    }

    /// The kernel's error number, if it was the kernel that refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.cause.raw_os_error().map(Errno::from_raw)
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't {}: {}", self.doing, self.cause)
    }
}

impl std::error::Error for OsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl From<OsError> for io::Error {
    fn from(error: OsError) -> Self {
        Self::new(error.cause.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_the_deed_and_the_number_stays() {
        let error = OsError::new("open /dev/ufssuspend", Errno::EACCES);
        assert_eq!(error.to_string(), "can't open /dev/ufssuspend: Permission denied (os error 13)");
        assert_eq!(error.errno(), Some(Errno::EACCES));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::PermissionDenied);
    }
}
