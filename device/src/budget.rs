//! How much of a request's time is left when it is taken up. The driver's clock runs from the moment the host asked, not from our READ: an
//! application may have had the request first.
//!
//! The only trace of that moment is the request's id, a time of the wall clock, and that clock can step in between.

use std::time::Duration;

/// What is left of `limit` to plan with, for a request with this id read at this time of the wall clock, both in nanoseconds since 1970.
///
/// The difference counts if it can be true, that is if it lies within the limit. If not, the clock was set, and nobody knows how long the request
/// has waited: half of the limit is planned with.
#[must_use]
pub fn budget(msgid: u64, wall_ns_at_read: u64, limit: Duration) -> Duration {
    let elapsed = wall_ns_at_read.checked_sub(msgid).map(Duration::from_nanos);
    match elapsed.filter(|elapsed| *elapsed < limit) {
        Some(elapsed) => limit.saturating_sub(elapsed),
        None => limit / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(15);
    const ASKED: i128 = 1_790_000_000_000_000_000;

    /// The request had waited for `waited_ms` when it was read; meanwhile somebody set the clock by `step_ms`.
    #[track_caller]
    fn left_ms(waited_ms: i128, step_ms: i128) -> u128 {
        let read = u64::try_from(ASKED + (waited_ms + step_ms) * 1_000_000).unwrap();
        budget(u64::try_from(ASKED).unwrap(), read, LIMIT).as_millis()
    }

    #[test]
    fn every_step_of_the_clock_leaves_a_budget_that_is_stated_here() {
        let (second, hour) = (1_000, 3_600_000);
        #[rustfmt::skip]
        let table = [
            // waited ms, the clock's step, left to plan with ms
            (     0,            0,  15_000),
            (    50,            0,  14_950),
            (14_999,            0,       1),
            // Later than the limit: the driver has given up already, or the clock lies. Half is planned, and the answer may come too late.
            (15_000,            0,   7_500),
            (20_000,            0,   7_500),
            // Forward, within the limit: time is lost that was there. Never too late.
            (    50,       second,  13_950),
            (    50,  10 * second,   4_950),
            // Forward, beyond the limit: can't be true.
            (    50,         hour,   7_500),
            ( 6_000,  10 * second,   7_500),
            // Back, further than the request had waited: can't be true.
            (    50,      -second,   7_500),
            (    50, -10 * second,   7_500),
            (    50,        -hour,   7_500),
            // Back, less far than it had waited: looks true, and a budget is planned that is too long by the step. Such a step within such a
            // wait can't be told; the driver's timeout then fails the request, and what is frozen is let go by our own watchdog or the THAW.
            ( 1_500,      -second,  14_500),
            (12_000, -10 * second,  13_000),
        ];
        for (waited, step, left) in table {
            assert_eq!(left_ms(waited, step), left, "waited {waited} ms, clock set by {step} ms");
        }
    }

    #[test]
    fn ids_that_are_no_time_at_all_get_half_the_limit() {
        let now = u64::try_from(ASKED).unwrap();
        for msgid in [0, 1, u64::MAX] {
            assert_eq!(budget(msgid, now, LIMIT), LIMIT / 2, "{msgid}");
        }
        assert_eq!(budget(now, now, Duration::ZERO), Duration::ZERO);
    }
}
