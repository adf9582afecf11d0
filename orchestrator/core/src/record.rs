//! What happened in one cycle: every step with its times and its end. Kept in memory while the cycle lasts, shown and written afterwards.

use hv_vss_types::Monotonic;
use serde::{Deserialize, Deserializer, Serialize};

pub use crate::ending::{Aftermath, Consequence, CycleResult, Ending};

/// The version of this record in the history. Fields are only ever added.
pub const RECORD_VERSION: u32 = 1;

/// One cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// Its id.
    pub cycle: String,
    /// What it was.
    pub kind: Kind,
    /// When it began, in milliseconds of the wall clock since 1970 (UTC).
    pub began_ms: u64,
    /// The time that was planned with: from the beginning to the latest answer, in milliseconds.
    #[serde(deserialize_with = "plausible_whole")]
    pub budget_ms: u64,
    /// How it ended, and what came after.
    #[serde(flatten)]
    pub ending: Ending,
    /// What the host was answered, and what it heard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<AnswerRecord>,
    /// Its steps in the order they began.
    pub steps: Vec<StepRecord>,
    /// From the first suspended filesystem to the last released one, in milliseconds.
    #[serde(default, deserialize_with = "plausible_if_any")]
    pub frozen_ms: Option<u64>,
}

impl Record {
    /// Is an observer that has not been told of `waiting` yet told of this one in its place? A backup with trouble is only displaced by the
    /// next backup, or by a CHECK that was refused.
    #[must_use]
    pub fn displaces(&self, waiting: &Self) -> bool {
        match self.kind {
            Kind::Backup => true,
            Kind::Check => self.ending.is_trouble() || waiting.kind != Kind::Backup || !waiting.ending.is_trouble(),
            Kind::Rehearsal => waiting.kind == Kind::Rehearsal,
            Kind::OutOfPlace => false,
        }
    }
}

/// What a cycle was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A CHECK.
    Check,
    /// A FREEZE and all that followed.
    Backup,
    /// A cycle without a host.
    Rehearsal,
    /// A request that was refused for being out of place: it changed nothing, and has no steps.
    OutOfPlace,
}

/// An answer to the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// `CHECK`, `FREEZE` or `THAW`.
    pub request: String,
    /// What the daemon gave to the driver.
    pub answered: Told,
    /// What the driver gave to the host; none: not known. The driver in base does not say, and an application on its node may
    /// have failed the request.
    #[serde(default)]
    pub heard: Option<Told>,
    /// Why the host heard something else than was answered, in the driver's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Success.
    Success,
    /// Failure.
    Fail,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// What was done.
    pub what: What,
    /// To whom: a plugin, a script, a mount point.
    pub name: String,
    /// When it began, in milliseconds since the cycle did.
    #[serde(deserialize_with = "plausible")]
    pub from_ms: f64,
    /// When it ended; none if it never did.
    #[serde(default, deserialize_with = "plausible_if_any")]
    pub to_ms: Option<f64>,
    /// What went wrong, as a sentence.
    pub failure: Option<String>,
}

/// No cycle lasts longer: 40 days, in milliseconds. What a damaged file says beyond is taken for this, so that nobody who draws or adds times has to
/// reckon with numbers that can't be true.
const LONGEST_MS: u32 = 40 * 24 * 3_600 * 1_000;

/// A time that a record may hold.
trait Plausible {
    fn bounded(self) -> Self;
}

impl Plausible for f64 {
    fn bounded(self) -> Self {
        self.clamp(0.0, LONGEST_MS.into())
    }
}

impl Plausible for u64 {
    fn bounded(self) -> Self {
        self.min(LONGEST_MS.into())
    }
}

fn plausible<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    f64::deserialize(deserializer).map(f64::bounded)
}

fn plausible_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    u64::deserialize(deserializer).map(u64::bounded)
}

fn plausible_if_any<'de, D: Deserializer<'de>, T: Plausible + Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.map(T::bounded))
}

/// The kinds of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The mounts are claimed, the plugins asked.
    Survey,
    /// Dirty data is written out.
    Flush,
    /// Processes are looked at for mapped files.
    Scan,
    /// An application comes to rest.
    FreezeApp,
    /// A script runs before the freeze.
    FreezeScript,
    /// A filesystem is suspended.
    FreezeFilesystem,
    /// Everything is held.
    Hold,
    /// A filesystem is resumed.
    ThawFilesystem,
    /// An application goes on.
    ThawApp,
    /// A script runs after the thaw.
    ThawScript,
    /// The host is answered: a moment.
    Answer,
}

/// A step of a record that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepMark(usize);

/// A record in the making.
#[derive(Debug)]
pub struct Recorder {
    record: Record,
    start: Monotonic,
}

impl Recorder {
    /// Begins a cycle.
    #[must_use]
    pub fn begin(cycle: String, kind: Kind, began_ms: u64, start: Monotonic, answer: Monotonic) -> Self {
        let budget_ms = u64::try_from(start.until(answer).as_millis()).unwrap_or(u64::MAX);
        let record = Record {
            version: RECORD_VERSION,
            cycle,
            kind,
            began_ms,
            budget_ms,
            ending: Ending::default(),
            answers: Vec::new(),
            steps: Vec::new(),
            frozen_ms: None,
        };
        Self { record, start }
    }

