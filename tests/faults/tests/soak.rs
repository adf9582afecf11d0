//! CI's soak: a hundred backups with scripted faults. `make soak` makes ten thousand.

use hv_vss_faults::{rng, soak};

const SEED: u64 = 20_261_127;
const CYCLES: usize = 100;

#[test]
fn after_a_hundred_backups_with_scripted_faults_the_daemon_is_what_it_was() {
    let Some(report) = soak::run(CYCLES, rng::seed(SEED), None) else { return };
    println!("{}", report.text());
    assert_eq!(report.violations(), Vec::<String>::new(), "{}", report.text());
}
