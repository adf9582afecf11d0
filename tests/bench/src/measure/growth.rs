//! How the times grow: a CHECK with more and more mounts, a FREEZE with more and more hooks or plugins. Each largest value is compared with the straight
//! line through the smallest and about a third of the largest: a ratio of 1 is linear growth.

use std::fs;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, line};

use crate::arena::{self, Arena};
use crate::contender::{LINUX, Linux, OURS};
use crate::fetch::Peers;
use crate::figure::{Figure, Rounds, Series, median, ms};

/// A hook that does nothing.
const SCRIPT: &str = "#!/bin/sh\nexit 0\n";

/// CHECK, by the number of mounts; with 8, also against a peer that looks at nothing.
pub(crate) fn mounts(peers: &Peers, counts: &[usize], rounds: usize) -> (Vec<Figure>, Series) {
    let mut arena = Arena::with_disks(1);
    let jail = arena.jail(peers, 1);
    let mut linux = Linux::start(&jail, arena.vmbus());
    let (mut points, mut figures) = (Vec::new(), Vec::new());
    for count in counts {
        arena.guest.table_changes(|table| {
            *table = (0..*count).map(|number| line("ufs", &format!("/mnt/{number}"))).collect();
        });
        let mut check = Rounds::default();
        for round in 0..=rounds {
            let (ours, theirs) = (arena.guest.host_may(Check).took, linux.check());
            if round > 0 {
                check.add(OURS, ms(ours));
                check.add(LINUX, ms(theirs));
            }
        }
        println!(
            "  {count:>5} mounts: CHECK {:7.3} ms ({LINUX}: {:.3} ms)",
            median(check.of(OURS)),
            median(check.of(LINUX))
        );
        points.push((*count, median(check.of(OURS))));
        if *count == 8 {
            figures.push(check.against(format!("check_8_mounts_vs_{LINUX}"), OURS, LINUX, "ms"));
        }
        if *count == 1000 {
            figures.push(check.alone("check_1000_mounts".to_owned(), OURS, "ms"));
        }
    }
    figures.push(against_a_line("growth_mounts", &points, rounds));
    (figures, series("mounts", &points))
}

/// FREEZE of no filesystem, by the number of hooks that do nothing.
pub(crate) fn hooks(counts: &[usize], rounds: usize) -> (Vec<Figure>, Series) {
    let points: Vec<_> = counts.iter().map(|count| (*count, with_hooks(*count, rounds))).collect();
    points.iter().for_each(|(count, took)| println!("  {count:>5} hooks: FREEZE {took:8.2} ms"));
    (vec![against_a_line("growth_hooks", &points, rounds)], series("hooks", &points))
}

fn with_hooks(count: usize, rounds: usize) -> f64 {
    let stage = (0..count)
        .fold(arena::stage(), |stage, number| stage.file_in_hooks_d(&format!("50-hook{number}"), SCRIPT, 0o755));
    median_freeze(&stage.start(), rounds)
}

/// FREEZE of no filesystem, by the number of plugins: copies of one that has nothing to do.
pub(crate) fn plugins(counts: &[usize], rounds: usize) -> (Vec<Figure>, Series) {
    let points: Vec<_> = counts.iter().map(|count| (*count, with_plugins(*count, rounds))).collect();
    points.iter().for_each(|(count, took)| println!("  {count:>5} plugins: FREEZE {took:8.2} ms"));
    (vec![against_a_line("growth_plugins", &points, rounds)], series("plugins", &points))
}

/// As many more as are needed beside the three of ours.
fn with_plugins(count: usize, rounds: usize) -> f64 {
    let stage = arena::stage();
    let path = stage.home().join("plugins/zfs_veto.so");
    let library = fs::read(&path).unwrap_or_else(|error| panic!("can't read {}: {error}", path.display()));
    let stage = (3..count).fold(stage, |stage, number| stage.file_in_plugins(&format!("more{number}.so"), &library));
    median_freeze(&stage.start(), rounds)
}

fn median_freeze(guest: &Guest, rounds: usize) -> f64 {
    let taken = (0..=rounds).map(|_| {
        let took = ms(guest.host_may(Freeze).took);
        guest.host_may(Thaw);
        took
    });
    let taken: Vec<f64> = taken.collect();
    median(&taken[1..])
}

/// The points of a picture.
pub(crate) fn series(name: &str, points: &[(usize, f64)]) -> Series {
    let points = points.iter().map(|(count, took)| (number(*count), *took)).collect();
    Series { name: name.to_owned(), unit: "ms".to_owned(), points }
}

/// The last point against where the straight line through the first one and the one nearest to a third of the last leads.
pub(crate) fn against_a_line(name: &str, points: &[(usize, f64)], n: usize) -> Figure {
    let (Some((first, at_first)), Some((last, at_last))) = (points.first().copied(), points.last().copied()) else {
        panic!("nothing was measured")
    };
    let third = points.iter().filter(|(count, _)| *count > first).min_by_key(|(count, _)| count.abs_diff(last / 3));
    let (third, at_third) = third.copied().expect("at least two points");
    let slope = ((at_third - at_first) / number(third - first)).max(0.0);
    let linear = at_first + slope * number(last - first);
    Figure {
        name: name.to_owned(),
        ours: at_last,
        peer: Some(linear),
        peer_name: "a straight line".to_owned(),
        unit: "ms".to_owned(),
        ratio: Some(at_last / linear),
        n,
        spread: None,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a few thousand at the most")]
fn number(count: usize) -> f64 {
    count as f64
}
