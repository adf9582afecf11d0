//! A timeline in a terminal: as wide as it is, with or without colours, with or without characters beyond ASCII.

use std::fmt::Write as _;

use super::axis::Axis;
use super::model::{Chart, End, Row, RowKind, Side};
use super::words;
use crate::cycles::{ink_of, sentences};
use crate::paper::{Ink, Paper, columns, harmless};
use crate::when::{span, whole};
use hv_vss_core::record::Record;

/// Columns of a duration.
const TOOK: usize = 9;
/// The longest column of names.
const NAMES: usize = 24;

/// What bars are made of.
struct Blocks {
    freeze: char,
    thaw: char,
    held: char,
    failed: char,
    open: char,
    edge: char,
    limit: char,
    told: char,
    told_failure: char,
}

const UNICODE: Blocks = Blocks {
    freeze: '█',
    thaw: '▒',
    held: '─',
    failed: '▓',
    open: '▶',
    edge: '┊',
    limit: '┃',
    told: '▲',
    told_failure: '✗',
};
const ASCII: Blocks = Blocks {
    freeze: '#',
    thaw: '=',
    held: '-',
    failed: 'X',
    open: '>',
    edge: ':',
    limit: '|',
    told: '^',
    told_failure: '!',
};

/// A painted cell.
#[derive(Clone, Copy)]
struct Cell(char, Option<Paint>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Paint {
    Freeze,
    Thaw,
    Faint,
    Bad,
    Good,
}

/// Draws a timeline.
#[must_use]
pub fn terminal(record: &Record, paper: &Paper) -> String {
    let chart = Chart::of(record);
    let blocks = if paper.unicode { &UNICODE } else { &ASCII };
    let mut text = head(record, paper, blocks);
    if chart.rows.is_empty() && chart.answers.is_empty() {
        text.push_str("\nNo step has begun.\n");
        return text;
    }
    let indent = |row: &Row| if row.kind == RowKind::Script { 2 } else { 0 };
    let names = chart
        .rows
        .iter()
        .map(|row| columns(&row.name) + indent(row))
        .max()
        .unwrap_or(0)
        .clamp(6, NAMES.min(paper.width / 4));
    let bars = paper.width.saturating_sub(names + 2 * TOOK + 4).max(14);
    let canvas = Canvas { chart: &chart, blocks, paper, names, bars };

    let heading = format!("{}  {}  {:>TOOK$}{:>TOOK$}", " ".repeat(names), canvas.hold(), "FREEZE", "THAW");
    let _ = writeln!(text, "\n{}", paper.ink(Ink::Faint, &heading));
    for row in &chart.rows {
        let mark = if paper.unicode { '…' } else { '~' };
        let name = " ".repeat(indent(row)) + &words::shortened(&row.name, names - indent(row), mark);
        let took = |side| words::took(row, side);
        canvas.line(
            &mut text,
            &name,
            &canvas.row(row),
            &format!("{:>TOOK$}{:>TOOK$}", took(Side::Freeze), took(Side::Thaw)),
        );
    }
    if !chart.answers.is_empty() {
        canvas.line(&mut text, "answer", &canvas.answers(), "");
    }
    text.push_str(&canvas.scale());
    text.push_str(&legend(&chart, paper, blocks));
    for (name, sentence) in chart.failures() {
        let mark = paper.ink(Ink::Bad, &blocks.told_failure.to_string());
        let said = if sentence.contains(name) { sentence.to_owned() } else { format!("{name}: {sentence}") };
        let _ = writeln!(text, "{mark} {}", paper.wrap(2, &said));
    }
    text
}

fn head(record: &Record, paper: &Paper, blocks: &Blocks) -> String {
    let title = paper.cut(paper.width, &words::title(record));
    let mut text = format!("{}\n", paper.ink(ink_of(&record.ending), &title));
    let _ = writeln!(text, "{}", paper.wrap(0, &words::subtitle(record)));
    if !record.ending.details().is_empty() {
        text.push_str(&sentences(record, paper));
    }
    if let Some((share, used)) = words::used(record) {
        let used =
            if share < 10.0 { format!("{used} ({:.0} %)", share * 100.0) } else { format!("{used} (over 999 %)") };
        if columns(&used) + 8 > paper.width {
            let _ = writeln!(text, "{}", paper.wrap(0, &used));
            return text;
        }
        let room = paper.width.saturating_sub(columns(&used) + 2).clamp(6, 30);
        let filled = cell(share, room).max(1);
        let (full, empty) =
            (blocks.freeze.to_string().repeat(filled), blocks.held.to_string().repeat(room - filled.min(room)));
        let ink = if share > 0.8 { Ink::Warn } else { Ink::Good };
        let _ = writeln!(text, "{}{}{} {used}", paper.ink(ink, &full), paper.ink(Ink::Faint, &empty), blocks.limit);
    }
    text
}

fn legend(chart: &Chart, paper: &Paper, blocks: &Blocks) -> String {
    let mut words = format!("{} freeze  {} held  {} thaw", blocks.freeze, blocks.held, blocks.thaw);
    let failed = chart.rows.iter().flat_map(|row| &row.bars).any(|bar| matches!(bar.end, End::Failed(_)));
    if failed {
        let _ = write!(words, "  {} failed", blocks.failed);
    }
    if chart.limit_ms.is_some() {
        let _ = write!(words, "  {} limit", blocks.limit);
    }
    format!("{}\n", paper.ink(Ink::Faint, &words))
}

struct Canvas<'a> {
    chart: &'a Chart,
    blocks: &'a Blocks,
    paper: &'a Paper,
    names: usize,
    bars: usize,
}

