//! When must what be done? All arithmetic on time is here, and none of it reads a clock.
//!
//! The host's limit counts from the moment the kernel took the request, which the message tells in wall-clock time; how much of it is left is
//! judged once, when the request is read (the crate `hv_vss_device`, `budget`). From then on there is only the monotonic clock.

use std::time::Duration;

use hv_vss_types::{Monotonic, Operation};

/// The instant by which something is owed. Passed down as an instant and never as a span: "5 s" handed through three calls grants 15 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Monotonic);

impl Deadline {
    /// `span` from `now`.
    #[must_use]
    pub fn after(now: Monotonic, span: Duration) -> Self {
        Self(now + span)
    }

    /// The earlier of the two.
    #[must_use]
    pub fn or_earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// What is left of it at `now`; zero once it has passed.
    #[must_use]
    pub fn left(self, now: Monotonic) -> Duration {
        now.until(self.0)
    }
}

/// The spans of the configuration that deadlines are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The driver's: applications, filesystems and answer together.
    pub limit: Duration,
    /// The driver's for a FREEZE. Ours can have a longer one for it; otherwise it is `limit`.
    pub freeze_limit: Duration,
    /// We stop working this much earlier, so that the answer still fits.
    pub reserve: Duration,
    /// How long a freeze may last from its success answer on.
    pub max_frozen: Duration,
    /// A THAW is answered after this, if no filesystem is held any more: applications may go on for longer.
    pub thaw_answer_after: Duration,
    /// How long the last flush may delay the first filesystem.
    pub last_flush: Duration,
    /// How long an application may take to thaw.
    pub thaw_limit: Duration,
    /// How long an observer may be at one record.
    pub observer_limit: Duration,
}

/// What one request leaves us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// When READ gave us the request.
    pub read: Monotonic,
    /// When its answer must go out.
    pub answer: Deadline,
    /// When the driver answers in our place, as far as we can know: from then on the host has heard a failure.
    pub driver: Deadline,
    /// When everything held on its behalf lets go by itself: no host may keep a freeze longer.
    pub expiry: Monotonic,
}

impl Limits {
    /// How long the driver waits for the answer to such a request.
    #[must_use]
    pub fn of(&self, operation: Operation) -> Duration {
        if operation == Operation::Freeze { self.freeze_limit } else { self.limit }
    }

    /// The budget of a request that was read at `read`, with `left` of the driver's limit.
    #[must_use]
    pub fn budget(&self, read: Monotonic, left: Duration) -> Budget {
        Budget {
            read,
            answer: Deadline::after(read, left.saturating_sub(self.reserve)),
            driver: Deadline::after(read, left),
            expiry: read + self.limit.max(left) + self.max_frozen,
        }
    }

    /// When a THAW with this budget is answered at the latest, if no filesystem is held any more.
    #[must_use]
    pub fn thaw_answer(&self, budget: &Budget) -> Deadline {
        budget.answer.or_earlier(Deadline::after(budget.read, self.thaw_answer_after))
    }

    /// How long from `now` on a filesystem's thaw may take: as long as the host waits for it, and not long if nobody does. One that takes longer has
    /// its plugin's process killed, which releases it. `thaw`: of the THAW that asks for it, if one does.
    #[must_use]
    pub fn filesystem_thaw(&self, now: Monotonic, thaw: Option<&Budget>) -> Duration {
        thaw.map_or(Duration::ZERO, |budget| budget.answer.left(now)).max(self.thaw_answer_after)
    }

    /// How long from `now` on applications wait for the filesystems' release before they are let go beside it.
    #[must_use]
    pub fn apps_wait(&self, now: Monotonic, thaw: Option<&Budget>) -> Duration {
        let left = thaw.map_or(self.limit.saturating_sub(self.reserve), |budget| budget.answer.left(now));
        left.max(self.thaw_answer_after)
    }

    /// When the last flush, begun at `now`, gives way to the freeze: after its slice, and never later than half of what is left.
    #[must_use]
    pub fn last_flush(&self, now: Monotonic, answer: Deadline) -> Deadline {
        Deadline::after(now, self.last_flush.min(answer.left(now) / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        limit: Duration::from_secs(15),
        freeze_limit: Duration::from_secs(120),
        reserve: Duration::from_secs(1),
        max_frozen: Duration::from_secs(60),
        thaw_answer_after: Duration::from_secs(2),
        last_flush: Duration::from_secs(3),
        thaw_limit: Duration::from_secs(60),
        observer_limit: Duration::from_secs(10),
    };

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_ns(seconds * 1_000_000_000)
    }

    #[test]
    fn work_stops_a_reserve_before_the_drivers_limit_and_the_expiry_covers_limit_and_hold() {
        let budget = LIMITS.budget(at(100), Duration::from_secs(12));
        assert_eq!(budget.answer, Deadline(at(111)));
        assert_eq!(budget.driver, Deadline(at(112)));
        assert_eq!(budget.expiry, at(175));
    }

    #[test]
    fn a_freeze_may_have_a_longer_limit_and_its_expiry_covers_it() {
        assert_eq!(LIMITS.of(Operation::Freeze), Duration::from_secs(120));
        for other in [Operation::Check, Operation::Thaw, Operation::Unknown(9)] {
            assert_eq!(LIMITS.of(other), Duration::from_secs(15));
        }
        let budget = LIMITS.budget(at(100), Duration::from_secs(90));
        assert_eq!(budget.answer, Deadline(at(189)));
        assert_eq!(budget.expiry, at(250));
    }

    #[test]
    fn a_request_read_too_late_is_due_at_once() {
        let budget = LIMITS.budget(at(100), Duration::from_millis(300));
        assert_eq!(budget.answer, Deadline(at(100)));
    }

    #[test]
    fn a_thaw_is_answered_after_its_own_span_unless_the_limit_comes_first() {
        assert_eq!(LIMITS.thaw_answer(&LIMITS.budget(at(100), Duration::from_secs(15))), Deadline(at(102)));
        assert_eq!(LIMITS.thaw_answer(&LIMITS.budget(at(100), Duration::from_secs(2))), Deadline(at(101)));
    }

    #[test]
    fn a_filesystem_may_thaw_for_as_long_as_the_host_waits_and_no_less_than_others() {
        let thaw = LIMITS.budget(at(100), Duration::from_secs(15));
        assert_eq!(LIMITS.filesystem_thaw(at(101), Some(&thaw)), Duration::from_secs(13));
        assert_eq!(LIMITS.filesystem_thaw(at(113), Some(&thaw)), Duration::from_secs(2));
        // A process that hangs when nobody waits for an answer must not keep its filesystems frozen for long.
        assert_eq!(LIMITS.filesystem_thaw(at(500), None), Duration::from_secs(2));
        assert_eq!(LIMITS.apps_wait(at(500), None), Duration::from_secs(14));
        assert_eq!(LIMITS.apps_wait(at(101), Some(&thaw)), Duration::from_secs(13));
    }

    #[test]
    fn the_last_flush_leaves_half_of_the_time_to_the_filesystems() {
        assert_eq!(LIMITS.last_flush(at(100), Deadline(at(114))), Deadline(at(103)));
        assert_eq!(LIMITS.last_flush(at(110), Deadline(at(114))), Deadline(at(112)));
        assert_eq!(LIMITS.last_flush(at(120), Deadline(at(114))), Deadline(at(120)));
    }
}
