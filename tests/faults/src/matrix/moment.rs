//! When: within a step, at the boundary after it, or between two requests of the host.
//!
//! A step is something that can be held from outside until the fault has struck. *Within* it is at work; *after* it has ended, and whoever waits
//! for it was stopped before and has not taken notice: both the end of the step and the fault are news when it goes on.

use std::fmt;

use hv_vss_core::cycle::Point;

use super::named;

named! {
    /// What a backup consists of, as far as it can be held from outside. The vendor's plugin freezes before the scripts, and thaws after them.
    Step {
        /// The application on hv_appvss_dev answers CHECK, before the daemon hears of it.
        AppCheck = "app-check",
        /// The vendor's plugin is asked whether it could freeze.
        VendorCheck = "vendor-check",
        /// A filesystem plugin, after ufs and before zfs_veto, is asked whose the mounts are.
        Claim = "claim",
        /// The application on hv_appvss_dev comes to rest, before the daemon hears of it.
        AppFreeze = "app-freeze",
        /// What will be owed is written to a disk.
        Noting = "noting",
        /// The vendor's plugin comes to rest.
        VendorFreeze = "vendor-freeze",
        /// The first script comes to rest.
        FirstHookFreeze = "first-hook-freeze",
        /// The last script comes to rest.
        SecondHookFreeze = "second-hook-freeze",
        /// The flush after the applications.
        LastFlush = "last-flush",
        /// The first filesystem is suspended.
        FirstSuspend = "first-suspend",
        /// The last filesystem is suspended.
        SecondSuspend = "second-suspend",
        /// The last filesystem is resumed: the first of the thaw.
        FirstResume = "first-resume",
        /// The other one.
        SecondResume = "second-resume",
        /// The last script, which is the first to be thawed.
        FirstHookThaw = "first-hook-thaw",
        /// The other one.
        SecondHookThaw = "second-hook-thaw",
        /// The vendor's plugin goes on.
        VendorThaw = "vendor-thaw",
    }
}

named! {
    /// In which part of a backup.
    Way {
        /// The host CHECKs.
        Check = "check",
        /// The host FREEZEs.
        Freeze = "freeze",
        /// The host THAWs what was frozen.
        Thaw = "thaw",
        /// A FREEZE failed at its last filesystem, and what was held is let go.
        Release = "release",
    }
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// Between a CHECK and a FREEZE.
    Idle,
    /// While this step is at work.
    Within(Way, Step),
    /// At the boundary after this step.
    After(Way, Step),
    /// While everything is held, with the THAW to come.
    Hold,
    /// While everything is held by a host that stays away until the watchdog has struck.
    LongHold,
}

impl Way {
    /// Its steps, in their order.
    #[must_use]
    pub fn steps(self) -> &'static [Step] {
        match self {
            Self::Check => &[Step::AppCheck, Step::VendorCheck, Step::Claim],
            Self::Freeze => &[
                Step::AppFreeze,
                Step::VendorCheck,
                Step::Claim,
                Step::Noting,
                Step::VendorFreeze,
                Step::FirstHookFreeze,
                Step::SecondHookFreeze,
                Step::LastFlush,
                Step::FirstSuspend,
                Step::SecondSuspend,
            ],
            Self::Thaw => {
                &[Step::FirstResume, Step::SecondResume, Step::FirstHookThaw, Step::SecondHookThaw, Step::VendorThaw]
            }
            // Only the first filesystem was suspended, so its resume is the only one.
            Self::Release => &[Step::SecondResume, Step::FirstHookThaw, Step::SecondHookThaw, Step::VendorThaw],
        }
    }
}

/// Who waits for a step's end: it is stopped, so that the boundary after the step has an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// The daemon.
    Daemon,
    /// The process around exec_hook.so.
    ExecHook,
}

impl Step {
    /// Who waits for its end; none for a step of the daemon itself.
    #[must_use]
    pub fn waiter(self) -> Option<Waiter> {
        match self {
            Self::Noting => None,
            Self::FirstHookFreeze | Self::SecondHookFreeze | Self::FirstHookThaw | Self::SecondHookThaw => {
                Some(Waiter::ExecHook)
            }
            Self::AppCheck
            | Self::VendorCheck
            | Self::Claim
            | Self::AppFreeze
            | Self::VendorFreeze
            | Self::LastFlush
            | Self::FirstSuspend
            | Self::SecondSuspend
            | Self::FirstResume
            | Self::SecondResume
            | Self::VendorThaw => Some(Waiter::Daemon),
        }
    }

