//! Fifty clients of the control socket that misbehave, all at once, while the host checks, freezes, holds and thaws: every answer comes in its
//! time, and an operator who asks is answered all the while. One story for each kind of misbehaviour.

use std::process::Command;

use hv_vss_stories::Operation::{self, Check, Freeze, Thaw};
use hv_vss_stories::{Crowd, Guest, LIMIT, Manners, Stage, our_driver};

/// More than the daemon serves at once.
const MANY: usize = 50;

fn socket(guest: &Guest) -> std::path::PathBuf {
    guest.stage().home().join("run/hv_vss.sock")
}

/// How often an operator asks again who was not answered within vssctl's own patience. Once is enough, but for a machine on which many others
/// are at work: the crowd's fifty threads are nearer to a processor there than the daemon's one.
const TRIES: u32 = 4;

/// The states of a daemon in which nothing is held. A client's own check is one of them.
const AT_REST: [&str; 2] = ["idle", "checking"];

/// What `vssctl status` says of the daemon's state.
#[track_caller]
fn an_operator_hears(guest: &Guest, states: &[&str]) {
    let ask = || {
        let mut vssctl = Command::new(guest.stage().daemon_program().with_file_name("vssctl"));
        let output = vssctl.arg("--socket").arg(socket(guest)).args(["--json", "status"]).output();
        String::from_utf8_lossy(&output.expect("vssctl is built").stdout).into_owned()
    };
    let mut said = ask();
    for _ in 1..TRIES {
        if said.contains("\"state\"") {
            break;
        }
        said = ask();
    }
    let squeezed: String = said.split_whitespace().collect();
    let is_one = states.iter().any(|state| squeezed.contains(&format!("\"state\":\"{state}\"")));
    assert!(is_one, "expected one of {states:?}: {said}");
}

/// The host asks and hears success within the limit that its driver keeps; after that the driver would have answered in the daemon's place.
#[track_caller]
fn in_its_time(guest: &Guest, operation: Operation) {
    let answered = guest.host_may(operation);
    assert!(answered.took < LIMIT, "{operation:?} took {:?}", answered.took);
}

#[track_caller]
fn a_crowd_delays_nothing(stage: Stage, manners: Manners) {
    // A THAW's promise as it is by default: the crowd itself takes processors away from the processes that release.
    let guest = stage.disk("data").hook("50-app", "").time("thaw_answer_after", "2s").time("max_frozen", "30s").start();
    let crowd = Crowd::comes(MANY, manners, &socket(&guest));
    an_operator_hears(&guest, &AT_REST);
    in_its_time(&guest, Check);
    in_its_time(&guest, Freeze);
    guest.is_frozen();
    an_operator_hears(&guest, &["frozen"]);
    in_its_time(&guest, Thaw);
    guest.runs();
    an_operator_hears(&guest, &AT_REST);
    assert!(crowd.visits() >= MANY);
    drop(crowd);
    guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    in_its_time(&guest, Check);
}

our_driver! {
    fn fifty_silent_clients_delay_nothing(stage: Stage) {
        a_crowd_delays_nothing(stage, Manners::Silent);
    }

    fn fifty_slow_clients_delay_nothing(stage: Stage) {
        a_crowd_delays_nothing(stage, Manners::Slow);
    }

    fn fifty_flooding_clients_delay_nothing(stage: Stage) {
        a_crowd_delays_nothing(stage, Manners::Flooding);
    }

    fn fifty_clients_that_take_no_answer_delay_nothing(stage: Stage) {
        a_crowd_delays_nothing(stage, Manners::Deaf);
    }

    fn fifty_half_closed_clients_delay_nothing(stage: Stage) {
        a_crowd_delays_nothing(stage, Manners::HalfClosed);
    }

    fn fifty_babbling_clients_delay_nothing(stage: Stage) {
        a_crowd_delays_nothing(stage, Manners::Babbling);
    }

    fn fifty_boasting_clients_delay_nothing(stage: Stage) {
        a_crowd_delays_nothing(stage, Manners::Boasting);
    }

    fn fifty_knocking_clients_delay_nothing(stage: Stage) {
        a_crowd_delays_nothing(stage, Manners::Knocking);
    }

    fn fifty_clients_that_ask_for_a_check_without_end_delay_nothing(stage: Stage) {
        a_crowd_delays_nothing(stage, Manners::Nagging);
    }
}
