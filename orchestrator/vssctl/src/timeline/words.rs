//! The words around a timeline, the same in the terminal and in the picture.

use super::model::{End, Row, Side};
use crate::cycles::{answered_ms, kind_word, word_of};
use crate::paper::columns;
use crate::when::{float, moment, span, span_of};
use hv_vss_core::record::{Kind, Record};

/// `Backup 20261122-225950: ok`.
pub(super) fn title(record: &Record) -> String {
    let kind = match record.kind {
        Kind::Backup => "Backup",
        Kind::Check | Kind::Rehearsal | Kind::OutOfPlace => kind_word(record.kind),
    };
    format!("{kind} {}: {}", record.cycle, word_of(&record.ending))
}

/// When it was, and how long things were frozen.
pub(super) fn subtitle(record: &Record) -> String {
    let mut words = moment(record.began_ms);
    if let Some(frozen) = record.frozen_ms {
        words.push_str(&format!(", filesystems frozen for {}", span_of(frozen)));
    }
    words
}

/// How much of the time for an answer was used: the share, and the words.
pub(super) fn used(record: &Record) -> Option<(f64, String)> {
    let answered = answered_ms(record)?;
    let what = if record.kind == Kind::Rehearsal { "all held" } else { "answered" };
    let share = answered / float(record.budget_ms).max(1.0);
    Some((share, format!("{what} after {} of {}", span(answered), span_of(record.budget_ms))))
}

/// How long a row's steps of one side took; "more than that" when one of them has not ended.
pub(super) fn took(row: &Row, side: Side) -> String {
    let open = row.bars.iter().any(|bar| bar.side == side && bar.end == End::Open);
    let more = if open { ">" } else { "" };
    row.took_ms(side).map_or_else(String::new, |ms| format!("{more}{}", narrow(ms)))
}

/// A span that fits into its column whatever it is: with one unit.
fn narrow(ms: f64) -> String {
    if ms < 59_950.0 {
        span(ms)
    } else if ms < 5_994_000.0 {
        format!("{:.1} min", ms / 60_000.0)
    } else {
        format!("{:.0} h", ms / 3_600_000.0)
    }
}

/// A name that fits: the end of a path tells more than its beginning, with a script it is the other way round.
pub(super) fn shortened(name: &str, letters: usize, mark: char) -> String {
    if columns(name) <= letters {
        return name.to_owned();
    }
    let kept = letters.saturating_sub(1);
    if name.starts_with('/') {
        let skipped = columns(name) - kept;
        std::iter::once(mark).chain(name.chars().skip(skipped)).collect()
    } else {
        name.chars().take(kept).chain(std::iter::once(mark)).collect()
    }
}

/// A tick's time: `0`, `50 ms`, `1.5 s`, without zeros behind the point.
pub(super) fn tick(ms: f64) -> String {
    let (value, unit) = if ms >= 60_000.0 {
        (ms / 60_000.0, "min")
    } else if ms >= 1_000.0 {
        (ms / 1_000.0, "s")
    } else {
        (ms, "ms")
    };
    if ms <= 0.0 {
        return "0".to_owned();
    }
    let digits = format!("{value:.1}");
    format!("{} {unit}", digits.strip_suffix(".0").unwrap_or(&digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_the_end_is_kept_and_of_a_script_the_beginning() {
        assert_eq!(shortened("/usr/jails/www", 8, '~'), "~ils/www");
        assert_eq!(shortened("90-notify.post-thaw", 8, '~'), "90-noti~");
        assert_eq!(shortened("/usr", 8, '~'), "/usr");
    }

    #[test]
    fn no_duration_is_wider_than_its_column() {
        for ms in [0.0, 9.9, 999.0, 59_949.0, 59_950.0, 200_000.0, 5_993_999.0, 5_994_000.0, 3.5e9] {
            assert!(columns(&narrow(ms)) < 9, "{}", narrow(ms));
        }
        assert_eq!([200_000.0, 7_200_000.0].map(narrow), ["3.3 min", "2 h"]);
    }

    #[test]
    fn ticks_are_told_without_needless_zeros() {
        assert_eq!(
            [0.0, 0.5, 50.0, 1_500.0, 2_000.0, 120_000.0].map(tick),
            ["0", "0.5 ms", "50 ms", "1.5 s", "2 s", "2 min"]
        );
    }
}
