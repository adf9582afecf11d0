//! How long a script may run, and the sentence about one that ran longer: which limit it was, where it is set, and how much of it there was.

use std::time::Duration;

/// The end of a script's time, in which it may still tidy up after SIGTERM.
const GRACE: Duration = Duration::from_millis(500);

/// Where a limit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The hook's own table.
    Hook,
    /// The plugin's table.
    Plugin,
    /// Neither: the default.
    Default,
}

/// A script's limit in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// What the configuration allows it.
    pub(crate) configured: Duration,
    pub(crate) source: Source,
    /// What it gets: not more than the call has left.
    pub(crate) given: Duration,
}

impl Limit {
    /// How long before its end SIGTERM comes.
    pub(crate) fn grace(self) -> Duration {
        GRACE.min(self.given / 2)
    }

    /// The half sentence about a script that reached it: "its limit of ...".
    pub(crate) fn explained(self, file: &str) -> String {
        let place = match self.source {
            Source::Hook => format!("`limit` in [plugin.exec_hook.hook.\"{file}\"]"),
            Source::Plugin => "`limit` in [plugin.exec_hook]".to_owned(),
            Source::Default => format!("the default; `limit` in [plugin.exec_hook.hook.\"{file}\"] sets another"),
        };
        let limit = format!("its limit of {:.1?} ({place})", self.configured);
        if self.given + Duration::from_millis(1) >= self.configured {
            return limit;
        }
        format!("the {:.1?} that were left for it of {limit}: no more was left of the request's time", self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_the_limit_its_place_and_what_was_left_of_it() {
        let second = Duration::from_secs(1);
        let limit = |source, given| Limit { configured: second * 10, source, given };
        assert_eq!(
            limit(Source::Plugin, second * 10).explained("10-db"),
            "its limit of 10.0s (`limit` in [plugin.exec_hook])"
        );
        assert_eq!(
            limit(Source::Hook, second * 10).explained("10-db"),
            "its limit of 10.0s (`limit` in [plugin.exec_hook.hook.\"10-db\"])"
        );
        assert_eq!(
            limit(Source::Default, Duration::from_millis(6300)).explained("10-db"),
            "the 6.3s that were left for it of its limit of 10.0s (the default; `limit` in [plugin.exec_hook.hook.\"10-db\"] sets \
             another): no more was left of the request's time"
        );
    }

    #[test]
    fn a_short_limit_has_a_shorter_grace() {
        let limit = |ms| Limit { configured: Duration::MAX, source: Source::Default, given: Duration::from_millis(ms) };
        assert_eq!(limit(10_000).grace(), Duration::from_millis(500));
        assert_eq!(limit(200).grace(), Duration::from_millis(100));
    }
}
