//! The two clocks: the monotonic one, which all processes of a machine share and all deadlines are kept in, and the wall clock, which is read
//! only to see how long a request had been waiting when it was taken up.

mod source;

pub use source::{Clock, HandSet, Until};

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// An instant on the machine's monotonic clock, in nanoseconds. Unlike [`std::time::Instant`] it can be sent to another process: both FreeBSD
/// and Linux count CLOCK_MONOTONIC for the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        Self(nanoseconds(ClockId::CLOCK_MONOTONIC))
    }

    /// The instant `ns` nanoseconds after the clock's zero.
    #[must_use]
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the clock's zero.
    #[must_use]
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// How long from `self` until `later`; zero if that has passed.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

impl std::ops::Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Monotonic {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The wall clock, in nanoseconds since 1970 (UTC). It may step in either direction at any time.
#[must_use]
pub fn wall_clock_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME)
}

/// Both clocks named here exist on every system we run on, so reading them can't fail; zero stands for "can't tell".
fn nanoseconds(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |at| {
        let seconds = u64::try_from(at.tv_sec()).unwrap_or(0);
        let rest = u64::try_from(at.tv_nsec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back_and_spans_add_up() {
        let first = Monotonic::now();
        let second = Monotonic::now();
        assert!(second >= first);
        assert_eq!((first + Duration::from_millis(5)).until(first), Duration::ZERO);
        assert_eq!(first.until(first + Duration::from_millis(5)), Duration::from_millis(5));
    }
}
