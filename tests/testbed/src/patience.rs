//! Waiting for what has no event to wait for.

use std::time::{Duration, Instant};

/// How long something may take that comes by itself, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at.
pub const PACE: Duration = Duration::from_millis(5);

/// Waits until this is so.
///
/// # Panics
/// When it is not so within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    within(PATIENCE, what, is_so);
}

/// Waits until this is so.
///
/// # Panics
/// When it is not so within that time.
#[track_caller]
pub fn within(time: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + time;
    while !is_so() {
        assert!(Instant::now() < deadline, "after {} s this is still not so: {what}", time.as_secs());
        std::thread::sleep(PACE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_after_a_while_is_waited_for() {
        let mut looks = 0;
        eventually("the third look", || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    #[should_panic(expected = "still not so: never")]
    fn what_never_is_so_ends_in_a_failure() {
        within(Duration::from_millis(20), "never", || false);
    }
}
