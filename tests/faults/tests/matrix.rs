//! CI's share of the fault matrix: a tenth of the cells, drawn by a seed that is printed, and every cell that ever failed. `make soak` plays all.
//!
//! `HV_VSS_FAULTS_SEED` repeats a run, `HV_VSS_FAULTS_PARTS` changes the share (1: everything), `HV_VSS_FAULTS_GUESTS` how many stand side by side.

use hv_vss_faults::matrix::choice;
use hv_vss_faults::{campaign, rng, table};

/// The seed unless the environment has one. It is fixed, so that a change is judged by the same cells as the state before it.
const SEED: u64 = 20_261_127;

fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} = \"{text}\" is no number")),
        Err(_) => default,
    }
}

#[test]
fn whatever_dies_hangs_or_lies_at_whatever_moment_nothing_is_lost_and_nothing_is_stuck() {
    let seed = rng::seed(SEED);
    let always = choice::listed(choice::EVER_FAILED).expect("the list of cells that ever failed");
    let cells = choice::share(seed, number("HV_VSS_FAULTS_PARTS", 10), &always);
    println!("{} cells, seed {seed}", cells.len());
    let Some(played) = campaign::run(&cells, number("HV_VSS_FAULTS_GUESTS", 6), None, |_| ()) else { return };
    println!("{}", table::text(&played));
    println!("{}", table::summary(&played, seed));
    assert_eq!(played.len(), cells.len());
    assert_eq!(table::totals(&played).failed, 0, "{}", table::summary(&played, seed));
}
