//! An instant on the monotonic clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant on the machine's monotonic clock, in nanoseconds. Unlike [`std::time::Instant`] it can be sent to another process: both FreeBSD
/// and Linux count CLOCK_MONOTONIC for the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Monotonic(u64);

impl Monotonic {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_add_up_and_what_has_passed_is_zero() {
        let first = Monotonic::from_ns(7);
        assert_eq!((first + Duration::from_millis(5)).until(first), Duration::ZERO);
        assert_eq!(first.until(first + Duration::from_millis(5)), Duration::from_millis(5));
        assert_eq!(first - Duration::from_secs(1), Monotonic::from_ns(0));
    }
}
