//! Cycles in words: a list of them, or one with its steps.

use std::fmt::Write as _;

use super::paper::{Ink, Paper};
use super::when::{float, moment, span, span_of};
use hv_vss_core::record::{CycleResult, Ending, Kind, Record, StepRecord, What};

/// How an ending is shown: good only where nothing asks for an administrator.
pub(super) fn ink_of(ending: &Ending) -> Ink {
    match ending.result {
        None => Ink::Warn,
        Some(CycleResult::Ok) if !ending.is_trouble() => Ink::Good,
        Some(_) => Ink::Bad,
    }
}

/// An ending in at most two words: a result with an aftermath is never a plain `ok`.
pub(super) fn word_of(ending: &Ending) -> String {
    let more = if ending.result == Some(CycleResult::Ok) && !ending.details().is_empty() { ", but" } else { "" };
    format!("{}{more}", ending.word())
}

/// What a cycle was, in a word.
pub(super) const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Check => "CHECK",
        Kind::Backup => "backup",
        Kind::Rehearsal => "rehearsal",
        Kind::OutOfPlace => "request",
    }
}

/// What a step did, in a word or two.
pub(super) const fn step_word(what: What) -> &'static str {
    match what {
        What::Survey => "survey",
        What::Flush => "flush",
        What::Scan => "look",
        What::FreezeApp => "freeze app",
        What::FreezeScript => "freeze script",
        What::FreezeFilesystem => "suspend",
        What::Hold => "hold",
        What::ThawFilesystem => "resume",
        What::ThawApp => "thaw app",
        What::ThawScript => "thaw script",
        What::Answer => "answer",
    }
}

/// The instant of the last thing that is known of a cycle, in milliseconds since it began.
pub(super) fn end_ms(record: &Record) -> f64 {
    record.steps.iter().flat_map(|step| [Some(step.from_ms), step.to_ms]).flatten().fold(0.0, f64::max)
}

/// When the host was told of the freeze (or the check), in milliseconds since the cycle began; for a rehearsal, when everything was held.
pub(super) fn answered_ms(record: &Record) -> Option<f64> {
    let first = |what| record.steps.iter().find(|step| step.what == what).map(|step| step.from_ms);
    match record.kind {
        Kind::Rehearsal => first(What::Hold).or_else(|| all_held_ms(record)),
        Kind::Check | Kind::Backup | Kind::OutOfPlace => first(What::Answer),
    }
}

/// The end of the last freeze, if none of them failed.
fn all_held_ms(record: &Record) -> Option<f64> {
    let freezes = record.steps.iter().filter(|step| matches!(step.what, What::FreezeApp | What::FreezeFilesystem));
    let ends: Option<Vec<f64>> = freezes.map(|step| step.to_ms.filter(|_| step.failure.is_none())).collect();
    ends?.into_iter().reduce(f64::max)
}

/// One line for each cycle, the latest last, and a second one where something went wrong.
pub(super) fn list(records: &[Record], damage: Option<&str>, paper: &Paper) -> String {
    let mut text = String::new();
    if records.is_empty() {
        text.push_str("No cycle yet: the host has asked for nothing, and nobody has rehearsed.\n");
    } else {
        let _ = writeln!(text, "{}", paper.ink(Ink::Faint, &heading()));
    }
    for record in records {
        let result = paper.ink(ink_of(&record.ending), &format!("{:<8}", word_of(&record.ending)));
        let answered = answered_ms(record).map_or_else(|| "-".to_owned(), span);
        let frozen = record.frozen_ms.map_or_else(|| "-".to_owned(), span_of);
        let line = format!(
            "{}  {:<9}  {result}  {answered:>8}  {frozen:>12}",
            paper.cell(19, &record.cycle),
            kind_word(record.kind)
        );
        let _ = writeln!(text, "{}", line.trim_end());
        for detail in record.ending.details() {
            let _ = writeln!(text, "    {}", paper.wrap(4, detail));
        }
    }
    if let Some(damage) = damage {
        let _ = writeln!(text, "{}", paper.ink(Ink::Warn, &paper.cut(usize::MAX, damage)));
    }
    text
}

fn heading() -> String {
    format!("{:<19}  {:<9}  {:<8}  {:>8}  {:>12}", "CYCLE", "KIND", "RESULT", "ANSWER", "FROZEN")
}

/// The first lines about a cycle: what it was, how it ended, how long it took of what it had.
pub(super) fn head(record: &Record, paper: &Paper) -> String {
    let mut text = format!(
        "{} {}: {}\n",
        paper.ink(Ink::Heading, kind_word(record.kind)),
        // With its kind and its result it is one line.
        paper.ink(Ink::Heading, &paper.cut(paper.width.saturating_sub(20), &record.cycle)),
        paper.ink(ink_of(&record.ending), &word_of(&record.ending)),
    );
    text.push_str(&sentences(record, paper));
    let _ = writeln!(text, "{}", paper.wrap(0, &times(record)));
    text
}

