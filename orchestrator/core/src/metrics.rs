//! What is counted, and as OpenMetrics text: for `vssctl metrics` and node_exporter's textfile collector.

use std::fmt::Write as _;

use crate::control::{Counters, Status};
use crate::record::{CycleResult, Kind, Record, What};

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];

/// Everything counted since the daemon began.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The plain counters.
    pub counters: Counters,
    freeze: Histogram,
    frozen: Histogram,
    /// Refusals by the first words of their reason's source.
    vetoes: std::collections::BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum_s: f64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum_s += seconds;
    }

    fn write(&self, name: &str, help: &str, text: &mut String) {
        let _ = writeln!(text, "# TYPE {name} histogram\n# UNIT {name} seconds\n# HELP {name} {help}");
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound:?}\"}} {bucket}");
        }
        let _ = writeln!(
            text,
            "{name}_bucket{{le=\"+Inf\"}} {}\n{name}_count {}\n{name}_sum {}",
            self.count, self.count, self.sum_s
        );
    }
}

impl Tally {
    /// Counts a finished cycle.
    pub fn count(&mut self, record: &Record) {
        let counters = &mut self.counters;
        let result = record.ending.result.unwrap_or(CycleResult::Failed);
        let counter = match (record.kind, result) {
            (Kind::Check, CycleResult::Ok) => &mut counters.checks_ok,
            (Kind::Check, _) => &mut counters.checks_failed,
            (Kind::Backup, CycleResult::Ok) => &mut counters.backups_ok,
            (Kind::Backup, CycleResult::Refused) => &mut counters.backups_refused,
            (Kind::Backup, CycleResult::Failed) => &mut counters.backups_failed,
            (Kind::Backup, CycleResult::Expired) => &mut counters.backups_expired,
            (Kind::Backup, CycleResult::Died) => &mut counters.backups_died,
            (Kind::Rehearsal, _) => &mut counters.rehearsals,
            (Kind::OutOfPlace, _) => &mut counters.out_of_place,
        };
        *counter += 1;
        counters.aftermaths += u64::from(!record.ending.aftermath.is_empty());
        let scripts = record.steps.iter().filter(|step| matches!(step.what, What::FreezeScript | What::ThawScript));
        counters.hook_failures += scripts.filter(|step| step.failure.is_some()).map(|_| 1).sum::<u64>();
        if record.kind != Kind::Check
            && let Some(hold) = record.steps.iter().find(|step| step.what == What::Hold)
        {
            self.freeze.add(hold.from_ms / 1000.0);
        }
        if let Some(step) = record.frozen_ms {
            self.frozen.add(std::time::Duration::from_millis(step).as_secs_f64());
        }
    }

    /// Counts a veto by the filesystem type it was about.
    pub fn count_veto(&mut self, fstype: &str) {
        *self.vetoes.entry(fstype.to_owned()).or_default() += 1;
    }
}

/// The metrics as OpenMetrics text (version 1.0.0).
#[must_use]
pub fn text(status: &Status, tally: &Tally) -> String {
    let mut text = String::new();
    let counters = &status.counters;
    let _ = writeln!(text, "# TYPE hv_vss_checks counter\n# HELP hv_vss_checks CHECK requests answered, by result.");
    let _ = writeln!(text, "hv_vss_checks_total{{result=\"ok\"}} {}", counters.checks_ok);
    let _ = writeln!(text, "hv_vss_checks_total{{result=\"failed\"}} {}", counters.checks_failed);
    let _ = writeln!(text, "# TYPE hv_vss_backups counter\n# HELP hv_vss_backups Freezes, by how they ended.");
    let results = [
        ("ok", counters.backups_ok),
        ("refused", counters.backups_refused),
        ("failed", counters.backups_failed),
        ("expired", counters.backups_expired),
        ("died", counters.backups_died),
    ];
    for (result, count) in results {
        let _ = writeln!(text, "hv_vss_backups_total{{result=\"{result}\"}} {count}");
    }
    let plain = [
        ("rehearsals", "Rehearsals.", counters.rehearsals),
        ("plugin_restarts", "Plugin processes that had to be started again.", counters.plugin_restarts),
        ("hook_failures", "Scripts of hooks.d that failed.", counters.hook_failures),
        ("aftermaths", "Cycles that left something not thawed, not in time or not at rest.", counters.aftermaths),
        ("out_of_place", "Requests refused since another was in work, or nothing was held.", counters.out_of_place),
        ("late_answers", "Answers that the driver found too late.", counters.late_answers),
    ];
    for (name, help, count) in plain {
        let _ =
            writeln!(text, "# TYPE hv_vss_{name} counter\n# HELP hv_vss_{name} {help}\nhv_vss_{name}_total {count}");
    }
    let _ = writeln!(
        text,
        "# TYPE hv_vss_vetoes counter\n# HELP hv_vss_vetoes Mounts that vetoed a CHECK or FREEZE, by type."
    );
    for (fstype, count) in &tally.vetoes {
        let label = fstype.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = writeln!(text, "hv_vss_vetoes_total{{type=\"{label}\"}} {count}");
    }
    tally.freeze.write("hv_vss_freeze_seconds", "From the beginning of a FREEZE to its success answer.", &mut text);
    tally.frozen.write(
        "hv_vss_frozen_seconds",
        "From the first suspended filesystem to the last released one.",
        &mut text,
    );
    let _ = writeln!(text, "# TYPE hv_vss_idle gauge\n# HELP hv_vss_idle 1 when nothing is held or in work.");
    let _ = writeln!(text, "hv_vss_idle {}", u8::from(status.state == "idle"));
    let _ =
        writeln!(text, "# TYPE hv_vss_trouble gauge\n# HELP hv_vss_trouble 1 when vssctl status would exit with 1.");
    let _ = writeln!(text, "hv_vss_trouble {}\n# EOF", u8::from(status.trouble.is_some()));
    text
}
