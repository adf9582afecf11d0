//! What this process may use. Only the soft limits are set: a program that it starts can raise them again.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{OsError, Result};

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Address space, in bytes.
    Memory,
    /// The number of open descriptors.
    Descriptors,
    /// The size of a core dump, in bytes.
    Core,
}

/// Sets a soft limit to `most`, or to the hard limit where that is lower.
///
/// # Errors
/// When the kernel refuses.
pub fn set(limited: Limited, most: u64) -> Result<()> {
    let (resource, what) = match limited {
        Limited::Memory => (system::MEMORY, "memory"),
        Limited::Descriptors => (Resource::RLIMIT_NOFILE, "the number of descriptors"),
        Limited::Core => (Resource::RLIMIT_CORE, "the size of core dumps"),
    };
    // FreeBSD's limits are signed.
    let most = nix::libc::rlim_t::try_from(most).unwrap_or(nix::libc::RLIM_INFINITY);
    let done = getrlimit(resource).and_then(|(_, hard)| setrlimit(resource, most.min(hard), hard));
    done.map_err(|errno| OsError::new(format!("limit {what} to {most}"), errno))
}

/// How many descriptors this process may have.
#[must_use]
#[allow(clippy::useless_conversion, reason = "FreeBSD's limits are signed")]
pub fn descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| u64::try_from(soft).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_limit_is_set_and_never_above_the_hard_one() {
        let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
        set(Limited::Core, 0).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, hard));
        set(Limited::Core, u64::MAX).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (hard, hard));
    }
}
