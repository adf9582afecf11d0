//! Time: whatever the clock and the configuration say, nothing is planned for after the driver's limit, and no answer before the request.

use std::time::Duration;

use hv_vss_core::deadline::{Deadline, Limits};
use hv_vss_device::budget;
use hv_vss_platform::clock::Monotonic;
use proptest::prelude::*;

/// Spans as they are configured, and absurd ones.
fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (0..120_000_u64).prop_map(Duration::from_millis),
        1 => any::<u64>().prop_map(Duration::from_millis),
        1 => Just(Duration::MAX),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (span(), span(), span(), span(), span(), span()).prop_map(
        |(limit, reserve, max_frozen, thaw_answer_after, last_flush, thaw_limit)| Limits {
            limit,
            freeze_limit: limit,
            reserve,
            max_frozen,
            thaw_answer_after,
            last_flush,
            thaw_limit,
            observer_limit: Duration::from_secs(10),
        },
    )
}

fn instant() -> impl Strategy<Value = Monotonic> {
    prop_oneof![4 => 0..10_u64.pow(15), 1 => any::<u64>()].prop_map(Monotonic::from_ns)
}

proptest! {
    #![proptest_config(crate::tried())]

    #[test]
    fn no_step_of_the_clock_makes_a_budget_longer_than_the_limit(msgid: u64, wall: u64, limit in span()) {
        prop_assert!(budget(msgid, wall, limit) <= limit);
    }

    #[test]
    fn a_request_that_waited_within_the_limit_has_exactly_the_rest(msgid in 0..u64::MAX / 2, waited_ns in 0..20_000_000_000_u64, limit in span()) {
        let waited = Duration::from_nanos(waited_ns);
        let left = budget(msgid, msgid + waited_ns, limit);
        prop_assert_eq!(left, if waited < limit { limit - waited } else { limit / 2 });
    }

    #[test]
    fn every_deadline_of_a_request_lies_between_its_read_and_the_end_of_its_time(limits in limits(), read in instant(), left in span(), now in instant()) {
        let of_it = limits.budget(read, left);
        prop_assert!(read <= of_it.answer.0 && of_it.answer.0 <= read + left);
        let thaw = limits.thaw_answer(&of_it);
        prop_assert!(read <= thaw.0 && thaw <= of_it.answer && thaw.0 <= read + limits.thaw_answer_after);
        let flushed = limits.last_flush(now, of_it.answer);
        prop_assert!(now <= flushed.0 && flushed <= of_it.answer.max(Deadline(now)));
        prop_assert!(now.until(flushed.0) <= of_it.answer.left(now) / 2, "at least half is left to the filesystems");
    }

    #[test]
    fn a_host_holds_at_least_until_the_longest_freeze_may_end(limits in limits(), read in instant()) {
        let of_it = limits.budget(read, limits.limit);
        prop_assert!(of_it.expiry >= of_it.answer.0);
        prop_assert!(of_it.answer.0 + limits.max_frozen <= of_it.expiry || of_it.expiry == read + limits.limit + limits.max_frozen);
    }
}
