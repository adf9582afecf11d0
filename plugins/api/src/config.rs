//! A plugin's own lines of the configuration, and the errors that name the line that is wrong.

use std::time::Duration;

use crate::Failure;

/// The plugin's table `[plugin.NAME]`, without the keys that are the orchestrator's (`enabled`, `number`, `required` ...).
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) json: String,
}

impl Config {
    /// A configuration of these settings, for a plugin's own tests.
    #[must_use]
    pub fn of(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self { settings, json: String::new() }
    }

    /// The value of `key`: a string as it is, a number in decimal, `true` or `false`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(have, _)| have == key).map(|(_, value)| value.as_str())
    }

    /// All values of `key`, when it is a list.
    pub fn list<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.settings.iter().filter(move |(have, _)| have == key).map(|(_, value)| value.as_str())
    }

    /// All keys and values, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The same table as JSON, for a plugin that brings a parser of its own.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The value of `key` as a span of time: a number and `ms`, `s`, `m` or `h`, such as `"10s"`.
    ///
    /// # Errors
    /// When it is something else; the key and the value are named.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, Failure> {
        let Some(text) = self.get(key) else { return Ok(None) };
        parse_duration(text).map(Some).ok_or_else(|| {
            Failure::Refused(format!(
                "the setting {key} = \"{text}\" is not a time span: write a number and ms, s, m or h, such as \"10s\""
            ))
        })
    }

    /// The value of `key` as `true` or `false`.
    ///
    /// # Errors
    /// When it is something else; the key and the value are named.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Failure::Refused(format!("the setting {key} = \"{other}\" is neither true nor false"))),
        }
    }

    /// Refuses a configuration with a key that is not in `known`: a mistyped key that is silently ignored is a setting that
    /// silently does nothing.
    ///
    /// # Errors
    /// When there is one; all such keys are named, and what would be understood.
    pub fn refuse_unknown(&self, known: &[&str]) -> Result<(), Failure> {
        let mut unknown: Vec<_> =
            self.settings.iter().map(|(key, _)| key.as_str()).filter(|key| !known.contains(key)).collect();
        unknown.dedup();
        match (unknown.as_slice(), known) {
            ([], _) => Ok(()),
            (keys, []) => Err(Failure::Refused(format!("unknown setting {}: there are none", keys.join(", ")))),
            (keys, known) => {
                Err(Failure::Refused(format!("unknown setting {}: there are {}", keys.join(", "), known.join(", "))))
            }
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().ok()?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_named_together_with_what_would_be_understood() {
        let config = Config::of(&[("device", "/dev/ufssuspend"), ("devcie", "x")]);
        assert_eq!(
            config.refuse_unknown(&["device"]),
            Err(Failure::Refused("unknown setting devcie: there are device".into()))
        );
        assert_eq!(config.refuse_unknown(&["device", "devcie"]), Ok(()));
    }

    #[test]
    fn a_time_span_needs_its_unit() {
        let config = Config::of(&[("a", "10s"), ("b", "1500ms"), ("c", "10"), ("d", "s"), ("e", "2m"), ("f", "-1s")]);
        assert_eq!(config.duration("a"), Ok(Some(Duration::from_secs(10))));
        assert_eq!(config.duration("b"), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(config.duration("e"), Ok(Some(Duration::from_secs(120))));
        assert_eq!(config.duration("missing"), Ok(None));
        for key in ["c", "d", "f"] {
            assert!(
                matches!(config.duration(key), Err(Failure::Refused(why)) if why.contains(&format!("{key} = "))),
                "{key}"
            );
        }
    }

    #[test]
    fn a_list_gives_its_items_in_order() {
        let config = Config::of(&[("database", "a"), ("other", "x"), ("database", "b")]);
        assert_eq!(config.list("database").collect::<Vec<_>>(), ["a", "b"]);
    }
}
