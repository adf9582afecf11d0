//! A freeze of which only one script is wanted: a rehearsal of that one.

mod stage;

use std::time::Duration;

use hv_vss_wire::{Call, Event, Progress, Role};
use stage::{Ended, SOON, Stage, done, refusal};

fn freeze_only(stage: &mut Stage, name: &str) -> Ended {
    let Call::Freeze { step, expiry, .. } = stage.freeze_call(SOON) else { unreachable!() };
    let call = Call::Freeze { step, role: Role::Application, expiry, only: Some(name.to_owned()), rehearsal: true };
    stage.worker.call(call, SOON + Duration::from_secs(1))
}

#[test]
fn only_the_script_that_is_rehearsed_runs_and_nobody_elses_post_thaw() {
    let Some(mut stage) = Stage::new() else { return };
    for name in ["10-a", "20-b", "30-c.pre-freeze", "40-d.post-thaw"] {
        stage.hook(name, "");
    }
    stage.open();
    for (name, lines) in [
        ("20-b", &["20-b freeze", "20-b thaw"][..]),
        ("30-c.pre-freeze", &["30-c.pre-freeze freeze"]),
        ("40-d.post-thaw", &["40-d.post-thaw thaw"]),
    ] {
        assert_eq!(freeze_only(&mut stage, name), done());
        assert_eq!(stage.thaw(), done());
        stage.the_scripts_did(lines);
    }
    let planned =
        |event: &Event| matches!(event, Event::Substep { name, progress: Progress::Planned, .. } if name == "10-a");
    assert!(!stage.worker.said.iter().any(planned), "what is not to run is not announced");

    // The next freeze is a whole one again.
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.log().len(), 6, "{:?}", stage.log());
}

#[test]
fn a_script_that_is_not_there_is_refused_by_name_and_nothing_runs() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-a", "");
    stage.hook("40-d.post-thaw", "");
    stage.open();
    let reason = refusal(freeze_only(&mut stage, "10-b"));
    assert!(reason.contains("no 10-b to rehearse in "), "{reason}");
    assert!(reason.contains(&stage.hooks().display().to_string()), "{reason}");
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&[]);
}

#[test]
fn a_pair_is_rehearsed_as_a_pair_and_told_that_it_is_a_rehearsal() {
    let Some(mut stage) = Stage::new() else { return };
    let tells = "note ${HV_VSS_REHEARSAL:-no rehearsal}";
    stage.hook("20-b.pre-freeze", tells);
    stage.hook("20-b.post-thaw", "");
    stage.hook("30-c", "");
    stage.open();
    for name in ["20-b.pre-freeze", "20-b.post-thaw", "20-b"] {
        assert_eq!(freeze_only(&mut stage, name), done());
        assert_eq!(stage.thaw(), done());
        stage.the_scripts_did(&["20-b.pre-freeze freeze", "1", "20-b.post-thaw thaw"]);
    }
    assert_eq!(stage.freeze(), done());
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.log()[..2], ["20-b.pre-freeze freeze", "no rehearsal"]);
}
