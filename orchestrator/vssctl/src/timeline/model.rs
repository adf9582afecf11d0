//! What a timeline shows: a row for each application, script and filesystem, on an axis that is cut where nothing happened.
//!
//! ```text
//!               freezing             hold (cut)       thawing
//!            |------------------------|/ / / /|-----------------|
//!   postgres  ######-------------------------------------####
//!   /               ####--------------------####
//!   answer               ^ FREEZE                              ^ THAW
//! ```
//! A freeze takes milliseconds and the hold takes seconds: to one scale, either could not be seen.

use super::axis::{Axis, Part};
use crate::cycles::end_ms;
use crate::when::float;
use hv_vss_core::record::{CycleResult, Kind, Record, StepRecord, What};

/// A whole timeline.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) axis: Axis,
    pub(super) rows: Vec<Row>,
    /// What the host was told, and when.
    pub(super) answers: Vec<Mark>,
    /// When the time for the answer was over, if that is on the axis.
    pub(super) limit_ms: Option<f64>,
}

/// One row: everything that one name did.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) kind: RowKind,
    pub(super) bars: Vec<Bar>,
    /// From when to when it was held.
    pub(super) held: Option<(f64, f64)>,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    /// The survey, the flush.
    Preparation,
    /// An application.
    Application,
    /// A script, of the application above it.
    Script,
    /// A filesystem.
    Filesystem,
}

/// A step.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) side: Side,
    pub(super) from_ms: f64,
    pub(super) to_ms: f64,
    pub(super) end: End,
}

/// Which half of the cycle a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Freeze,
    Thaw,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Well,
    /// A sentence.
    Failed(String),
    /// It is still at work, or never ended.
    Open,
}

/// A moment.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at_ms: f64,
    pub(super) name: String,
    /// What it was told went wrong.
    pub(super) failure: Option<String>,
}

impl Chart {
    pub(super) fn of(record: &Record) -> Self {
        let end = end_ms(record).max(0.1);
        let budget = float(record.budget_ms);
        let rows = rows(record, end);
        let hold = record.steps.iter().find(|step| step.what == What::Hold);
        let hold = hold.map(|step| (step.from_ms, step.to_ms.unwrap_or(end))).or_else(|| unsaid_hold(record, &rows));
        // A limit far away would make everything else too small to be seen; the sentence above the chart names it anyway.
        let near = hold.is_none() && budget > 0.0 && budget <= end * 2.5;
        let limit_ms = (near || budget > 0.0 && budget <= hold.map_or(0.0, |(from, _)| from)).then_some(budget);
        let last = limit_ms.map_or(end, |limit| end.max(limit));
        Self { axis: Axis::new(last, hold), rows, answers: answers(record), limit_ms }
    }

    /// The parts of the axis that were cut: the hold, if it is one of them.
    pub(super) fn cut(&self) -> Option<Part> {
        self.axis.parts.iter().copied().find(|part| part.cut)
    }

    /// Everything that went wrong, each sentence once, with the name of the first row it was said of.
    pub(super) fn failures(&self) -> Vec<(&str, &str)> {
        let of_rows = self.rows.iter().flat_map(|row| {
            row.bars.iter().filter_map(|bar| match &bar.end {
                End::Failed(sentence) => Some((row.name.as_str(), sentence.as_str())),
                End::Well | End::Open => None,
            })
        });
        let of_answers = self.answers.iter().filter_map(|mark| Some((mark.name.as_str(), mark.failure.as_deref()?)));
        let mut failures: Vec<(&str, &str)> = Vec::new();
        for (name, sentence) in of_rows.chain(of_answers) {
            // What a script says comes back in what its application and the answer say.
            match failures.iter_mut().find(|(_, said)| said.contains(sentence) || sentence.contains(*said)) {
                Some(said) if said.1.len() > sentence.len() => *said = (name, sentence),
                Some(_) => {}
                None => failures.push((name, sentence)),
            }
        }
        failures
    }
}

/// A rehearsal tells no host, and so has no step for its hold: everything was held between the last freeze and the first thaw.
fn unsaid_hold(record: &Record, rows: &[Row]) -> Option<(f64, f64)> {
    if record.kind != Kind::Rehearsal || record.ending.result != Some(CycleResult::Ok) {
        return None;
    }
    let held = rows.iter().filter_map(|row| row.held);
    let (from, to) = held.reduce(|one, other| (one.0.max(other.0), one.1.min(other.1)))?;
    (from < to).then_some((from, to))
}

