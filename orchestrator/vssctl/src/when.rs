//! Times and spans as they are shown. The clock is read elsewhere.

use time::OffsetDateTime;

/// A wall-clock time in milliseconds since 1970, as a date and time (UTC, as in the cycles' ids).
pub(super) fn moment(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds) else { return "at an unknown time".to_owned() };
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// A span, as short as it stays meaningful: `0.3 ms`, `412 ms`, `2.05 s`, `3 min 20 s`.
pub(super) fn span(ms: f64) -> String {
    if ms < 9.95 {
        format!("{:.1} ms", ms.max(0.0))
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 9_995.0 {
        format!("{:.2} s", ms / 1000.0)
    } else if ms < 59_950.0 {
        format!("{:.1} s", ms / 1000.0)
    } else {
        let seconds = whole(ms / 1000.0);
        match (seconds / 86_400, seconds % 86_400 / 3600, seconds % 3600 / 60, seconds % 60) {
            (0, 0, minutes, 0) => format!("{minutes} min"),
            (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
            (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
            (days, hours, ..) => format!("{days} d {hours} h"),
        }
    }
}

/// A span of whole milliseconds.
pub(super) fn span_of(ms: u64) -> String {
    span(float(ms))
}

/// How long ago something was.
pub(super) fn ago(ms: u64, now_ms: u64) -> String {
    match now_ms.checked_sub(ms) {
        Some(0..1000) => "just now".to_owned(),
        Some(passed) => format!("{} ago", span_of(passed / 1000 * 1000)),
        None => "in the future: the clock was set back".to_owned(),
    }
}

/// Milliseconds as a number with a fraction. No cycle, and no uptime, is long enough to lose any.
pub(super) fn float(ms: u64) -> f64 {
    let high = u32::try_from(ms >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(ms & 0xffff_ffff).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}

/// The whole part; negative ones and what is no number are zero.
pub(super) fn whole(value: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(value).map_or(0, |span| span.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_as_short_as_they_stay_meaningful() {
        let shown =
            [0.0, 0.34, 9.94, 9.96, 412.4, 999.6, 2050.0, 9_996.0, 14_000.0, 60_000.0, 200_000.0, 5_400_000.0, 1e9];
        let shown = shown.map(span);
        assert_eq!(shown[..7], ["0.0 ms", "0.3 ms", "9.9 ms", "10 ms", "412 ms", "1.00 s", "2.05 s"]);
        assert_eq!(shown[7..], ["10.0 s", "14.0 s", "1 min", "3 min 20 s", "1 h 30 min", "11 d 13 h"]);
    }

    #[test]
    fn a_moment_is_utc_as_in_the_cycles_id() {
        assert_eq!(moment(1_795_388_390_123), "2026-11-22 22:59:50Z");
        assert_eq!(moment(u64::MAX), "at an unknown time");
    }

    #[test]
    fn a_clock_that_was_set_back_is_no_reason_to_panic() {
        assert_eq!(ago(5_000, 1_000), "in the future: the clock was set back");
        assert_eq!(ago(1_000, 1_500), "just now");
        assert_eq!(ago(1_000, 201_700), "3 min 20 s ago");
    }

    #[test]
    fn numbers_keep_their_value_on_the_way_to_a_fraction_and_back() {
        for ms in [0, 1, 59_999, 4_294_967_296, 1_795_388_390_123] {
            assert_eq!(whole(float(ms)), ms);
        }
    }
}
