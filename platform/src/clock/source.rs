//! Where a program has its time from: the system, or a hand that sets both clocks.
//!
//! What decides on time is given a [`Clock`] and reads no other. So a test can have an hour pass between any two events without waiting for it,
//! step the wall clock without touching the machine's, and know that nothing else moved.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Monotonic, wall_clock_ns};

/// Both clocks, from one source. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Hand(HandSet),
}

/// Two clocks that stand still until they are set.
#[derive(Clone, Debug)]
pub struct HandSet(Arc<Mutex<Faces>>);

#[derive(Debug)]
struct Faces {
    now: Monotonic,
    wall_ns: u64,
    /// Who waits for which instant.
    sleepers: BTreeMap<(Monotonic, u64), Waker>,
    next_sleeper: u64,
}

/// Waits until a hand-set clock shows an instant.
#[derive(Debug)]
pub struct Until {
    hand: HandSet,
    at: Monotonic,
    sleeper: u64,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// Reads the monotonic clock.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        match &self.0 {
            Source::System => super::now(),
            Source::Hand(hand) => hand.faces().now,
        }
    }

    /// Reads the wall clock, in nanoseconds since 1970 (UTC).
    #[must_use]
    pub fn wall_ns(&self) -> u64 {
        match &self.0 {
            Source::System => wall_clock_ns(),
            Source::Hand(hand) => hand.faces().wall_ns,
        }
    }

    /// Whose hand sets it; none: it is the system's, and goes by itself.
    #[must_use]
    pub fn hand(&self) -> Option<&HandSet> {
        match &self.0 {
            Source::System => None,
            Source::Hand(hand) => Some(hand),
        }
    }
}

impl HandSet {
    /// Two clocks that show this.
    #[must_use]
    pub fn at(now: Monotonic, wall_ns: u64) -> Self {
        Self(Arc::new(Mutex::new(Faces { now, wall_ns, sleepers: BTreeMap::new(), next_sleeper: 0 })))
    }

    /// The clock that this hand sets.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock(Source::Hand(self.clone()))
    }

    /// Time passes: both clocks go on. Whoever waited for an instant that has now come, or was jumped over, is woken.
    pub fn goes_on(&self, span: Duration) {
        let mut faces = self.faces();
        faces.wall_ns = faces.wall_ns.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        drop(faces);
        self.monotonic_goes_on(span);
    }

    /// The monotonic clock goes on by `span`, the wall clock stays: they are separate clocks.
    pub fn monotonic_goes_on(&self, span: Duration) {
        let mut faces = self.faces();
        faces.now = faces.now + span;
        let (now, mut due) = (faces.now, Vec::new());
        while let Some(first) = faces.sleepers.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        drop(faces);
        due.into_iter().for_each(Waker::wake);
    }

    /// The wall clock is set forward, or back.
    pub fn wall_steps_by_ms(&self, ms: i64) {
        let mut faces = self.faces();
        faces.wall_ns = faces.wall_ns.saturating_add_signed(ms.saturating_mul(1_000_000));
    }

    /// The first instant that somebody waits for.
    #[must_use]
    pub fn next_due(&self) -> Option<Monotonic> {
        self.faces().sleepers.keys().next().map(|(at, _)| *at)
    }

    /// Waits until this clock shows `at`, or later.
    #[must_use]
    pub fn until(&self, at: Monotonic) -> Until {
        let mut faces = self.faces();
        faces.next_sleeper += 1;
        let sleeper = faces.next_sleeper;
        drop(faces);
        Until { hand: self.clone(), at, sleeper }
    }

    fn faces(&self) -> MutexGuard<'_, Faces> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut faces = self.hand.faces();
        if faces.now >= self.at {
            return Poll::Ready(());
        }
        faces.sleepers.insert((self.at, self.sleeper), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        self.hand.faces().sleepers.remove(&(self.at, self.sleeper));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hand() -> HandSet {
        HandSet::at(Monotonic::from_ns(1_000), 5_000_000_000)
    }

    fn is_over(until: &mut Until) -> bool {
        Pin::new(until).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_clock_set_by_hand_shows_what_it_is_set_to_and_each_of_the_two_by_itself() {
        let hand = hand();
        let clock = hand.clock();
        hand.monotonic_goes_on(Duration::from_nanos(7));
        assert_eq!((clock.now(), clock.wall_ns()), (Monotonic::from_ns(1_007), 5_000_000_000));
        hand.wall_steps_by_ms(-3_000);
        assert_eq!((clock.now(), clock.wall_ns()), (Monotonic::from_ns(1_007), 2_000_000_000));
        hand.goes_on(Duration::from_nanos(3));
        assert_eq!((clock.now(), clock.wall_ns()), (Monotonic::from_ns(1_010), 2_000_000_003));
        hand.wall_steps_by_ms(-3_600_000);
        assert_eq!(clock.wall_ns(), 0);
    }

    #[test]
    fn who_waits_is_due_when_the_instant_comes_or_is_jumped_over_and_is_forgotten_when_he_gives_up() {
        let hand = hand();
        let (mut soon, mut late) = (hand.until(Monotonic::from_ns(1_010)), hand.until(Monotonic::from_ns(9_000)));
        assert!(!is_over(&mut soon) && !is_over(&mut late));
        assert_eq!(hand.next_due(), Some(Monotonic::from_ns(1_010)));
        hand.monotonic_goes_on(Duration::from_nanos(500));
        assert!(is_over(&mut soon) && !is_over(&mut late));
        assert_eq!(hand.next_due(), Some(Monotonic::from_ns(9_000)));
        drop(late);
        assert_eq!(hand.next_due(), None);
        assert!(is_over(&mut hand.until(Monotonic::from_ns(1_500))));
    }

    #[test]
    fn the_systems_clock_is_nobodys_to_set() {
        let clock = Clock::system();
        assert!(clock.hand().is_none());
        assert!(clock.now() >= Monotonic::from_ns(1) && clock.wall_ns() > 0);
    }
}
