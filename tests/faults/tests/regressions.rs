//! What the matrix found, each as a story of its own with what is to be said of it beyond the matrix's rules.

use std::time::Duration;

use hv_vss_faults::cell::{self, Facts};
use hv_vss_faults::guest::{Bench, SOON, scaled};
use hv_vss_faults::inject::processes::{comes_true, signal};
use hv_vss_faults::judge;
use hv_vss_faults::matrix::{Cell, Driver};
use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::Signal;

/// Longer than a daemon takes that has nothing left to do.
const MOMENT: Duration = Duration::from_millis(300);

/// Plays one cell on a guest of its own, judges it, and gives what happened.
#[track_caller]
fn played(name: &str) -> Option<(Bench, Facts)> {
    let cell: Cell = name.parse().expect("a cell");
    let mut bench = Bench::set(cell.driver, scaled())?;
    let facts = cell::play(&mut bench, cell).expect("the moment is reached");
    let misses = judge::judge(&mut bench, &cell, facts.clone());
    assert_eq!(misses, Vec::<String>::new(), "{:#?}", bench.guest.story());
    Some((bench, facts))
}

/// The freeze went on to the dead host's turn, waited there until its time was up, and then for ever for the end of a process that had ended long
/// before: no backup was possible until the daemon was restarted.
#[test]
fn a_filesystem_host_that_dies_after_it_has_claimed_fails_that_freeze_at_once_and_no_other() {
    for name in ["ours/ufs/closed-socket/freeze:within-claim", "ours/ufs/sigkill/freeze:within-claim"] {
        let Some((bench, facts)) = played(name) else { return };
        assert!(!facts.request(Freeze).expect("the host froze").is_ok());
        // The end of its process or of its socket, whichever the daemon notices first.
        bench.guest.daemon().says(&["FREEZE answered FAIL", "plugin ufs"]);
    }
}

/// The application heard of the THAW when the daemon's node was closed already, and the in-base driver lost the request: the host never heard its
/// answer, and a debug kernel stopped. An application that takes its time shows it.
#[test]
fn a_daemon_that_ends_right_after_a_thaw_leaves_the_in_base_driver_time_to_tell_the_application() {
    let Some(mut bench) = Bench::set(Driver::Base, scaled()) else { return };
    let ask = |bench: &Bench, operation| bench.guest.host_may(operation);
    ask(&bench, Check);
    ask(&bench, Freeze);
    let application = bench.application().expect("it is there");
    signal(application, Signal::SIGSTOP);
    let thaw = bench.guest.host_sends(Thaw);
    bench.guest.daemon().says(&["THAW answered success"]);
    bench.guest.daemon().signal(Signal::SIGTERM);
    bench.guest.daemon().says(&["told to stop"]);
    // All its plugins have let go and ended by now; without the delay it would be gone in a moment.
    comes_true(SOON, || bench.hosts().is_empty());
    assert!(!comes_true(MOMENT, || !bench.guest.daemon_is_there()), "it did not stay for the application");
    signal(application, Signal::SIGCONT);
    bench.guest.succeeds(thaw);
    assert_eq!(bench.guest.daemon_ends(), Some(0));
}
