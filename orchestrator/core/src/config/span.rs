//! Spans of time as administrators write them: `"500ms"`, `"15s"`, `"2m"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// A span of time in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

impl Span {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn get(self) -> Duration {
        self.0
    }

    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = text[..digits].parse().ok()?;
        let unit_ms = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        count.checked_mul(unit_ms).map(Duration::from_millis).map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "\"{text}\" is not a time span: write a number and ms, s, m or h, such as \"15s\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_a_number_and_a_unit_and_nothing_else() {
        assert_eq!(Span::parse("500ms"), Some(Span(Duration::from_millis(500))));
        assert_eq!(Span::parse("15s"), Some(Span::seconds(15)));
        assert_eq!(Span::parse("2m"), Some(Span::seconds(120)));
        for wrong in ["", "15", "s", "-1s", "1.5s", "1 s", "15sec", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(Span::parse(wrong), None, "{wrong}");
        }
    }
}
