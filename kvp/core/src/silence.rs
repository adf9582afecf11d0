//! May the disk be touched now? What is known of freezes. Decides only.
//!
//! hv_vss is asked before each access to the disk. While it freezes, holds or thaws, the answer is
//! no. Where it can't be asked, the answer is no for as long as the latest freeze it told of can
//! last: its daemon may have died in the hold.

use std::time::Duration;

use hv_vss_types::Monotonic;

/// What hv_vss says about freezes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing is frozen, and nothing is being frozen.
    Free,
    /// A freeze is under way: its state.
    Freeze(String),
    /// No hv_vss_daemon listens: why.
    Absent(String),
    /// It listens and does not answer in time. That can be a machine at rest, too: why.
    Silent(String),
}

/// What is known of freezes.
#[derive(Clone, Debug)]
pub struct Silence {
    max_frozen: Duration,
    until: Option<Monotonic>,
}

impl Silence {
    /// Nothing is known yet. A hold lasts no longer than `max_frozen`.
    #[must_use]
    pub fn new(max_frozen: Duration) -> Self {
        Self { max_frozen, until: None }
    }

    /// hv_vss was asked; whether the disk may be touched.
    pub fn hear(&mut self, word: &Word, now: Monotonic) -> bool {
        match word {
            Word::Free => self.until = None,
            Word::Freeze(_) | Word::Silent(_) => self.until = Some(now + self.max_frozen),
            Word::Absent(_) => {}
        }
        self.until.is_none_or(|until| until <= now)
    }

    /// Whether, as far as is known, filesystems are frozen now.
    #[must_use]
    pub fn is_on(&self, now: Monotonic) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// Until when, if so.
    #[must_use]
    pub fn until(&self) -> Option<Monotonic> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_ns(0) + Duration::from_secs(1000 + seconds)
    }

    fn freeze() -> Word {
        Word::Freeze("frozen".into())
    }

    #[test]
    fn while_a_freeze_is_under_way_the_disk_is_left_alone_and_at_once_afterwards_not() {
        let mut silence = Silence::new(MAX);
        assert!(silence.hear(&Word::Free, at(0)));
        assert!(!silence.hear(&freeze(), at(1)) && silence.is_on(at(1)));
        assert!(silence.hear(&Word::Free, at(2)) && !silence.is_on(at(2)));
    }

    #[test]
    fn where_hv_vss_is_gone_the_disk_is_left_alone_for_as_long_as_its_latest_freeze_can_last() {
        let mut silence = Silence::new(MAX);
        let gone = Word::Absent("no such file".into());
        assert!(silence.hear(&gone, at(0)), "no freeze was ever told of");
        assert!(!silence.hear(&freeze(), at(10)));
        assert!(!silence.hear(&gone, at(11)) && !silence.hear(&gone, at(69)) && silence.is_on(at(69)));
        assert!(silence.hear(&gone, at(70)) && !silence.is_on(at(70)));
    }

    #[test]
    fn a_daemon_that_does_not_answer_may_be_freezing() {
        let mut silence = Silence::new(MAX);
        assert!(!silence.hear(&Word::Silent("no answer".into()), at(0)));
        assert!(silence.is_on(at(59)) && !silence.is_on(at(60)));
    }
}
