//! The record that scripts, plugins and the application of the matrix keep themselves: what each was asked, when it began and when it ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It was asked, and has begun.
    Began,
    /// It has done what it was asked.
    Ended,
    /// It has, and heard that it was too late.
    Late,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// A script, `vendor`, `claimer`, `app` or `flush`.
    pub who: String,
    /// `check`, `claim`, `freeze`, `thaw`.
    pub call: String,
    /// How far.
    pub mark: Mark,
    /// In which process.
    pub pid: i32,
    /// When, to a hundredth of a second.
    pub at: Monotonic,
    /// A script's HV_VSS_OUTCOME.
    pub outcome: String,
}

/// The record of one guest.
#[derive(Clone, Debug)]
pub struct Record {
    path: PathBuf,
    /// How far /proc/uptime, which scripts read, is ahead of the monotonic clock.
    ahead: Duration,
}

/// The resolution of what is read from /proc/uptime.
pub const RESOLUTION: Duration = Duration::from_millis(10);

impl Record {
    /// The one in this directory.
    #[must_use]
    pub fn within(directory: &Path) -> Self {
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let now = clock::now();
        let uptime = uptime.split(' ').next().and_then(instant).unwrap_or(now);
        let ahead = now.until(uptime);
        Self { path: directory.join("record"), ahead: if ahead > 2 * RESOLUTION { ahead } else { Duration::ZERO } }
    }

    /// Begins anew. Only while nobody writes to it.
    pub fn clear(&self) {
        // One that is not there yet is empty.
        let _ = fs::remove_file(&self.path);
    }

    /// Every line so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(|line| self.line(line)).collect()
    }

    fn line(&self, line: &str) -> Option<Line> {
        let words: Vec<&str> = line.split(' ').collect();
        let [who, call, mark, pid, at, outcome] = words[..] else { return None };
        let mark = match mark {
            "began" => Mark::Began,
            "ended" => Mark::Ended,
            _ => Mark::Late,
        };
        let at = instant(at)?;
        let by_script = who == "flush" || who.starts_with(|first: char| first.is_ascii_digit());
        let at = if by_script { at - self.ahead } else { at };
        Some(Line { who: who.into(), call: call.into(), mark, pid: pid.parse().ok()?, at, outcome: outcome.into() })
    }

    /// The process that last began this.
    #[must_use]
    pub fn who_began(&self, who: &str, call: &str) -> Option<i32> {
        let of = |line: &Line| line.who == who && line.call == call && line.mark == Mark::Began;
        self.lines().iter().rev().find(|line| of(line)).map(|line| line.pid)
    }

    /// How many lines are about this.
    #[must_use]
    pub fn count(&self, who: &str, call: &str, mark: Mark) -> usize {
        self.lines().iter().filter(|line| line.who == who && line.call == call && line.mark == mark).count()
    }
}

/// "123.45" seconds.
fn instant(text: &str) -> Option<Monotonic> {
    let (seconds, hundredths) = text.trim().split_once('.')?;
    let (seconds, hundredths): (u64, u64) = (seconds.parse().ok()?, hundredths.parse().ok()?);
    Some(Monotonic::from_ns(seconds * 1_000_000_000 + hundredths * 10_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_half_a_line_is_none() {
        let record = Record { path: PathBuf::new(), ahead: Duration::ZERO };
        let line = record.line("10-a freeze began 77 12.34 ok").unwrap();
        assert_eq!((line.who.as_str(), line.call.as_str(), line.mark, line.pid), ("10-a", "freeze", Mark::Began, 77));
        assert_eq!(line.at, Monotonic::from_ns(12_340_000_000));
        assert_eq!(record.line("10-a freeze be"), None);
    }
}
