//! At rest or not, and since when: the little an application has to remember between FREEZE and THAW. Pure: time is passed in.

use std::time::Duration;

use hv_vss_device::Verdict;
use hv_vss_platform::clock::Monotonic;

/// Why an application goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetGo {
    /// The host, or the driver, said so.
    Thaw,
    /// Nobody said so within [`App::max_hold`](crate::App::max_hold). If the host asks to thaw later, it hears *fail*.
    TooLong,
}

/// How an application stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// At work.
    AtWork,
    /// At rest since then.
    Since(Monotonic),
    /// It was at rest, and went on without having been told to.
    WentOn,
}

impl Rest {
    /// A FREEZE was answered with success.
    pub(crate) fn begins(&mut self, now: Monotonic) {
        *self = Self::Since(now);
    }

    /// When an application at rest goes on by itself.
    pub(crate) fn ends(self, max_hold: Duration) -> Option<Monotonic> {
        match self {
            Self::Since(then) => Some(then + max_hold),
            Self::AtWork | Self::WentOn => None,
        }
    }

    /// Has it been at rest for too long at `now`? Then it is no longer.
    pub(crate) fn runs_out(&mut self, now: Monotonic, max_hold: Duration) -> bool {
        let over = self.ends(max_hold).is_some_and(|end| end <= now);
        if over {
            *self = Self::WentOn;
        }
        over
    }

    /// The host (or the driver) asks to thaw: what it is answered, and whether the application has to go on.
    pub(crate) fn thawed(&mut self) -> (Verdict, Option<LetGo>) {
        match std::mem::replace(self, Self::AtWork) {
            Self::Since(_) => (Verdict::Success, Some(LetGo::Thaw)),
            Self::AtWork => (Verdict::Success, None),
            Self::WentOn => (Verdict::Fail, None),
        }
    }

    /// A new FREEZE: that an earlier one ran out is no longer to be told.
    pub(crate) fn forgets(&mut self) {
        if *self == Self::WentOn {
            *self = Self::AtWork;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_ns(seconds * 1_000_000_000)
    }

    #[test]
    fn a_thaw_in_time_is_a_success_and_lets_go_once() {
        let mut rest = Rest::AtWork;
        rest.begins(at(0));
        assert!(!rest.runs_out(at(59), HOLD));
        assert_eq!(rest.thawed(), (Verdict::Success, Some(LetGo::Thaw)));
        assert_eq!(rest.thawed(), (Verdict::Success, None));
    }

    #[test]
    fn who_went_on_by_himself_says_so_at_the_thaw_and_only_then() {
        let mut rest = Rest::AtWork;
        rest.begins(at(0));
        assert!(rest.runs_out(at(60), HOLD));
        assert!(!rest.runs_out(at(61), HOLD));
        assert_eq!(rest.thawed(), (Verdict::Fail, None));
        assert_eq!(rest.thawed(), (Verdict::Success, None));
    }

    #[test]
    fn a_new_freeze_forgets_that_the_last_one_ran_out() {
        let mut rest = Rest::WentOn;
        rest.forgets();
        assert_eq!(rest.thawed(), (Verdict::Success, None));
    }

    #[test]
    fn a_freeze_while_at_rest_starts_the_time_anew() {
        let mut rest = Rest::AtWork;
        rest.begins(at(0));
        rest.forgets();
        rest.begins(at(50));
        assert_eq!(rest.ends(HOLD), Some(at(110)));
    }
}