impl Canvas<'_> {
    fn empty(&self) -> Vec<Cell> {
        let mut cells = vec![Cell(' ', None); self.bars];
        if let Some(cut) = self.chart.cut() {
            for at in [cut.left, cut.right] {
                self.put(&mut cells, cell(at, self.bars), Cell(self.blocks.edge, Some(Paint::Faint)));
            }
        }
        if let Some(limit) = self.chart.limit_ms {
            let at = cell(self.axis().at(limit), self.bars);
            self.put(&mut cells, at, Cell(self.blocks.limit, Some(Paint::Bad)));
        }
        cells
    }

    fn axis(&self) -> &Axis {
        &self.chart.axis
    }

    fn put(&self, cells: &mut [Cell], at: usize, cell: Cell) {
        let last = cells.len().saturating_sub(1);
        if let Some(place) = cells.get_mut(at.min(last)) {
            *place = cell;
        }
    }

    fn row(&self, row: &Row) -> Vec<Cell> {
        let mut cells = self.empty();
        let (axis, blocks) = (self.axis(), self.blocks);
        if let Some((from, to)) = row.held {
            for at in cell(axis.at(from), self.bars)..cell(axis.at(to), self.bars).max(1) {
                self.put(&mut cells, at, Cell(blocks.held, Some(Paint::Faint)));
            }
        }
        for bar in &row.bars {
            let from = cell(axis.at(bar.from_ms), self.bars);
            let to = cell(axis.at(bar.to_ms), self.bars).max(from + 1);
            let (block, paint) = match (&bar.end, bar.side) {
                (End::Failed(_), _) => (blocks.failed, Paint::Bad),
                (_, Side::Freeze) => (blocks.freeze, Paint::Freeze),
                (_, Side::Thaw) => (blocks.thaw, Paint::Thaw),
            };
            for at in from..to {
                self.put(&mut cells, at, Cell(block, Some(paint)));
            }
            if bar.end == End::Open {
                self.put(&mut cells, to - 1, Cell(blocks.open, Some(paint)));
            }
        }
        cells
    }

    fn answers(&self) -> Vec<Cell> {
        let mut cells = self.empty();
        for mark in &self.chart.answers {
            let (sign, paint) = match mark.failure {
                None => (self.blocks.told, Paint::Good),
                Some(_) => (self.blocks.told_failure, Paint::Bad),
            };
            let at = cell(self.axis().at(mark.at_ms), self.bars).min(self.bars.saturating_sub(1));
            self.put(&mut cells, at, Cell(sign, Some(paint)));
            // Its name beside it, where there is room.
            let shown = harmless(&mark.name);
            let name = format!(" {shown}");
            let length = columns(&name);
            let before = at.checked_sub(length);
            let begin = if at + 1 + length <= self.bars { Some(at + 1) } else { before };
            let name = if begin == before && begin != Some(at + 1) { format!("{shown} ") } else { name };
            if let Some(begin) = begin {
                let free =
                    cells[begin..begin + length].iter().all(|cell| cell.1.is_none() || cell.1 == Some(Paint::Faint));
                if free {
                    name.chars()
                        .enumerate()
                        .for_each(|(offset, c)| self.put(&mut cells, begin + offset, Cell(c, None)));
                }
            }
        }
        cells
    }

    /// Above the rows: how long the hold was that is drawn so short.
    fn hold(&self) -> String {
        let Some(cut) = self.chart.cut() else { return " ".repeat(self.bars) };
        let text = format!("held {}", span(cut.to_ms - cut.from_ms));
        let (left, right) = (cell(cut.left, self.bars), cell(cut.right, self.bars));
        let begin =
            ((left + right + 1).saturating_sub(columns(&text)) / 2).min(self.bars.saturating_sub(columns(&text)));
        self.paper.cell(self.bars, &format!("{}{text}", " ".repeat(begin)))
    }

    /// The line below: times, counted anew behind the hold.
    fn scale(&self) -> String {
        let mut line = vec![' '; self.bars];
        let mut write = |at: usize, text: &str| {
            let length = columns(text);
            let begin = at.min(self.bars.saturating_sub(length));
            let free = line.get(begin.saturating_sub(1)..(begin + length + 1).min(self.bars));
            if free.is_some_and(|cells| cells.iter().all(|c| *c == ' ')) {
                text.chars().enumerate().for_each(|(offset, c)| line[begin + offset] = c);
            }
        };
        for (number, part) in self.chart.axis.parts.iter().enumerate().filter(|(_, part)| !part.cut) {
            #[allow(clippy::cast_precision_loss, reason = "a terminal has some hundred columns")]
            let least = 8.0 / self.bars as f64;
            for (ms, at) in part.ticks(least) {
                let sign = if number == 0 { "" } else { "+" };
                write(cell(at, self.bars), &format!("{sign}{}", words::tick(ms)));
            }
        }
        let line: String = line.into_iter().collect();
        let line = format!("{}  {line}", " ".repeat(self.names));
        format!("{}\n", self.paper.ink(Ink::Faint, line.trim_end()))
    }

    fn line(&self, text: &mut String, name: &str, cells: &[Cell], took: &str) {
        let mut bars = String::new();
        let mut at = 0;
        while at < cells.len() {
            let paint = cells[at].1;
            let run = cells[at..].iter().take_while(|cell| cell.1 == paint).count();
            let piece: String = cells[at..at + run].iter().map(|cell| cell.0).collect();
            bars.push_str(&self.paint(paint, piece));
            at += run;
        }
        let line = format!("{}  {bars}  {took}", self.paper.cell(self.names, name));
        let _ = writeln!(text, "{}", line.trim_end());
    }

    fn paint(&self, paint: Option<Paint>, piece: String) -> String {
        let code = match paint {
            None => return piece,
            Some(_) if !self.paper.colour => return piece,
            Some(Paint::Freeze) => "34",
            Some(Paint::Thaw) => "32",
            Some(Paint::Faint) => "2",
            Some(Paint::Bad) => "1;31",
            Some(Paint::Good) => "1;32",
        };
        format!("\x1b[{code}m{piece}\x1b[0m")
    }
}

