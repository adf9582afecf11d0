//! What a daemon answers.

use hv_vss_core::control::{Brief, Counters, DebtStatus, MountOutlook, Outlook, PluginStatus, Reply, Status};
use hv_vss_core::record::{CycleResult, Ending, Kind, Record, StepRecord, What};
use hv_vss_platform::mounts::{FsId, Mount};

/// Why the last backup failed, if it did.
pub(crate) const WHY: &str = "exec_hook: 10-mysql.sh freeze failed with exit status 1";

pub(crate) fn status(last: Option<CycleResult>) -> Reply {
    let plugin = PluginStatus {
        name: "exec_hook".to_owned(),
        version: Some("0.1.0".to_owned()),
        description: Some("Runs scripts".to_owned()),
        number: 50,
        pid: Some(71),
        filesystem: false,
        application: true,
        observer: false,
        trouble: None,
        restarts: 0,
    };
    let ending = |result| Ending { result: Some(result), sentence: WHY.to_owned(), ..Ending::default() };
    let brief = |result| Brief { cycle: "c7".to_owned(), began_ms: 1, ending: ending(result) };
    Reply::Status(Box::new(Status {
        version: "0.1.0".to_owned(),
        pid: 70,
        state: "idle".to_owned(),
        since_ms: 5_000,
        cycle: None,
        driver: "base".to_owned(),
        limit_ms: 15_000,
        held: vec![],
        last_backup: last.map(brief),
        last_check: None,
        trouble: None,
        debts: vec![DebtStatus {
            plugin: "exec_hook".into(),
            cycle: "c6".into(),
            parts: vec!["10-db".into()],
            why: "its thaw could not be run".into(),
            next_ms: Some(4_000),
            required: false,
        }],
        plugins: vec![plugin],
        counters: Counters::default(),
    }))
}

pub(crate) fn outlook(works: bool) -> Reply {
    let mount = |id, fstype: &str, on: &str| Mount {
        fsid: FsId([id; 8]),
        fstype: fstype.to_owned(),
        on: on.to_owned(),
        from: "x".to_owned(),
        read_only: false,
        backing: None,
        swap: None,
    };
    let judged = |mount, verdict: &str, reason: &str| MountOutlook {
        mount,
        verdict: verdict.to_owned(),
        by: "somebody".to_owned(),
        reason: reason.to_owned(),
    };
    let mut mounts = vec![judged(mount(1, "ufs", "/data"), "freeze", "")];
    let mut reasons = Vec::new();
    if !works {
        reasons.push("nobody can freeze /tank".to_owned());
        mounts.push(judged(mount(2, "zfs", "/tank"), "veto", "nobody can freeze /tank"));
    }
    Reply::Outlook(Outlook {
        would_work: works,
        reasons,
        mounts,
        freeze_order: vec!["/data".to_owned()],
        applications: vec![(50, "exec_hook".to_owned())],
        took_ms: 7,
        limit_ms: 15_000,
    })
}

/// A backup of one filesystem, held for two seconds.
pub(crate) fn backup() -> Reply {
    Reply::Records { records: vec![record("c7")], damage: None }
}

/// So many of them.
pub(crate) fn history(cycles: usize) -> Reply {
    Reply::Records { records: (0..cycles).map(|at| record(&format!("c{at}"))).collect(), damage: None }
}

fn record(cycle: &str) -> Record {
    let step = |what, name: &str, from_ms, to_ms| StepRecord {
        what,
        name: name.to_owned(),
        from_ms,
        to_ms: Some(to_ms),
        failure: None,
    };
    Record {
        version: 1,
        cycle: cycle.to_owned(),
        kind: Kind::Backup,
        began_ms: 1_795_388_390_000,
        budget_ms: 14_000,
        ending: Ending { result: Some(CycleResult::Ok), sentence: "done as asked".to_owned(), ..Ending::default() },
        answers: Vec::new(),
        steps: vec![
            step(What::Survey, "mounts and plugins", 0.0, 4.0),
            step(What::FreezeFilesystem, "/data", 5.0, 40.0),
            step(What::Answer, "FREEZE", 41.0, 41.0),
            step(What::Hold, "everything", 41.0, 2_041.0),
            step(What::ThawFilesystem, "/data", 2_041.5, 2_046.0),
            step(What::Answer, "THAW", 2_047.0, 2_047.0),
        ],
        frozen_ms: Some(2_006),
    }
}
