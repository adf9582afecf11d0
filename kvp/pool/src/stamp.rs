//! Which state of a file this is: another program's change shows by another stamp.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How coarse a filesystem's clock can be that shows fractions of a second: a tick of 100 Hz, and
/// some more.
const FINE: Duration = Duration::from_millis(50);
/// How coarse one is that shows whole seconds only, or two of them (msdosfs).
const COARSE: Duration = Duration::from_millis(2500);

/// The device, number, size and times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file.
    #[must_use]
    pub fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }

    /// Whether a later change is sure to make another stamp. It is not while the file is as young
    /// as the filesystem's clock is coarse: a second change may then have the same time.
    #[must_use]
    pub fn is_settled_at(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.modified.max(self.changed);
        let coarse = if nanoseconds == 0 { COARSE } else { FINE };
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u64::try_from(nanoseconds)) else {
            return false;
        };
        let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds);
        now.duration_since(at).is_ok_and(|age| age > coarse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seconds: i64, nanoseconds: i64) -> Stamp {
        let at = (seconds, nanoseconds);
        Stamp { device: 1, inode: 2, size: 3, modified: at, changed: at }
    }

    #[test]
    fn a_file_that_was_changed_just_now_is_looked_at_again() {
        let at = |ms| UNIX_EPOCH + Duration::from_secs(1000) + Duration::from_millis(ms);
        assert!(!stamp(1000, 1_000_000).is_settled_at(at(10)));
        assert!(stamp(1000, 1_000_000).is_settled_at(at(60)));
        assert!(!stamp(1000, 0).is_settled_at(at(2_000)), "a filesystem that counts whole seconds");
        assert!(stamp(1000, 0).is_settled_at(at(3_000)));
    }

    #[test]
    fn a_time_in_the_future_or_before_1970_settles_nothing() {
        assert!(!stamp(2000, 5).is_settled_at(UNIX_EPOCH + Duration::from_secs(1000)));
        assert!(!stamp(-1, 5).is_settled_at(UNIX_EPOCH + Duration::from_secs(1000)));
    }
}