/// Why it ended so, what went wrong on the way out, and what the host heard, a paragraph each.
pub(super) fn sentences(record: &Record, paper: &Paper) -> String {
    let mut text = String::new();
    let details = record.ending.details();
    if details.is_empty() && !record.ending.sentence.is_empty() {
        let _ = writeln!(text, "{}", paper.wrap(0, &record.ending.sentence));
    }
    for detail in details {
        let _ = writeln!(text, "{}", paper.wrap(0, detail));
    }
    for answer in record.answers.iter().filter(|answer| answer.heard.is_some_and(|heard| heard != answer.answered)) {
        let why = answer.because.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        let _ =
            writeln!(text, "{}", paper.wrap(0, &format!("The host heard another answer to {}{why}", answer.request)));
    }
    text
}

/// The times that matter, in one sentence.
pub(super) fn times(record: &Record) -> String {
    let mut words = format!("Began {}", moment(record.began_ms));
    if let Some(answered) = answered_ms(record) {
        let what = if record.kind == Kind::Rehearsal { "held" } else { "answered" };
        let _ = write!(words, "; {what} after {} of {}", span(answered), span_of(record.budget_ms));
        let part = answered / float(record.budget_ms).max(1.0) * 100.0;
        let _ = write!(words, " ({part:.0} %)");
    }
    if let Some(frozen) = record.frozen_ms {
        let _ = write!(words, "; filesystems frozen for {}", span_of(frozen));
    }
    words.push('.');
    words
}

/// One cycle with all its steps.
pub(super) fn whole(record: &Record, paper: &Paper) -> String {
    let mut text = head(record, paper);
    if record.steps.is_empty() {
        text.push_str("\nNo step has begun.\n");
        return text;
    }
    let heading = format!("{:>9}  {:>9}  {:<13}  {}", "AT", "TOOK", "STEP", "OF");
    let _ = writeln!(text, "\n{}", paper.ink(Ink::Faint, &heading));
    for step in &record.steps {
        text.push_str(&row(step, record.ending.result.is_some(), paper));
    }
    text
}

fn row(step: &StepRecord, over: bool, paper: &Paper) -> String {
    let took = match (step.to_ms, step.what, over) {
        (_, What::Answer, _) => "-".to_owned(),
        (Some(to_ms), ..) => span(to_ms - step.from_ms),
        (None, _, true) => "no end".to_owned(),
        (None, _, false) => "...".to_owned(),
    };
    const NAME: usize = 37;
    let room = paper.width.saturating_sub(NAME).max(20);
    let mut text = format!(
        "{:>9}  {took:>9}  {:<13}  {}\n",
        span(step.from_ms),
        step_word(step.what),
        paper.cut(room, &step.name)
    );
    if let Some(failure) = &step.failure {
        let mark = if paper.unicode { "└ " } else { "- " };
        let sentence = paper.wrap(24, failure);
        let lines: Vec<String> = sentence
            .lines()
            .enumerate()
            .map(|(at, line)| {
                if at == 0 {
                    paper.ink(Ink::Bad, line)
                } else {
                    " ".repeat(24) + &paper.ink(Ink::Bad, line.trim_start())
                }
            })
            .collect();
        let _ = writeln!(text, "{}{mark}{}", " ".repeat(22), lines.join("\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    const PAPER: Paper = Paper { width: 80, colour: false, unicode: true };

    #[test]
    fn every_step_of_a_cycle_is_shown_with_its_failure_in_words() {
        let record = samples::failed();
        let shown = whole(&record, &PAPER);
        let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for step in &record.steps {
            assert!(shown.contains(&step.name), "{} is missing from {shown}", step.name);
            assert!(
                step.failure.iter().all(|failure| flat.contains(failure.as_str())),
                "{:?} in {shown}",
                step.failure
            );
        }
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }

    #[test]
    fn a_cycle_with_a_long_name_still_has_one_line_that_says_how_it_ended() {
        let mut record = samples::failed();
        record.cycle = "a cycle from a file that somebody else wrote".repeat(9);
        let shown = whole(&record, &PAPER);
        let first = shown.lines().next().unwrap();
        assert!(first.ends_with(": failed") && first.chars().count() <= 80, "{first}");
    }

    #[test]
    fn a_list_has_a_line_for_each_cycle_and_the_sentence_of_each_that_went_wrong() {
        let records = [samples::backup(), samples::failed(), samples::check()];
        let shown = list(&records, Some("1 damaged line of the history was skipped: 3"), &PAPER);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("2026")).count(), 3, "{shown}");
        assert!(shown.contains("10-mysql.sh freeze failed"), "{shown}");
        assert!(lines.last().unwrap().contains("damaged"), "{shown}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{shown}");
    }

    #[test]
    fn a_step_that_never_ended_is_told_from_one_that_is_still_at_work() {
        let mut record = samples::failed();
        record.steps.last_mut().unwrap().to_ms = None;
        record.steps.last_mut().unwrap().what = What::ThawScript;
        assert!(whole(&record, &PAPER).contains("no end"));
        record.ending.result = None;
        assert!(whole(&record, &PAPER).contains("..."));
    }
}
