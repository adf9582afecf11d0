//! The picture: bars side by side, and lines of growth. Plain SVG, no font and no script of its own.

use std::fmt::Write as _;

use crate::figure::{Figure, Results, Series};
use crate::table::short;

const WIDTH: f64 = 880.0;
const MARGIN: f64 = 16.0;
const BAR: f64 = 16.0;
const NAMES: f64 = 110.0;
const OURS: &str = "#2166ac";
const THEIRS: &str = "#b2b2b2";

/// The panels of bars: a title, and the figures whose values are shown in it; ours comes from the first.
const PANELS: [(&str, &[&str]); 6] = [
    ("8 filesystems: FREEZE to answer", &["freeze_8_vs_bare", "freeze_8_vs_qemu_ga", "freeze_8_vs_linux_vss"]),
    ("128 filesystems: FREEZE to answer", &["freeze_128_vs_bare", "freeze_128_vs_qemu_ga", "freeze_128_vs_linux_vss"]),
    ("longest pause of a busy writer, 512 MiB dirty at 100 MB/s", &["stall_vs_qemu_ga", "stall_vs_linux_vss"]),
    ("the same backup: FREEZE to answer", &["stall_freeze_vs_qemu_ga", "stall_freeze_vs_linux_vss"]),
    ("8 hooks of 100 ms: FREEZE to answer", &["hooks_8_vs_qemu_ga"]),
    ("memory while everything is held", &["memory_held_vs_qemu_ga", "memory_held_vs_linux_vss"]),
];

/// The whole picture.
pub(crate) fn svg(results: &Results) -> String {
    let (mut body, mut left, mut right) = (String::new(), MARGIN, MARGIN);
    for (at, (title, names)) in PANELS.iter().enumerate() {
        let figures: Vec<&Figure> =
            names.iter().filter_map(|name| results.figures.iter().find(|figure| figure.name == *name)).collect();
        let Some(first) = figures.first() else { continue };
        let mut bars = vec![("hv_vss".to_owned(), first.ours, OURS)];
        let theirs = figures.iter().filter_map(|figure| Some((figure.peer_name.clone(), figure.peer?, THEIRS)));
        bars.extend(theirs);
        let (x, y) = if at % 2 == 0 { (MARGIN, &mut left) } else { (WIDTH / 2.0 + MARGIN, &mut right) };
        *y += panel(&mut body, (x, *y), title, &first.unit, &bars);
    }
    let top = left.max(right) + MARGIN;
    let width = (WIDTH - MARGIN) / results.series.len().max(1) as f64 - MARGIN;
    for (at, series) in results.series.iter().enumerate() {
        growth(&mut body, (MARGIN + at as f64 * (width + MARGIN), top), width, series);
    }
    let height = top + if results.series.is_empty() { 0.0 } else { GROWTH + 3.0 * MARGIN };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// Bars below each other; gives the height it took.
fn panel(body: &mut String, (x, y): (f64, f64), title: &str, unit: &str, bars: &[(String, f64, &str)]) -> f64 {
    let room = WIDTH / 2.0 - 2.0 * MARGIN - NAMES - 70.0;
    let most = bars.iter().map(|(_, value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
    text(body, (x, y + 12.0), "start", "bold", title);
    for (at, (name, value, colour)) in bars.iter().enumerate() {
        let top = y + 20.0 + at as f64 * (BAR + 4.0);
        let length = (value / most * room).max(1.0);
        text(body, (x + NAMES - 6.0, top + 12.0), "end", "normal", name);
        put(
            body,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>",
                x + NAMES
            ),
        );
        text(body, (x + NAMES + length + 5.0, top + 12.0), "start", "normal", &format!("{} {unit}", short(*value)));
    }
    20.0 + bars.len() as f64 * (BAR + 4.0) + MARGIN
}

const GROWTH: f64 = 130.0;

/// A line from the origin's corner; both axes begin at 0.
fn growth(body: &mut String, (x, y): (f64, f64), width: f64, series: &Series) {
    let (Some((most, _)), Some(highest)) =
        (series.points.last(), series.points.iter().map(|(_, value)| *value).reduce(f64::max))
    else {
        return;
    };
    text(body, (x, y + 12.0), "start", "bold", &format!("{} against {}", series.unit, series.name));
    let bottom = y + 20.0 + GROWTH;
    let place =
        |(count, value): &(f64, f64)| (x + count / most * (width - 40.0), bottom - value / highest * (GROWTH - 10.0));
    put(
        body,
        format_args!(
            "<path d=\"M{x:.1} {:.1}V{bottom:.1}H{:.1}\" fill=\"none\" stroke=\"#666666\"/>",
            y + 20.0,
            x + width - 30.0
        ),
    );
    let path: Vec<String> = series.points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    put(
        body,
        format_args!("<polyline points=\"{}\" fill=\"none\" stroke=\"{OURS}\" stroke-width=\"2\"/>", path.join(" ")),
    );
    for point in &series.points {
        let (x, y) = place(point);
        put(body, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{OURS}\"/>"));
    }
    if let Some(last) = series.points.last() {
        let (at, high) = place(last);
        text(body, (at - 6.0, high + 4.0), "end", "normal", &format!("{} {}", short(last.1), series.unit));
        text(body, (at, bottom + 14.0), "end", "normal", &short(last.0));
    }
}

fn text(body: &mut String, (x, y): (f64, f64), anchor: &str, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    put(
        body,
        format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\">{words}</text>"
        ),
    );
}

fn put(body: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(body, "{line}").expect("a String takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_shows_what_was_measured_and_leaves_out_what_was_not() {
        let figure = Figure {
            name: "hooks_8_vs_qemu_ga".into(),
            ours: 120.0,
            peer: Some(900.0),
            peer_name: "qemu_ga".into(),
            unit: "ms".into(),
            ratio: Some(0.13),
            n: 3,
            spread: None,
        };
        let series = Series { name: "mounts".into(), unit: "ms".into(), points: vec![(1.0, 0.2), (1000.0, 6.0)] };
        let text = svg(&Results { figures: vec![figure], series: vec![series] });
        for words in ["8 hooks of 100 ms", "120 ms", "900 ms", "ms against mounts"] {
            assert!(text.contains(words), "{words}");
        }
        assert!(!text.contains("128 filesystems"));
    }
}