fn rows(record: &Record, end: f64) -> Vec<Row> {
    let of = |wanted: &[What]| -> Vec<&StepRecord> {
        record.steps.iter().filter(|step| wanted.contains(&step.what)).collect()
    };
    let mut rows = Vec::new();
    for step in of(&[What::Survey]) {
        join(&mut rows, &step.name, RowKind::Preparation, bar(step, end));
    }
    for step in of(&[What::Flush]) {
        join(&mut rows, "flush", RowKind::Preparation, bar(step, end));
    }
    let mut scripts = of(&[What::FreezeScript, What::ThawScript]);
    let apps = of(&[What::FreezeApp, What::ThawApp]);
    let mut names: Vec<&str> = Vec::new();
    for app in &apps {
        if !names.contains(&app.name.as_str()) {
            names.push(&app.name);
        }
    }
    for name in names {
        for app in apps.iter().filter(|app| app.name == name) {
            join(&mut rows, name, RowKind::Application, bar(app, end));
        }
        // A script is its application's whose step it ran in.
        let (own, others): (Vec<_>, Vec<_>) =
            scripts.into_iter().partition(|script| apps.iter().any(|app| app.name == name && within(script, app, end)));
        scripts = others;
        let mut own_rows = Vec::new();
        own.into_iter().for_each(|script| join(&mut own_rows, &script.name, RowKind::Script, bar(script, end)));
        rows.append(&mut own_rows);
    }
    scripts.into_iter().for_each(|script| join(&mut rows, &script.name, RowKind::Script, bar(script, end)));
    let mut filesystems = Vec::new();
    for step in of(&[What::FreezeFilesystem, What::ThawFilesystem]) {
        join(&mut filesystems, &step.name, RowKind::Filesystem, bar(step, end));
    }
    rows.append(&mut filesystems);
    rows.iter_mut().for_each(|row| row.note_hold(record, end));
    rows
}

fn within(script: &StepRecord, app: &StepRecord, end: f64) -> bool {
    let same_half = (script.what == What::FreezeScript) == (app.what == What::FreezeApp);
    same_half && app.from_ms <= script.from_ms && script.from_ms <= app.to_ms.unwrap_or(end)
}

fn join(rows: &mut Vec<Row>, name: &str, kind: RowKind, bar: Bar) {
    match rows.iter_mut().find(|row| row.name == name && row.kind == kind) {
        Some(row) => row.bars.push(bar),
        None => rows.push(Row { name: name.to_owned(), kind, bars: vec![bar], held: None }),
    }
}

fn bar(step: &StepRecord, end: f64) -> Bar {
    let thaw = matches!(step.what, What::ThawApp | What::ThawScript | What::ThawFilesystem);
    let ending = match (&step.failure, step.to_ms) {
        (Some(sentence), _) => End::Failed(sentence.clone()),
        (None, Some(_)) => End::Well,
        (None, None) => End::Open,
    };
    Bar {
        side: if thaw { Side::Thaw } else { Side::Freeze },
        from_ms: step.from_ms,
        to_ms: step.to_ms.unwrap_or(end).max(step.from_ms),
        end: ending,
    }
}

fn answers(record: &Record) -> Vec<Mark> {
    let answers = record.steps.iter().filter(|step| step.what == What::Answer);
    answers.map(|step| Mark { at_ms: step.from_ms, name: step.name.clone(), failure: step.failure.clone() }).collect()
}

impl Row {
    /// An application and a filesystem are held from the end of their freeze to the beginning of their thaw; a script is not, it has ended.
    fn note_hold(&mut self, record: &Record, end: f64) {
        if !matches!(self.kind, RowKind::Application | RowKind::Filesystem) {
            return;
        }
        let frozen = self.bars.iter().find(|bar| bar.side == Side::Freeze && bar.end == End::Well);
        let thawed = self.bars.iter().find(|bar| bar.side == Side::Thaw).map(|bar| bar.from_ms);
        let in_work = record.ending.result.is_none().then_some(end);
        self.held = frozen.map(|bar| bar.to_ms).zip(thawed.or(in_work)).filter(|(from, to)| from < to);
    }