/// The column of a place from 0 to 1.
fn cell(at: f64, width: usize) -> usize {
    #[allow(clippy::cast_precision_loss, reason = "a terminal has some hundred columns")]
    let column = whole((at.clamp(0.0, 1.0) * width as f64).round());
    usize::try_from(column).unwrap_or(width).min(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    const PAPER: Paper = Paper { width: 80, colour: false, unicode: true };

    #[test]
    fn it_fits_into_every_terminal_and_every_name_is_there() {
        for record in [samples::backup(), samples::failed(), samples::check(), samples::expired()] {
            for width in [48, 60, 80, 120] {
                let drawn = terminal(&record, &Paper { width, ..PAPER });
                for line in drawn.lines() {
                    assert!(columns(line) <= width, "{} columns in {width}:\n{drawn}", columns(line));
                }
                for step in record.steps.iter().filter(|step| step.name.len() < 9 && step.name.starts_with('/')) {
                    assert!(drawn.contains(&step.name), "{} in\n{drawn}", step.name);
                }
            }
        }
    }

    #[test]
    fn without_colours_and_unicode_it_is_plain_ascii() {
        let drawn = terminal(&samples::failed(), &Paper { unicode: false, ..PAPER });
        assert!(drawn.is_ascii(), "{drawn}");
        assert!(terminal(&samples::failed(), &Paper { colour: true, ..PAPER }).contains("\x1b[1;31m"));
    }

    #[test]
    fn no_name_in_it_steers_the_terminal() {
        // Found by a fuzzer, in the name of an answer.
        let mut record = samples::backup();
        record.steps.iter_mut().for_each(|step| step.name = "\u{1b}[2J".to_owned());
        let drawn = terminal(&record, &PAPER);
        assert!(!drawn.chars().any(|c| c.is_control() && c != '\n'), "{drawn:?}");
    }

    #[test]
    fn a_failure_is_told_in_words_below_the_picture() {
        let drawn = terminal(&samples::failed(), &PAPER);
        assert!(drawn.contains("✗ exec_hook: 10-mysql.sh freeze failed with exit status 1"), "{drawn}");
    }

    #[test]
    fn a_step_of_no_length_is_still_seen() {
        let mut record = samples::check();
        record.steps[0].to_ms = Some(record.steps[0].from_ms);
        let drawn = terminal(&record, &PAPER);
        let survey = drawn.lines().find(|line| line.starts_with("mounts")).unwrap();
        assert!(survey.contains('█'), "{drawn}");
    }

    #[test]
    fn a_long_hold_is_named_with_its_length() {
        assert!(terminal(&samples::expired(), &PAPER).contains("held 1 min"));
    }
}
