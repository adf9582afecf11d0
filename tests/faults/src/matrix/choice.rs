//! Which cells a run plays: all, or a share drawn by a seed together with every cell that ever failed.

use super::{Cell, sensible};
use crate::rng::Rng;

/// The names of all cells that ever failed, one a line. They are played in every run.
pub const EVER_FAILED: &str = include_str!("../../ever-failed.txt");

/// The cells named in a list like [`EVER_FAILED`].
///
/// # Errors
/// The line that names no cell, or one that makes no sense (any more): then the list has to be seen to.
pub fn listed(list: &str) -> Result<Vec<Cell>, String> {
    let names = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    names
        .map(|name| {
            let cell: Cell = name.parse()?;
            match super::sense::none_because(&cell) {
                None => Ok(cell),
                Some(why) => Err(format!("{name} makes no sense: {why}")),
            }
        })
        .collect()
}

/// One in `parts` of the sensible cells, drawn by the seed, and those that are always played.
#[must_use]
pub fn share(seed: u64, parts: usize, always: &[Cell]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = sensible().collect();
    Rng::new(seed).shuffle(&mut cells);
    let count = cells.len().div_ceil(parts.max(1));
    let drawn = cells.iter().copied().take(count);
    let others = always.iter().copied().filter(|cell| !cells[..count].contains(cell));
    drawn.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_the_same_for_the_same_seed_and_holds_what_is_always_played() {
        let always: Vec<Cell> = sensible().step_by(211).collect();
        let cells = share(5, 10, &always);
        assert_eq!(cells, share(5, 10, &always));
        assert_ne!(cells, share(6, 10, &always));
        assert!(always.iter().all(|cell| cells.contains(cell)));
        assert!(cells.len() >= sensible().count() / 10);
        let mut names: Vec<String> = cells.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cells.len(), "none twice");
    }

    #[test]
    fn ten_tenths_are_everything() {
        assert_eq!(share(9, 1, &[]).len(), sensible().count());
    }

    #[test]
    fn the_list_of_cells_that_ever_failed_names_cells() {
        listed(EVER_FAILED).unwrap();
    }
}
