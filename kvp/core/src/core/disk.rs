//! The helper that touches the disk: one thing at a time, each after hv_vss was asked.

use std::time::Duration;

use hv_vss_types::Monotonic;

/// How long the helper may take for one thing before answers no longer wait for it.
const RESPONSIVE: Duration = Duration::from_millis(250);
/// The first and the longest pause after a write that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Does {
    #[default]
    Nothing,
    /// hv_vss is being asked.
    Asks,
    /// hv_vss has said that the disk may be touched.
    IsAllowed,
    Works,
}

/// How pressing it is to touch the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Not at all.
    None,
    /// Something waits to be written again.
    Write,
    /// A request waits, or something that is not a write.
    Now,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    does: Does,
    since: Option<Monotonic>,
    ask_not_before: Option<Monotonic>,
    write_not_before: Option<Monotonic>,
    pause: Option<Duration>,
}

impl Disk {
    /// Whether what is asked of it now is likely to be done at once.
    pub(super) fn is_responsive(&self, now: Monotonic) -> bool {
        let is_quick = self.does == Does::Nothing || self.since.is_none_or(|since| since.until(now) < RESPONSIVE);
        is_quick && self.ask_not_before.is_none_or(|at| at <= now)
    }

    /// Whether hv_vss is to be asked now; if so, it is.
    pub(super) fn asks(&mut self, wish: Wish, now: Monotonic) -> bool {
        if self.does != Does::Nothing || self.gate(wish).is_none_or(|at| at > now) {
            return false;
        }
        (self.does, self.since) = (Does::Asks, Some(now));
        true
    }

    /// When a wish can be seen to; none: never, or as soon as the helper is free.
    pub(super) fn free_at(&self, wish: Wish) -> Option<Monotonic> {
        if self.does == Does::Nothing { self.gate(wish) } else { None }
    }

    fn gate(&self, wish: Wish) -> Option<Monotonic> {
        let ask = self.ask_not_before.unwrap_or(Monotonic::from_ns(0));
        match wish {
            Wish::None => None,
            Wish::Now => Some(ask),
            Wish::Write => Some(self.write_not_before.map_or(ask, |at| at.max(ask))),
        }
    }

    pub(super) fn may_be_used(&mut self) {
        self.does = Does::IsAllowed;
        self.ask_not_before = None;
    }

    pub(super) fn is_not_free_before(&mut self, at: Monotonic) {
        self.does = Does::Nothing;
        self.ask_not_before = Some(at);
    }

    pub(super) fn is_allowed(&self) -> bool {
        self.does == Does::IsAllowed
    }

    pub(super) fn works(&mut self) {
        self.does = Does::Works;
    }

    pub(super) fn has_done(&mut self) {
        self.does = Does::Nothing;
    }

    /// Whether no write has failed a moment ago.
    pub(super) fn may_write(&self, now: Monotonic) -> bool {
        self.write_not_before.is_none_or(|at| at <= now)
    }

    pub(super) fn has_written(&mut self) {
        (self.write_not_before, self.pause) = (None, None);
    }

    pub(super) fn could_not_write(&mut self, now: Monotonic) {
        let pause = self.pause.map_or(PAUSES.0, |pause| (pause * 2).min(PAUSES.1));
        self.pause = Some(pause);
        self.write_not_before = Some(now + pause);
    }
}
