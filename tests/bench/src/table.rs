//! The results as a table: on the terminal, and in the page.

use crate::figure::Figure;
use crate::goals::goal_of;

/// A table in Markdown, which a terminal shows as well.
pub(crate) fn markdown(figures: &[Figure]) -> String {
    let mut rows = vec![
        ["figure", "ours", "theirs", "who", "ratio", "rounds", "spread", "goal", "kept"].map(str::to_owned).to_vec(),
    ];
    for figure in figures {
        let goal = goal_of(&figure.name);
        rows.push(vec![
            figure.name.clone(),
            format!("{} {}", short(figure.ours), figure.unit),
            figure.peer.map(short).unwrap_or_default(),
            figure.peer_name.clone(),
            figure.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default(),
            figure.n.to_string(),
            figure.spread.map(|spread| format!("{spread:.3}")).unwrap_or_default(),
            goal.map(|goal| goal.words(&figure.unit)).unwrap_or_default(),
            goal.map_or("", |goal| if goal.is_kept_by(figure) { "yes" } else { "**no**" }).to_owned(),
        ]);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = line(&rows[0]) + &line(&rule);
    rows[1..].iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// Three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_the_goal_and_whether_it_is_kept() {
        let figure = Figure {
            name: "freeze_8_vs_bare".into(),
            ours: 110.0,
            peer: Some(100.0),
            peer_name: "bare".into(),
            unit: "ms".into(),
            ratio: Some(1.1),
            n: 5,
            spread: Some(0.01),
        };
        let text = markdown(&[figure]);
        let row = text.lines().nth(2).unwrap_or_default();
        for cell in ["110 ms", "| 100 ", "1.100", "at most 1.05 times", "**no**"] {
            assert!(row.contains(cell), "{cell} in {row}");
        }
    }
}
