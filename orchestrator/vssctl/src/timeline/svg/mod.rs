//! A timeline as a picture: an SVG without scripts, outside fonts or anything else from elsewhere, for light and dark pages alike.

mod style;
mod text;

use std::fmt::Write as _;

use super::axis::Part;
use super::model::{Bar, Chart, End, Row, RowKind, Side};
use super::words;
use crate::cycles::word_of;
use crate::paper::columns;
use crate::when::span;
use hv_vss_core::record::Record;
use style::STYLE;
use text::{escape, lines};

// All lengths in the picture's own units; a viewer scales them.
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 28.0;
const NAMES: f64 = 176.0;
const TOOK: f64 = 74.0;
const LEFT: f64 = MARGIN + NAMES;
const RIGHT: f64 = WIDTH - MARGIN - 2.0 * TOOK - 14.0;
const ROW: f64 = 26.0;
const BAR: f64 = 14.0;
const GROUP_GAP: f64 = 10.0;
const TOP: f64 = 132.0;
/// A bar that is thinner can't be seen.
const THINNEST: f64 = 2.5;
/// What fits
const NAME_LETTERS: usize = 23;

/// Draws a timeline as a whole SVG file.
#[must_use]
pub fn svg(record: &Record) -> String {
    let chart = Chart::of(record);
    let mut picture = Picture { body: String::new() };
    let bottom = picture.rows(&chart);
    let below = picture.answers(&chart, bottom);
    picture.header(record, &chart);
    let below = picture.legend(&chart, below);
    let height = picture.failures(record, &chart, below) + MARGIN - 8.0;

    let title = escape(&words::title(record));
    let description = escape(&format!("{} {}", words::subtitle(record), record.ending.summary()));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\" aria-labelledby=\"t d\">\n\
         <title id=\"t\">{title}</title>\n<desc id=\"d\">{description}</desc>\n<style>{STYLE}</style>\n\
         <defs><pattern id=\"h\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"7\"/></pattern></defs>\n\
         <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"10\"/>\n{}</svg>\n",
        WIDTH - 1.0,
        height - 1.0,
        picture.body
    )
}

struct Picture {
    body: String,
}

/// Where a time is drawn.
fn x(chart: &Chart, ms: f64) -> f64 {
    across(chart.axis.at(ms))
}

fn across(share: f64) -> f64 {
    LEFT + share * (RIGHT - LEFT)
}

