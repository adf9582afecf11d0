//! What is promised of each figure, and whether it is kept.

use crate::figure::Figure;

/// At most this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AtMost {
    /// So many times what the peer takes.
    Times(f64),
    /// So much more than the peer takes, in the figure's unit.
    More(f64),
    /// So much, whoever else takes what.
    Value(f64),
}

/// Each figure that has a goal.
const GOALS: [(&str, AtMost); 24] = [
    ("freeze_1_vs_bare", AtMost::More(2.0)),
    ("freeze_8_vs_bare", AtMost::Times(1.05)),
    ("freeze_32_vs_bare", AtMost::Times(1.05)),
    ("freeze_128_vs_bare", AtMost::Times(1.05)),
    ("freeze_and_thaw_1_vs_bare", AtMost::More(2.0)),
    ("freeze_and_thaw_8_vs_bare", AtMost::Times(1.05)),
    ("freeze_and_thaw_32_vs_bare", AtMost::Times(1.05)),
    ("freeze_and_thaw_128_vs_bare", AtMost::Times(1.05)),
    ("stall_vs_qemu_ga", AtMost::Times(0.2)),
    ("stall_vs_linux_vss", AtMost::Times(0.2)),
    ("stall_freeze_vs_qemu_ga", AtMost::Times(1.0)),
    ("stall_freeze_vs_linux_vss", AtMost::Times(1.0)),
    ("hooks_8_vs_qemu_ga", AtMost::Value(150.0)),
    ("memory_idle_vs_qemu_ga", AtMost::Value(10.0)),
    ("memory_held_vs_qemu_ga", AtMost::Value(10.0)),
    ("ready_vs_qemu_ga", AtMost::Value(30.0)),
    ("check_8_mounts_vs_linux_vss", AtMost::Value(1.0)),
    ("check_1000_mounts", AtMost::Value(10.0)),
    // Linear or better; a tenth is for the noise of three points.
    ("growth_mounts", AtMost::Times(1.1)),
    ("growth_hooks", AtMost::Times(1.1)),
    ("growth_plugins", AtMost::Times(1.1)),
    ("growth_filesystems", AtMost::Times(1.1)),
    ("idle_vs_qemu_ga", AtMost::Value(0.0)),
    ("thaw_1_vs_bare", AtMost::More(2.0)),
];

/// The goal of the figure with this name.
pub(crate) fn goal_of(name: &str) -> Option<AtMost> {
    GOALS.iter().find(|(figure, _)| *figure == name).map(|(_, goal)| *goal)
}

impl AtMost {
    /// Whether a figure keeps it. Judged as it is shown: to the hundredth.
    pub(crate) fn is_kept_by(self, figure: &Figure) -> bool {
        let (value, most) = match self {
            Self::Times(most) => (figure.ratio.unwrap_or(f64::INFINITY), most),
            Self::More(most) => (figure.peer.map_or(f64::INFINITY, |peer| figure.ours - peer), most),
            Self::Value(most) => (figure.ours, most),
        };
        (value * 100.0).round() <= (most * 100.0).round()
    }

    /// As words.
    pub(crate) fn words(self, unit: &str) -> String {
        match self {
            Self::Times(most) => format!("at most {most} times"),
            Self::More(most) => format!("at most {most} {unit} more"),
            Self::Value(most) => format!("at most {most} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(ours: f64, peer: f64) -> Figure {
        Figure {
            name: "x".into(),
            ours,
            peer: Some(peer),
            peer_name: "peer".into(),
            unit: "ms".into(),
            ratio: Some(ours / peer),
            n: 1,
            spread: None,
        }
    }

    #[test]
    fn each_kind_of_goal_is_judged_by_its_own_number() {
        assert!(AtMost::Times(1.05).is_kept_by(&figure(105.0, 100.0)));
        assert!(!AtMost::Times(1.05).is_kept_by(&figure(106.0, 100.0)));
        assert!(AtMost::More(2.0).is_kept_by(&figure(32.0, 30.0)));
        assert!(!AtMost::More(2.0).is_kept_by(&figure(32.1, 30.0)));
        assert!(AtMost::Value(0.0).is_kept_by(&figure(0.0, 5.0)));
        assert!(!AtMost::Value(0.0).is_kept_by(&figure(1.0, 5.0)));
    }

    #[test]
    fn a_figure_without_a_peer_keeps_no_goal_that_needs_one() {
        let alone = Figure { peer: None, ratio: None, ..figure(1.0, 1.0) };
        assert!(!AtMost::Times(9.0).is_kept_by(&alone) && !AtMost::More(9.0).is_kept_by(&alone));
    }
}
