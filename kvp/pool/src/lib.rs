//! The pools of Hyper-V's key-value pairs, as `hv_kvp_daemon` and the plugin kvp_report keep them.
//!
//! A pool is a file of records. Several programs have pairs in the same file, and each takes an
//! fcntl(2) write lock on all of it. `records.rs` is the format in memory, `edit.rs` decides which
//! bytes a change touches, `file.rs` locks the file and performs it, `place.rs` makes what is
//! missing, `stamp.rs` tells whether another program has changed the file, `text.rs` cuts a text to
//! what the driver passes on.

mod edit;
mod error;
mod file;
mod lock;
mod place;
mod records;
mod stamp;
mod text;

pub use edit::{Change, Edit, Plan, plan};
pub use error::PoolError;
pub use file::{Locked, PoolFile};
pub use lock::{Patience, Until};
pub use place::make_directory;
pub use records::{KEY_SIZE, MOST_RECORDS, RECORD_SIZE, Records, VALUE_SIZE};
pub use stamp::Stamp;
pub use text::{fitting, fitting_key, passed_on};

/// Where hv_kvp_daemon(8) keeps its pools.
pub const DIRECTORY: &str = "/var/db/hyperv/pool";

/// The five pools, by the numbers that the host uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// The host's administrator writes, the guest reads.
    External,
    /// The guest writes, the host reads.
    Guest,
    /// What the daemon computes. Nothing can be set in it.
    Auto,
    /// What Hyper-V itself tells the guest, such as the host's name.
    AutoExternal,
    /// Of the guest's integration services.
    AutoInternal,
}

impl Pool {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::External, Self::Guest, Self::Auto, Self::AutoExternal, Self::AutoInternal];

    /// The pool of this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::External => 0,
            Self::Guest => 1,
            Self::Auto => 2,
            Self::AutoExternal => 3,
            Self::AutoInternal => 4,
        }
    }

    /// Its name in vssctl(8).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Guest => "guest",
            Self::Auto => "auto",
            Self::AutoExternal => "auto-external",
            Self::AutoInternal => "auto-internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_below_five_is_a_pool_and_no_other() {
        for number in 0..=u8::MAX {
            assert_eq!(Pool::of(number).map(Pool::number), (number < 5).then_some(number));
        }
    }
}