    /// A step begins.
    pub fn step(&mut self, what: What, name: impl Into<String>, now: Monotonic) -> StepMark {
        let from_ms = self.ms(now);
        self.record.steps.push(StepRecord { what, name: name.into(), from_ms, to_ms: None, failure: None });
        StepMark(self.record.steps.len() - 1)
    }

    /// A step ends.
    pub fn ended(&mut self, mark: StepMark, now: Monotonic, failure: Option<String>) {
        let to_ms = self.ms(now);
        if let Some(step) = self.record.steps.get_mut(mark.0).filter(|step| step.to_ms.is_none()) {
            step.to_ms = Some(to_ms);
            step.failure = failure;
        }
    }

    /// How the cycle ends. Only the first end counts: what comes after it follows from it.
    pub fn concluded(&mut self, result: CycleResult, sentence: &str) {
        let ending = &mut self.record.ending;
        if ending.result.is_none() {
            ending.result = Some(result);
            sentence.clone_into(&mut ending.sentence);
        }
    }

    /// Something went wrong on the way out. The first word about one participant counts; what follows from it is not said again.
    pub fn aftermath(&mut self, what: Consequence, who: &str, sentence: String, now: Monotonic) {
        let since_ms = self.ms(now);
        let aftermath = &mut self.record.ending.aftermath;
        if aftermath.iter().all(|earlier| earlier.who != who) {
            aftermath.push(Aftermath { what, who: who.to_owned(), since_ms, sentence });
        }
    }

    /// What a reader of the result has to know, without anything having gone wrong.
    pub fn remark(&mut self, sentence: String) {
        let remarks = &mut self.record.ending.remarks;
        if !remarks.contains(&sentence) {
            remarks.push(sentence);
        }
    }

    /// The host was answered.
    pub fn answered(&mut self, request: &str, answered: Told) {
        self.record.answers.push(AnswerRecord { request: request.to_owned(), answered, heard: None, because: None });
    }

    /// The record so far.
    #[must_use]
    pub fn so_far(&self) -> &Record {
        &self.record
    }

    /// The finished record.
    #[must_use]
    pub fn finish(mut self) -> Record {
        let steps = &self.record.steps;
        let first = steps.iter().filter(|step| step.what == What::FreezeFilesystem && step.failure.is_none());
        let first = first.filter_map(|step| step.to_ms).reduce(f64::min);
        let last = steps
            .iter()
            .filter(|step| step.what == What::ThawFilesystem)
            .filter_map(|step| step.to_ms)
            .reduce(f64::max);
        self.record.frozen_ms = first.zip(last).map(|(first, last)| whole_ms(last - first));
        self.record
    }

    fn ms(&self, now: Monotonic) -> f64 {
        let micros = u32::try_from(self.start.until(now).as_micros()).unwrap_or(u32::MAX);
        f64::from(micros) / 1000.0
    }
}

/// Milliseconds of a record are small and not negative: no cycle lasts for weeks.
fn whole_ms(ms: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(ms / 1000.0)
        .map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_with_trouble_is_displaced_by_nothing_that_hides_it() {
        let record = |kind, result| {
            let zero = Monotonic::from_ns(0);
            let mut recorder = Recorder::begin("c".to_owned(), kind, 0, zero, zero);
            recorder.concluded(result, "why");
            recorder.finish()
        };
        let failed = record(Kind::Backup, CycleResult::Failed);
        for (kind, result, displaces) in [
            (Kind::Backup, CycleResult::Ok, true),
            (Kind::Check, CycleResult::Ok, false),
            (Kind::Check, CycleResult::Refused, true),
            (Kind::Rehearsal, CycleResult::Ok, false),
            (Kind::OutOfPlace, CycleResult::Refused, false),
        ] {
            assert_eq!(record(kind, result).displaces(&failed), displaces, "{kind:?} {result:?}");
        }
        assert!(record(Kind::Check, CycleResult::Ok).displaces(&record(Kind::Backup, CycleResult::Ok)));
    }

    #[test]
    fn times_that_can_not_be_true_are_taken_for_the_longest_or_shortest_that_can() {
        let step = |from: &str, to: &str| -> StepRecord {
            let text = format!(r#"{{"what":"hold","name":"x","from_ms":{from},"to_ms":{to},"failure":null}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let longest = f64::from(LONGEST_MS);
        let absurd = step("-1e308", "1e308");
        assert_eq!((absurd.from_ms, absurd.to_ms), (0.0, Some(longest)));
        let usual = step("1.5", "null");
        assert_eq!((usual.from_ms, usual.to_ms), (1.5, None));
        let text = r#"{"version":1,"cycle":"c","kind":"backup","began_ms":1,"budget_ms":18446744073709551615,"result":null,"sentence":"","steps":[],"frozen_ms":18446744073709551615}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!((record.budget_ms, record.frozen_ms), (LONGEST_MS.into(), Some(LONGEST_MS.into())));
    }
}
