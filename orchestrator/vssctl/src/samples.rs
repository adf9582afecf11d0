//! Cycles as the daemon records them, for the tests of what is drawn and worded from them.

use hv_vss_core::record::{CycleResult, Ending, Kind, RECORD_VERSION, Record, StepRecord, What};

pub(super) fn step(what: What, name: &str, from_ms: f64, to_ms: f64) -> StepRecord {
    StepRecord { what, name: name.to_owned(), from_ms, to_ms: Some(to_ms), failure: None }
}

fn record(cycle: &str, kind: Kind, result: CycleResult, sentence: &str, steps: Vec<StepRecord>) -> Record {
    Record {
        version: RECORD_VERSION,
        cycle: cycle.to_owned(),
        kind,
        began_ms: 1_795_388_390_123,
        budget_ms: 14_000,
        ending: Ending { result: Some(result), sentence: sentence.to_owned(), ..Ending::default() },
        answers: Vec::new(),
        steps,
        frozen_ms: None,
    }
}

/// A backup that went well: two scripts, a vendor's application, three filesystems, held for 4 s.
pub(super) fn backup() -> Record {
    let steps = vec![
        step(What::Survey, "mounts and plugins", 0.1, 6.2),
        step(What::Flush, "beside the applications", 6.3, 210.0),
        step(What::FreezeApp, "postgres", 6.4, 96.0),
        step(What::FreezeApp, "exec_hook", 96.2, 318.0),
        step(What::FreezeScript, "10-mysql.sh", 98.0, 251.0),
        step(What::FreezeScript, "20-cache", 252.0, 316.5),
        step(What::Flush, "last", 318.5, 380.0),
        step(What::FreezeFilesystem, "/data/img", 380.4, 391.0),
        step(What::FreezeFilesystem, "/data", 391.2, 407.0),
        step(What::FreezeFilesystem, "/", 407.1, 449.0),
        step(What::Answer, "FREEZE", 449.6, 449.6),
        step(What::Hold, "everything", 449.6, 4_449.6),
        step(What::ThawFilesystem, "/", 4_450.0, 4_492.0),
        step(What::ThawFilesystem, "/data", 4_492.3, 4_507.0),
        step(What::ThawFilesystem, "/data/img", 4_507.2, 4_513.0),
        step(What::ThawApp, "exec_hook", 4_513.5, 4_695.0),
        step(What::ThawScript, "20-cache", 4_514.0, 4_580.0),
        step(What::ThawScript, "10-mysql.sh", 4_581.0, 4_693.0),
        step(What::ThawApp, "postgres", 4_695.1, 4_751.0),
        step(What::Answer, "THAW", 4_751.4, 4_751.4),
    ];
    let mut record = record("20261122-225950", Kind::Backup, CycleResult::Ok, "done as asked", steps);
    record.frozen_ms = Some(4_122);
    record
}

/// A backup that a script's failure ended.
pub(super) fn failed() -> Record {
    let sentence = "exec_hook: 10-mysql.sh freeze failed with exit status 1 after 3.0s; output: can't connect to local server through socket '/tmp/mysql.sock'";
    let mut steps = vec![
        step(What::Survey, "mounts and plugins", 0.1, 5.0),
        step(What::Flush, "beside the applications", 5.1, 140.0),
        step(What::FreezeApp, "exec_hook", 5.2, 3_012.0),
        step(What::FreezeScript, "10-mysql.sh", 7.0, 3_010.0),
        step(What::Answer, "FREEZE", 3_013.0, 3_013.0),
        step(What::ThawApp, "exec_hook", 3_013.4, 3_100.0),
        step(What::ThawScript, "10-mysql.sh", 3_014.0, 3_099.0),
    ];
    for at in [2, 3, 4] {
        steps[at].failure = Some(sentence.to_owned());
    }
    record("20261122-230001", Kind::Backup, CycleResult::Failed, sentence, steps)
}

/// A CHECK that went well.
pub(super) fn check() -> Record {
    let steps = vec![step(What::Survey, "mounts and plugins", 0.1, 3.1), step(What::Answer, "CHECK", 3.4, 3.4)];
    record("20261122-225948", Kind::Check, CycleResult::Ok, "done as asked", steps)
}

/// A backup that nobody thawed.
pub(super) fn expired() -> Record {
    let mut record = backup();
    record.cycle = "20261122-231500".to_owned();
    record.ending.result = Some(CycleResult::Expired);
    record.ending.sentence =
        "the host did not thaw in time, so everything was let go (max_frozen); this backup is not consistent"
            .to_owned();
    for step in record.steps.iter_mut().filter(|step| step.from_ms > 4_000.0) {
        step.from_ms += 56_000.0;
        step.to_ms = step.to_ms.map(|to_ms| to_ms + 56_000.0);
    }
    let hold = record.steps.iter_mut().find(|step| step.what == What::Hold);
    hold.into_iter().for_each(|step| step.to_ms = Some(60_449.6));
    record.steps.pop();
    record.frozen_ms = Some(60_122);
    record
}