impl Picture {
    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let _ = writeln!(self.body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(text));
    }

    fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), round: f64) {
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{round}\"/>"
        );
    }

    fn upright(&mut self, class: &str, x: f64, top: f64, bottom: f64) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>"
        );
    }

    fn header(&mut self, record: &Record, chart: &Chart) {
        let result = match record.ending.result {
            None => "",
            Some(_) if record.ending.is_trouble() => "bad",
            Some(_) => "good",
        };
        let title = words::title(record);
        let word = word_of(&record.ending);
        let before = title.strip_suffix(word.as_str()).unwrap_or(&title);
        let _ = writeln!(
            self.body,
            "<text class=\"title\" x=\"{MARGIN}\" y=\"42\">{}<tspan class=\"{result}\">{}</tspan></text>",
            escape(before),
            escape(&word)
        );
        self.text("faint", MARGIN, 63.0, &words::subtitle(record));
        if let Some((share, used)) = words::used(record) {
            const GAUGE: f64 = 220.0;
            let left = WIDTH - MARGIN - GAUGE;
            self.text("faint end", WIDTH - MARGIN, 38.0, &used);
            self.rect("gauge", (left, 48.0), (GAUGE, 8.0), 4.0);
            let class = if share > 0.8 { "bad" } else { "freeze" };
            self.rect(class, (left, 48.0), ((GAUGE * share.min(1.0)).max(4.0), 8.0), 4.0);
            self.upright("limit", WIDTH - MARGIN, 45.0, 59.0);
        }
        if !chart.rows.is_empty() {
            self.text("faint small end", RIGHT + 14.0 + TOOK, TOP - 12.0, "freeze");
            self.text("faint small end", RIGHT + 14.0 + 2.0 * TOOK, TOP - 12.0, "thaw");
        }
    }

    /// The grid and the rows on it; gives back where they end.
    fn rows(&mut self, chart: &Chart) -> f64 {
        let bottom = height(&chart.rows);
        for (number, part) in chart.axis.parts.iter().enumerate() {
            if part.cut {
                self.cut(*part, bottom);
            } else {
                self.ticks(*part, number, bottom);
            }
        }
        let mut y = TOP;
        let mut before: Option<RowKind> = None;
        for row in &chart.rows {
            if before.is_some_and(|kind| begins_group(kind, row.kind)) {
                y += GROUP_GAP;
            }
            before = Some(row.kind);
            self.row(chart, row, y);
            y += ROW;
        }
        if let Some(limit) = chart.limit_ms {
            let x = x(chart, limit);
            self.upright("limit", x, TOP - 6.0, bottom);
            self.text("bad small middle", x, TOP - 28.0, &format!("limit {}", span(limit)));
        }
        bottom
    }

    fn cut(&mut self, part: Part, bottom: f64) {
        let (left, right) = (across(part.left), across(part.right));
        let place = ((left, TOP - 6.0), (right - left, bottom - TOP + 6.0));
        self.rect("cut", place.0, place.1, 0.0);
        let _ = writeln!(
            self.body,
            "<rect fill=\"url(#h)\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            TOP - 6.0,
            right - left,
            bottom - TOP + 6.0
        );
        self.text("faint small middle", f64::midpoint(left, right), TOP - 26.0, "held for");
        self.text(
            "faint small middle number",
            f64::midpoint(left, right),
            TOP - 12.0,
            &span(part.to_ms - part.from_ms),
        );
    }

    fn ticks(&mut self, part: Part, number: usize, bottom: f64) {
        let sign = if number == 0 { "" } else { "+" };
        let ticks = part.ticks(64.0 / (RIGHT - LEFT));
        for (at, (ms, share)) in ticks.iter().enumerate() {
            let x = across(*share);
            self.upright("grid", x, TOP - 6.0, bottom);
            // The hold's own words stand left of the first one of the next part.
            let class = if at == 0 { "faint small number" } else { "faint small middle number" };
            if x < RIGHT - 4.0 || number == 0 && at == 0 {
                self.text(class, x, TOP - 12.0, &format!("{sign}{}", words::tick(*ms)));
            }
        }
    }

    fn row(&mut self, chart: &Chart, row: &Row, y: f64) {
        let indent = if row.kind == RowKind::Script { 14.0 } else { 0.0 };
        let letters = if row.kind == RowKind::Script { NAME_LETTERS - 2 } else { NAME_LETTERS };
        let class = if row.kind == RowKind::Script { "faint" } else { "" };
        let middle = y + ROW / 2.0;
        self.text(class, MARGIN + indent, middle + 4.5, &words::shortened(&row.name, letters, '…'));
        if let Some((from, to)) = row.held {
            let (left, right) = (x(chart, from), x(chart, to));
            self.rect("held", (left, middle - 2.0), (right - left, 4.0), 0.0);
        }
        for bar in &row.bars {
            let left = x(chart, bar.from_ms).min(RIGHT - THINNEST);
            let width = (x(chart, bar.to_ms) - left).max(THINNEST);
            let open = if bar.end == End::Open { " open" } else { "" };
            let class = format!("{}{open}", bar_class(row, bar));
            let height = if row.kind == RowKind::Script { BAR - 4.0 } else { BAR };
            let _ = writeln!(
                self.body,
                "<g><title>{}</title><rect class=\"{class}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height}\" rx=\"{:.1}\"/></g>",
                escape(&hint(row, bar)),
                middle - height / 2.0,
                (width / 2.0).min(3.0)
            );
        }
        for (side, right) in [(Side::Freeze, RIGHT + 14.0 + TOOK), (Side::Thaw, RIGHT + 14.0 + 2.0 * TOOK)] {
            self.text("faint end number", right, middle + 4.0, &words::took(row, side));
        }
    }

    /// What the host was told, below the rows; gives back where that ends.
    fn answers(&mut self, chart: &Chart, bottom: f64) -> f64 {
        if chart.answers.is_empty() {
            return bottom;
        }
        self.text("", MARGIN, bottom + 26.0, "answer to the host");
        let mut taken = LEFT;
        for mark in &chart.answers {
            let x = x(chart, mark.at_ms);
            self.upright("rule", x, TOP - 6.0, bottom + 14.0);
            let class = if mark.failure.is_none() { "good" } else { "bad" };
            let _ =
                writeln!(self.body, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"4\"/>", bottom + 21.0);
            let outcome = if mark.failure.is_none() { "success" } else { "FAIL" };
            let words = format!("{} {outcome}", mark.name);
            #[allow(clippy::cast_precision_loss, reason = "some ten letters")]
            let length = columns(&words) as f64 * 7.2;
            // Left of its mark, unless there is no room.
            if x - 10.0 - length > taken {
                self.text(&format!("{class} small end"), x - 8.0, bottom + 25.0, &words);
            } else {
                self.text(&format!("{class} small"), x + 8.0, bottom + 25.0, &words);
            }
            taken = x + 8.0;
        }
        bottom + 36.0
    }

    fn legend(&mut self, chart: &Chart, top: f64) -> f64 {
        let kinds = [
            ("prepare", "preparing"),
            ("freeze", "freezing"),
            ("held", "held"),
            ("thaw", "thawing"),
            ("bad", "failed"),
        ];
        let y = top + 22.0;
        let mut at = MARGIN;
        let bars = || chart.rows.iter().flat_map(|row| row.bars.iter().map(move |bar| (row, bar)));
        for (class, word) in kinds {
            let seen = match class {
                "held" => chart.rows.iter().any(|row| row.held.is_some()),
                _ => bars().any(|(row, bar)| bar_class(row, bar) == class),
            };
            if !seen {
                continue;
            }
            let height = if class == "held" { 4.0 } else { 10.0 };
            self.rect(class, (at, y - 4.0 - height / 2.0), (16.0, height), 2.0);
            self.text("faint small", at + 22.0, y, word);
            #[allow(clippy::cast_precision_loss, reason = "some ten letters")]
            let length = word.len() as f64 * 6.6;
            at += 22.0 + length + 18.0;
        }
        y
    }

    /// What qualifies the result, then what went wrong in the rows, each sentence once.
    fn failures(&mut self, record: &Record, chart: &Chart, top: f64) -> f64 {
        let mut y = top + 12.0;
        let of_rows: Vec<String> = chart
            .failures()
            .into_iter()
            .map(|(name, sentence)| match sentence.contains(name) {
                true => sentence.to_owned(),
                false => format!("{name}: {sentence}"),
            })
            .collect();
        let is_said = |detail: &&str| of_rows.iter().all(|said| !said.contains(detail));
        let details: Vec<String> = record.ending.details().into_iter().filter(is_said).map(str::to_owned).collect();
        for said in details.into_iter().chain(of_rows) {
            for (number, line) in lines(&said).iter().enumerate() {
                y += 19.0;
                if number == 0 {
                    self.text("bad", MARGIN, y, "✗");
                }
                self.text("bad", MARGIN + 18.0, y, line);
            }
        }
        y
    }
}

