//! The two clocks: the monotonic one, which all processes of a machine share and all deadlines are kept in, and the wall clock, which is read
//! only to see how long a request had been waiting when it was taken up.

mod source;

pub use hv_vss_types::Monotonic;
pub use source::{Clock, HandSet, Until};

use nix::time::{ClockId, clock_gettime};

/// Reads the monotonic clock.
#[must_use]
pub fn now() -> Monotonic {
    Monotonic::from_ns(nanoseconds(ClockId::CLOCK_MONOTONIC))
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
    fn the_monotonic_clock_never_goes_back() {
        let first = now();
        assert!(now() >= first);
    }
}
