//! How a cycle ended, to the very end: the one value that every surface shows.
//!
//! `result` is what the backup is worth. The aftermath is what went wrong on the way out: something that was not
//! thawed, not in time, or not at rest for the whole hold. A backup may be good and leave an application stopped; so a
//! result alone is never shown. [`Ending::summary`] and [`Ending::is_trouble`] are the only places that put the two
//! together: log, status, history, timeline, metrics and the host's keys all use them.

use serde::{Deserialize, Serialize};

/// How a cycle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CycleResult {
    /// The host heard success, and that was true to the end.
    Ok,
    /// It was refused before anything was touched.
    Refused,
    /// It failed, and everything was thawed, or is named in the aftermath.
    Failed,
    /// Everything was held, and was thawed before the host asked.
    Expired,
    /// The daemon ended in the hold; its successor wrote this.
    Died,
}

impl CycleResult {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Refused, Self::Failed, Self::Expired, Self::Died];

    /// As status, history and metrics show it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Died => "died",
        }
    }
}

/// What became of one that took part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// Its thaw has not run, and is owed.
    NotThawed,
    /// Its thaw has run and failed.
    ThawFailed,
    /// Its thaw was ended at its time limit.
    ThawLate,
    /// It was not at rest for the whole hold.
    Lost,
    /// What was stored to a mapped file in the hold is lost.
    StoresLost,
    /// The host heard something else than the daemon answered.
    HostHeard,
}

/// One thing that went wrong on the way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aftermath {
    /// What became of it.
    pub what: Consequence,
    /// A script, a plugin or a mount point.
    pub who: String,
    /// Since when, in milliseconds since the cycle began.
    #[serde(default)]
    pub since_ms: f64,
    /// A sentence, without its final stop: "10-db's thaw failed with exit status 5".
    pub sentence: String,
}

/// How a cycle ended, and what came after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// The result; none while the cycle lasts.
    pub result: Option<CycleResult>,
    /// Why, as a sentence.
    pub sentence: String,
    /// What went wrong on the way out, in the order in which it became known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aftermath: Vec<Aftermath>,
    /// What a reader of the result has to know, without anything having gone wrong: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl Ending {
    /// The result in a word; `in work` while there is none.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.result.map_or("in work", CycleResult::word)
    }

    /// Does an administrator have to look? After every result but ok, and after every aftermath.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        self.result.is_some_and(|result| result != CycleResult::Ok) || !self.aftermath.is_empty()
    }

    /// What there is to say beside the word: nothing after a cycle in which all went well.
    #[must_use]
    pub fn details(&self) -> Vec<&str> {
        let reason = Some(self.sentence.as_str()).filter(|_| self.result != Some(CycleResult::Ok));
        let aftermath = self.aftermath.iter().map(|one| one.sentence.as_str());
        let remarks = self.remarks.iter().map(String::as_str);
        reason.into_iter().chain(aftermath).chain(remarks).filter(|sentence| !sentence.is_empty()).collect()
    }

    /// The result with all that qualifies it, in one line: "ok, but 10-db's thaw failed with exit status 5".
    #[must_use]
    pub fn summary(&self) -> String {
        let details = self.details();
        match (self.result, details.as_slice()) {
            (_, []) => self.word().to_owned(),
            (Some(CycleResult::Ok), [first, more @ ..]) => [format!("ok, but {first}")]
                .into_iter()
                .chain(more.iter().map(|&more| more.to_owned()))
                .collect::<Vec<_>>()
                .join("; "),
            _ => format!("{}: {}", self.word(), details.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(result: CycleResult, sentence: &str) -> Ending {
        Ending { result: Some(result), sentence: sentence.to_owned(), ..Ending::default() }
    }

    fn thaw_failed() -> Aftermath {
        Aftermath {
            what: Consequence::ThawFailed,
            who: "10-db".to_owned(),
            since_ms: 12.5,
            sentence: "10-db's thaw failed with exit status 5".to_owned(),
        }
    }

    #[test]
    fn a_good_result_with_an_aftermath_is_never_a_plain_ok() {
        let mut ending = ended(CycleResult::Ok, "as asked");
        assert_eq!((ending.summary().as_str(), ending.is_trouble()), ("ok", false));
        ending.aftermath.push(thaw_failed());
        assert_eq!(ending.summary(), "ok, but 10-db's thaw failed with exit status 5");
        assert!(ending.is_trouble());
    }

    #[test]
    fn a_remark_qualifies_the_result_and_is_no_trouble() {
        let mut ending = ended(CycleResult::Ok, "as asked");
        ending.remarks.push("nothing was at rest".to_owned());
        assert_eq!((ending.summary().as_str(), ending.is_trouble()), ("ok, but nothing was at rest", false));
    }

    #[test]
    fn each_bad_result_is_trouble_and_says_its_reason_first() {
        for result in CycleResult::ALL.into_iter().filter(|result| *result != CycleResult::Ok) {
            let mut ending = ended(result, "/tank can't be frozen");
            ending.aftermath.push(thaw_failed());
            assert!(ending.is_trouble());
            let summary = format!("{}: /tank can't be frozen; 10-db's thaw failed with exit status 5", result.word());
            assert_eq!(ending.summary(), summary);
        }
    }

    #[test]
    fn an_ending_of_the_first_edition_reads_as_one_without_aftermath() {
        let ending: Ending = serde_json::from_str(r#"{"result":"ok","sentence":"as asked"}"#).unwrap();
        assert_eq!(ending, ended(CycleResult::Ok, "as asked"));
    }
}
