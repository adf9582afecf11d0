//! `make bench-check`: this run's ratios against those of the last committed one. Times differ from machine to machine and from day to day; what ours
//! takes beside a peer in the same run does so much less.

use crate::figure::Figure;

/// How much worse a ratio may be without being worse: this part of it, or what the rounds of either run differ by, whichever is more.
const NOISE: f64 = 0.10;

/// What became of one ratio.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) was: f64,
    pub(crate) is: f64,
    pub(crate) allowed: f64,
}

impl Change {
    pub(crate) fn is_worse(&self) -> bool {
        self.is > self.allowed
    }
}

/// Every figure that both have, with a ratio.
pub(crate) fn compare(last: &[Figure], now: &[Figure]) -> Vec<Change> {
    let pairs = now.iter().filter_map(|now| {
        let last = last.iter().find(|last| last.name == now.name)?;
        let (was, is) = (last.ratio?, now.ratio?);
        let noise =
            [NOISE * was, last.spread.unwrap_or(0.0), now.spread.unwrap_or(0.0)].into_iter().fold(0.0, f64::max);
        Some(Change { name: now.name.clone(), was, is, allowed: was + noise })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, ratio: Option<f64>, spread: f64) -> Figure {
        Figure {
            name: name.into(),
            ours: 1.0,
            peer: None,
            peer_name: "p".into(),
            unit: "ms".into(),
            ratio,
            n: 3,
            spread: Some(spread),
        }
    }

    #[test]
    fn a_ratio_may_get_worse_by_its_noise_and_no_more() {
        let last = [figure("a", Some(1.0), 0.02)];
        let is_worse = |ratio, spread| compare(&last, &[figure("a", Some(ratio), spread)])[0].is_worse();
        assert!(!is_worse(1.09, 0.0));
        assert!(is_worse(1.11, 0.0));
        assert!(!is_worse(1.3, 0.4));
        assert!(!is_worse(0.2, 0.0));
    }

    #[test]
    fn what_only_one_of_them_has_is_not_compared() {
        let last = [figure("a", Some(1.0), 0.0), figure("b", None, 0.0)];
        assert_eq!(compare(&last, &[figure("b", Some(9.0), 0.0), figure("c", Some(9.0), 0.0)]), []);
    }
}
