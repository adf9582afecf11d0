//! What a measurement says: a median, a peer's median, and their ratio, which is what is compared from one run to the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line of the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured, and against whom.
    pub(crate) name: String,
    /// Our median.
    pub(crate) ours: f64,
    /// Theirs; none: there is nobody to compare with.
    pub(crate) peer: Option<f64>,
    /// Who they are.
    pub(crate) peer_name: String,
    /// The unit of both.
    pub(crate) unit: String,
    /// Ours by theirs: the median over the rounds.
    pub(crate) ratio: Option<f64>,
    /// How many rounds.
    pub(crate) n: usize,
    /// How far apart the rounds' ratios lie, lowest to highest; without a peer, how far apart our values lie, by their median.
    pub(crate) spread: Option<f64>,
}

/// A line of a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// What grows, such as "mounts".
    pub(crate) name: String,
    /// Of the values.
    pub(crate) unit: String,
    /// How many, and the median then.
    pub(crate) points: Vec<(f64, f64)>,
}

/// All of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) figures: Vec<Figure>,
    pub(crate) series: Vec<Series>,
}

/// Values of several contenders, round by round.
#[derive(Default)]
pub(crate) struct Rounds(BTreeMap<&'static str, Vec<f64>>);

impl Rounds {
    /// A contender's value in the round that is on.
    pub(crate) fn add(&mut self, who: &'static str, value: f64) {
        self.0.entry(who).or_default().push(value);
    }

    /// A contender's values.
    pub(crate) fn of(&self, who: &str) -> &[f64] {
        self.0.get(who).map_or(&[], Vec::as_slice)
    }

    /// Ours against one of the others, which was measured in the same rounds.
    pub(crate) fn against(&self, name: String, ours: &str, peer: &str, unit: &str) -> Figure {
        let (ours, theirs) = (self.of(ours), self.of(peer));
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Figure {
            name,
            ours: median(ours),
            peer: Some(median(theirs)),
            peer_name: peer.to_owned(),
            unit: unit.to_owned(),
            ratio: Some(median(&ratios)),
            n: ratios.len(),
            spread: Some(reach(&ratios)),
        }
    }

    /// Ours alone.
    pub(crate) fn alone(&self, name: String, ours: &str, unit: &str) -> Figure {
        let values = self.of(ours);
        let middle = median(values);
        Figure {
            name,
            ours: middle,
            peer: None,
            peer_name: "none".to_owned(),
            unit: unit.to_owned(),
            ratio: None,
            n: values.len(),
            spread: Some(if middle > 0.0 { reach(values) / middle } else { 0.0 }),
        }
    }
}

/// The middle value; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

fn reach(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    if values.is_empty() { 0.0 } else { most - least }
}

/// In milliseconds.
pub(crate) fn ms(span: std::time::Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_mind_an_outlier() {
        assert_eq!(median(&[3.0, 1.0, 900.0]), 3.0);
        assert_eq!(median(&[1.0, 2.0, 3.0, 900.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let mut rounds = Rounds::default();
        for (ours, theirs) in [(10.0, 10.0), (30.0, 20.0), (44.0, 40.0)] {
            rounds.add("ours", ours);
            rounds.add("theirs", theirs);
        }
        let figure = rounds.against("x".into(), "ours", "theirs", "ms");
        assert_eq!((figure.ours, figure.peer, figure.n), (30.0, Some(20.0), 3));
        assert!((figure.ratio.unwrap_or(0.0) - 1.1).abs() < 1e-9 && (figure.spread.unwrap_or(0.0) - 0.5).abs() < 1e-9);
    }
}
