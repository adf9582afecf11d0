//! What the keys say after a cycle. Decides only.
//!
//! The last result is that of the last backup. A CHECK changes it in two cases: it was refused or failed, and so will the backup be that it stands for; or it
//! succeeded, and what it replaces is a refusal, whose reason is gone by that. It never replaces a backup that failed: only a good backup does. A rehearsal,
//! of which the host knows nothing, changes nothing.

use hv_vss_kvp_pool::fitting;
use serde::Deserialize;
use time::OffsetDateTime;

pub(crate) const STATE: &str = "HvVssState";
pub(crate) const RESULT: &str = "HvVssLastResult";
const REASON: &str = "HvVssLastReason";
const TROUBLE: &str = "HvVssLastTrouble";
const CYCLE: &str = "HvVssLastCycle";
const TIME: &str = "HvVssLastTime";
const FROZEN_MS: &str = "HvVssFrozenMs";
const VERSION: &str = "HvVssDaemonVersion";

/// What the state is while no daemon runs.
pub(crate) const STOPPED: &str = "stopped";

/// A key and its value.
pub(crate) type Pair = (&'static str, String);

/// What this plugin needs of a record. Other members, and ones of later versions, it does not look at.
#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    cycle: String,
    kind: String,
    began_ms: u64,
    result: Option<String>,
    sentence: String,
    #[serde(default)]
    aftermath: Vec<Aftermath>,
    #[serde(default)]
    remarks: Vec<String>,
    frozen_ms: Option<u64>,
    #[serde(default)]
    daemon_version: String,
    #[serde(default)]
    state: String,
}

/// Something that went wrong on the way out.
#[derive(Debug, Deserialize)]
struct Aftermath {
    sentence: String,
}

impl Record {
    /// The result, as a host's rule compares it. A backup whose way out went wrong is no `ok`.
    fn result(&self) -> &str {
        match self.result.as_deref().unwrap_or("failed") {
            "ok" if !self.aftermath.is_empty() => "trouble",
            other => other,
        }
    }

    /// What went wrong on the way out, and what qualifies the result.
    fn trouble(&self) -> String {
        let aftermath = self.aftermath.iter().map(|one| one.sentence.as_str());
        aftermath.chain(self.remarks.iter().map(String::as_str)).collect::<Vec<_>>().join("; ")
    }

    /// Reads the JSON of a record.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| format!("the daemon's record can't be understood: {error}"))
    }

    /// The pairs to be written, given the last result that the pool has.
    pub(crate) fn pairs(&self, last: Option<&str>) -> Vec<Pair> {
        if matches!(self.kind.as_str(), "rehearsal" | "out_of_place") {
            return Vec::new();
        }
        let mut pairs = vec![(STATE, fitting(&self.state)), (VERSION, fitting(&self.daemon_version))];
        let result = self.result();
        let tells = self.kind != "check" || result != "ok" || matches!(last, None | Some("" | "refused"));
        if tells {
            pairs.extend([
                (RESULT, fitting(result)),
                (REASON, fitting(&self.sentence)),
                (TROUBLE, fitting(&self.trouble())),
                (CYCLE, fitting(&self.cycle)),
                (TIME, rfc3339(self.began_ms)),
                (FROZEN_MS, self.frozen_ms.unwrap_or(0).to_string()),
            ]);
        }
        pairs
    }
}

/// An instant in UTC, to the second; empty for one that no calendar has.
fn rfc3339(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).ok();
    let Some(at) = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()) else {
        return String::new();
    };
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: &str, result: &str) -> Record {
        let json = format!(
            r#"{{"version":1,"cycle":"20260201-020304","kind":"{kind}","began_ms":1769911384999,"budget_ms":14000,
            "result":"{result}","sentence":"/tank (zfs) can't be frozen","steps":[],"frozen_ms":null,"daemon_version":"0.1.0",
            "state":"refusing","again":false,"of_later_years":{{}}}}"#
        );
        Record::read(&json).unwrap()
    }

    #[test]
    fn a_refused_check_is_told_with_its_sentence_and_time() {
        let pairs = record("check", "refused").pairs(Some("ok"));
        let expected = [
            (STATE, "refusing"),
            (VERSION, "0.1.0"),
            (RESULT, "refused"),
            (REASON, "/tank (zfs) can't be frozen"),
            (TROUBLE, ""),
            (CYCLE, "20260201-020304"),
            (TIME, "2026-02-01T02:03:04Z"),
            (FROZEN_MS, "0"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key, value.to_owned())));
    }

    #[test]
    fn only_a_backup_replaces_a_failed_one_and_a_good_check_takes_a_refusal_away() {
        for (kind, result, last, tells) in [
            ("check", "ok", None, true),
            ("check", "ok", Some(""), true),
            ("check", "ok", Some("refused"), true),
            ("check", "ok", Some("ok"), false),
            ("check", "ok", Some("failed"), false),
            ("check", "ok", Some("expired"), false),
            ("check", "failed", Some("ok"), true),
            ("check", "refused", Some("failed"), true),
            ("backup", "ok", Some("failed"), true),
            ("backup", "refused", Some("ok"), true),
            ("backup", "expired", Some("ok"), true),
        ] {
            let pairs = record(kind, result).pairs(last);
            assert!(pairs.iter().any(|(key, _)| *key == STATE), "the state is always told");
            assert_eq!(pairs.iter().any(|(key, _)| *key == RESULT), tells, "{kind} {result} after {last:?}");
        }
        assert_eq!(record("rehearsal", "failed").pairs(None), []);
    }

    #[test]
    fn a_good_backup_that_left_something_at_rest_is_no_ok() {
        let json = r#"{"cycle":"c","kind":"backup","began_ms":1,"result":"ok","sentence":"done as asked","frozen_ms":1,
            "aftermath":[{"what":"thaw_failed","who":"10-db","sentence":"10-db's thaw failed with exit status 5"}],
            "remarks":["no filesystem was frozen"]}"#;
        let pairs = Record::read(json).unwrap().pairs(Some("ok"));
        let value = |wanted: &str| pairs.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str());
        assert_eq!(value(RESULT), Some("trouble"));
        assert_eq!(value(TROUBLE), Some("10-db's thaw failed with exit status 5; no filesystem was frozen"));
    }

    #[test]
    fn what_is_no_record_is_a_sentence() {
        for json in ["", "{}", "[]", "{\"cycle\":1}"] {
            assert!(Record::read(json).unwrap_err().contains("can't be understood"), "{json}");
        }
    }
}
