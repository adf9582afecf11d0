//! Where a time is drawn: to scale, but for a hold that would leave no room to anything else.

/// Where a time is drawn, from 0 (left) to 1 (right).
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) parts: Vec<Part>,
}

/// A stretch of the axis that has one scale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) from_ms: f64,
    pub(super) to_ms: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    /// Nothing happened here but that everything was held: it is drawn shorter than it was.
    pub(super) cut: bool,
}

/// How much of the width a cut takes.
const CUT: f64 = 0.13;
/// Neither half of the cycle gets less.
const LEAST: f64 = 0.14;

impl Axis {
    pub(super) fn new(last: f64, hold: Option<(f64, f64)>) -> Self {
        let whole = Part { from_ms: 0.0, to_ms: last, left: 0.0, right: 1.0, cut: false };
        let Some((from, to)) = hold else { return Self { parts: vec![whole] } };
        let rest = from + (last - to);
        if to - from <= rest * CUT / (1.0 - CUT) {
            return Self { parts: vec![whole] };
        }
        let thawing = last - to;
        let room = 1.0 - CUT;
        // Still frozen: there is no right half yet.
        let right = if thawing < 0.05 { 0.0 } else { (room * thawing / rest).clamp(LEAST, room - LEAST) };
        let left = room - right;
        let mut parts = vec![
            Part { from_ms: 0.0, to_ms: from, left: 0.0, right: left, cut: false },
            Part { from_ms: from, to_ms: to, left, right: left + CUT, cut: true },
        ];
        if right > 0.0 {
            parts.push(Part { from_ms: to, to_ms: last, left: left + CUT, right: 1.0, cut: false });
        }
        Self { parts }
    }

    /// Where `ms` is drawn.
    pub(super) fn at(&self, ms: f64) -> f64 {
        let part = self.parts.iter().find(|part| ms <= part.to_ms).or(self.parts.last());
        part.map_or(0.0, |part| part.at(ms))
    }
}

impl Part {
    fn at(&self, ms: f64) -> f64 {
        let span = (self.to_ms - self.from_ms).max(f64::MIN_POSITIVE);
        let share = ((ms - self.from_ms) / span).clamp(0.0, 1.0);
        self.left + share * (self.right - self.left)
    }

    /// Round times in this part, no closer than `least` of the whole width: the time since the part began, and where it is drawn.
    pub(super) fn ticks(&self, least: f64) -> Vec<(f64, f64)> {
        let span = self.to_ms - self.from_ms;
        let share = (self.right - self.left).max(f64::MIN_POSITIVE);
        let step = round_up(span * least / share);
        let mut ticks = Vec::new();
        let mut at = 0.0;
        while at <= span {
            ticks.push((at, self.at(self.from_ms + at)));
            at += step;
        }
        ticks
    }
}

/// The next 1, 2 or 5 with zeros.
fn round_up(ms: f64) -> f64 {
    let mut unit = 0.1;
    while unit < 1e15 {
        for round in [unit, unit * 2.0, unit * 5.0] {
            if round >= ms {
                return round;
            }
        }
        unit *= 10.0;
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_far_enough_apart() {
        let part = Part { from_ms: 4_449.6, to_ms: 4_751.4, left: 0.5, right: 1.0, cut: false };
        let ticks = part.ticks(0.1);
        assert_eq!(ticks.iter().map(|(ms, _)| *ms).collect::<Vec<_>>(), [0.0, 100.0, 200.0, 300.0]);
        assert!(ticks.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 0.1));
    }
}