    /// How long its steps of one side took together; none if it had none.
    pub(super) fn took_ms(&self, side: Side) -> Option<f64> {
        self.bars.iter().filter(|bar| bar.side == side).map(|bar| bar.to_ms - bar.from_ms).reduce(|sum, ms| sum + ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn names(chart: &Chart) -> Vec<&str> {
        chart.rows.iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn each_name_has_one_row_and_scripts_stand_below_their_application() {
        let chart = Chart::of(&samples::backup());
        assert_eq!(
            names(&chart),
            [
                "mounts and plugins",
                "flush",
                "postgres",
                "exec_hook",
                "10-mysql.sh",
                "20-cache",
                "/data/img",
                "/data",
                "/"
            ]
        );
        assert_eq!(chart.answers.len(), 2);
    }

    #[test]
    fn no_step_of_the_record_is_lost() {
        for record in [samples::backup(), samples::failed(), samples::check(), samples::expired()] {
            let chart = Chart::of(&record);
            let bars: usize = chart.rows.iter().map(|row| row.bars.len()).sum();
            let holds = record.steps.iter().filter(|step| step.what == What::Hold).count();
            assert_eq!(bars + chart.answers.len() + holds, record.steps.len());
        }
    }

    #[test]
    fn time_never_runs_backwards_on_the_axis_and_fills_it() {
        for record in [samples::backup(), samples::failed(), samples::check(), samples::expired()] {
            let chart = Chart::of(&record);
            let end = end_ms(&record);
            let drawn: Vec<f64> = (0..=1000).map(|at| chart.axis.at(end * f64::from(at) / 1000.0)).collect();
            assert!(drawn.windows(2).all(|pair| pair[0] <= pair[1]), "{}", record.cycle);
            assert!(drawn.iter().all(|at| (0.0..=1.0).contains(at)), "{}", record.cycle);
            let last = chart.limit_ms.map_or(end, |limit| limit.max(end));
            assert!((chart.axis.at(last) - 1.0).abs() < 1e-9, "{}", record.cycle);
        }
    }

    #[test]
    fn a_long_hold_is_cut_and_a_short_one_is_to_scale() {
        assert!(Chart::of(&samples::expired()).cut().is_some());
        let mut record = samples::backup();
        for step in record.steps.iter_mut().filter(|step| step.from_ms > 449.6) {
            step.from_ms -= 3_950.0;
            step.to_ms = step.to_ms.map(|to_ms| to_ms - 3_950.0);
        }
        let hold = record.steps.iter_mut().find(|step| step.what == What::Hold);
        hold.into_iter().for_each(|step| step.to_ms = Some(499.6));
        assert!(Chart::of(&record).cut().is_none());
    }

    #[test]
    fn the_limit_is_on_the_axis_when_it_was_near() {
        assert_eq!(Chart::of(&samples::check()).limit_ms, None);
        let mut record = samples::failed();
        record.budget_ms = 3_000;
        assert_eq!(Chart::of(&record).limit_ms, Some(3_000.0));
    }

    #[test]
    fn a_rehearsals_hold_is_cut_like_a_backups() {
        let mut record = samples::backup();
        record.kind = Kind::Rehearsal;
        record.steps.retain(|step| !matches!(step.what, What::Hold | What::Answer));
        let cut = Chart::of(&record).cut().unwrap();
        assert_eq!((cut.from_ms, cut.to_ms), (449.0, 4_450.0));
    }

    #[test]
    fn a_failure_that_three_steps_repeat_is_told_once() {
        let chart = Chart::of(&samples::failed());
        assert_eq!(chart.failures().len(), 1, "{:?}", chart.failures());
    }

    #[test]
    fn an_unfinished_cycle_is_drawn_up_to_now() {
        let mut record = samples::backup();
        record.ending.result = None;
        record.steps.truncate(12);
        record.steps[11].to_ms = None;
        let chart = Chart::of(&record);
        assert!(chart.axis.at(end_ms(&record)) > 0.8);
        assert!(chart.rows.iter().filter(|row| row.kind == RowKind::Filesystem).count() == 3);
    }

    #[test]
    fn an_empty_record_is_an_empty_chart() {
        let mut record = samples::check();
        record.steps.clear();
        let chart = Chart::of(&record);
        assert!(chart.rows.is_empty() && chart.axis.at(5.0) >= 0.0);
    }
}