/// A gap stands between preparation, each application with its scripts, and the filesystems.
fn begins_group(before: RowKind, now: RowKind) -> bool {
    now != RowKind::Script
        && (before != now || now == RowKind::Application)
        && !(before == RowKind::Script && now == RowKind::Script)
}

fn height(rows: &[Row]) -> f64 {
    let mut y = TOP;
    let mut before: Option<RowKind> = None;
    for row in rows {
        if before.is_some_and(|kind| begins_group(kind, row.kind)) {
            y += GROUP_GAP;
        }
        before = Some(row.kind);
        y += ROW;
    }
    y + 6.0
}

/// How a bar is painted.
fn bar_class(row: &Row, bar: &Bar) -> &'static str {
    match (&bar.end, bar.side, row.kind) {
        (End::Failed(_), ..) => "bad",
        (_, Side::Freeze, RowKind::Preparation) => "prepare",
        (_, Side::Freeze, _) => "freeze",
        (_, Side::Thaw, _) => "thaw",
    }
}

/// What a viewer shows when the pointer rests on a bar.
fn hint(row: &Row, bar: &Bar) -> String {
    let side = match bar.side {
        Side::Freeze => "freeze",
        Side::Thaw => "thaw",
    };
    let took = span(bar.to_ms - bar.from_ms);
    let end = match &bar.end {
        End::Well => String::new(),
        End::Failed(sentence) => format!(": {sentence}"),
        End::Open => ": no end".to_owned(),
    };
    format!("{} {side}, {took}, from {}{end}", row.name, span(bar.from_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn all() -> [Record; 4] {
        [samples::backup(), samples::failed(), samples::check(), samples::expired()]
    }

    #[test]
    fn every_name_and_every_failure_is_in_the_picture() {
        for record in all() {
            let drawn = svg(&record);
            for step in record.steps.iter().filter(|step| step.name.starts_with('/') || step.name.contains(".sh")) {
                assert!(drawn.contains(&escape(&step.name)), "{} in {drawn}", step.name);
            }
            for failure in record.steps.iter().filter_map(|step| step.failure.as_ref()) {
                assert!(drawn.contains(&escape(failure)), "{failure} in {drawn}");
            }
        }
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        for record in all() {
            let drawn = svg(&record);
            assert_eq!(drawn.matches("http").count(), 1, "only the name of SVG itself: {drawn}");
            for foreign in ["<script", "@import", "@font-face", "href", "<image", "<foreignObject"] {
                assert!(!drawn.contains(foreign), "{foreign}");
            }
        }
    }

    #[test]
    fn everything_is_drawn_within_the_picture() {
        for record in all() {
            let drawn = svg(&record);
            let numbers = |attribute: &str| -> Vec<f64> {
                let begin = format!(" {attribute}=\"");
                let parts = drawn.split(&begin).skip(1);
                parts.filter_map(|rest| rest.split('"').next()?.parse().ok()).collect()
            };
            for at in ["x", "cx", "x1", "x2"].iter().flat_map(|attribute| numbers(attribute)) {
                assert!((0.0..=WIDTH).contains(&at), "{at} in {}", record.cycle);
            }
            let height = numbers("height")[0];
            for at in ["y", "cy", "y1", "y2"].iter().flat_map(|attribute| numbers(attribute)) {
                assert!((0.0..=height).contains(&at), "{at} below {height} in {}", record.cycle);
            }
        }
    }

    #[test]
    fn names_can_not_break_out_of_the_picture() {
        let mut record = samples::check();
        record.steps[0].name = "<script>&\"\u{1b}".to_owned();
        let drawn = svg(&record);
        assert!(!drawn.contains("<script>") && drawn.contains("&lt;script&gt;&amp;&quot; "), "{drawn}");
    }

    #[test]
    fn it_knows_light_and_dark_pages() {
        let drawn = svg(&samples::backup());
        let (light, dark) = drawn.split_once("@media (prefers-color-scheme: dark)").unwrap();
        for class in
            ["text", ".card", ".faint", ".grid", ".cut", ".freeze", ".thaw", ".held", ".bad", ".good", ".gauge"]
        {
            let rule = format!("\n{class} {{");
            assert!(light.contains(&rule) && dark.contains(&rule), "{class} has both colours");
        }
    }
}