    /// Is it a script's?
    #[must_use]
    pub fn is_hooks(self) -> bool {
        self.waiter() == Some(Waiter::ExecHook)
    }

    /// Is it the vendor's plugin's?
    #[must_use]
    pub fn is_vendors(self) -> bool {
        matches!(self, Self::VendorCheck | Self::VendorFreeze | Self::VendorThaw)
    }

    /// Is it the application's?
    #[must_use]
    pub fn is_applications(self) -> bool {
        matches!(self, Self::AppCheck | Self::AppFreeze)
    }

    /// Does the process around ufs.so do it?
    #[must_use]
    pub fn is_ufs(self) -> bool {
        matches!(self, Self::FirstSuspend | Self::SecondSuspend | Self::FirstResume | Self::SecondResume)
    }
}

impl Moment {
    /// All of them, in the order in which a backup comes to them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let of = |way: Way| {
            way.steps().iter().flat_map(move |&step| {
                let after = step.waiter().map(|_| Self::After(way, step));
                [Self::Within(way, step)].into_iter().chain(after)
            })
        };
        let mut all: Vec<Self> = of(Way::Check).chain([Self::Idle]).chain(of(Way::Freeze)).collect();
        all.extend([Self::Hold, Self::LongHold]);
        all.extend(of(Way::Thaw).chain(of(Way::Release)));
        all
    }

    /// The way it lies on; none between two requests.
    #[must_use]
    pub fn way(self) -> Option<Way> {
        match self {
            Self::Within(way, _) | Self::After(way, _) => Some(way),
            Self::Idle | Self::Hold | Self::LongHold => None,
        }
    }

    /// The step it is about.
    #[must_use]
    pub fn step(self) -> Option<Step> {
        match self {
            Self::Within(_, step) | Self::After(_, step) => Some(step),
            Self::Idle | Self::Hold | Self::LongHold => None,
        }
    }

    /// Where the daemon's state machine stands then. At a boundary it has not taken notice of the step's end; behind the last filesystem all
    /// that is left of the freeze is the comparison.
    #[must_use]
    pub fn point(self) -> Point {
        match self {
            Self::Idle => Point::Idle,
            Self::Hold | Self::LongHold => Point::Frozen,
            Self::Within(_, Step::AppCheck | Step::AppFreeze) | Self::After(_, Step::AppCheck | Step::AppFreeze) => {
                Point::Idle
            }
            Self::After(Way::Freeze, Step::SecondSuspend) => Point::Comparing,
            Self::Within(way, step) | Self::After(way, step) => match (way, step) {
                (Way::Check, _) => Point::Checking,
                (Way::Thaw | Way::Release, _) => Point::Releasing,
                (Way::Freeze, Step::VendorCheck | Step::Claim) => Point::Surveying,
                (Way::Freeze, Step::Noting) => Point::Noting,
                (Way::Freeze, Step::LastFlush) => Point::LastFlush,
                (Way::Freeze, step) if step.is_ufs() => Point::Filesystems,
                (Way::Freeze, _) => Point::Apps,
            },
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::Hold => f.write_str("hold"),
            Self::LongHold => f.write_str("long-hold"),
            Self::Within(way, step) => write!(f, "{}:within-{}", way.name(), step.name()),
            Self::After(way, step) => write!(f, "{}:after-{}", way.name(), step.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_step_lies_on_some_way_and_every_way_has_steps() {
        let on_a_way: HashSet<Step> = Way::ALL.iter().flat_map(|way| way.steps()).copied().collect();
        assert_eq!(on_a_way, Step::ALL.iter().copied().collect());
    }

    #[test]
    fn every_step_has_a_moment_within_and_every_boundary_a_moment_after() {
        let moments: HashSet<Moment> = Moment::all().into_iter().collect();
        assert_eq!(moments.len(), Moment::all().len(), "none twice");
        for &way in Way::ALL {
            for &step in way.steps() {
                assert!(moments.contains(&Moment::Within(way, step)));
                assert_eq!(moments.contains(&Moment::After(way, step)), step != Step::Noting);
            }
        }
    }
}
