//! `vssctl plugin test`: a good plugin passes everything, and each broken promise is found and named.

mod stage;

use std::path::Path;
use std::time::Duration;

use hv_vss_worker::conformance::{Report, Trial, Verdict, run};
use stage::*;

/// For the plugins that use it up: long enough to be loaded on a busy machine.
const PATIENCE: Duration = Duration::from_millis(800);

#[track_caller]
fn trial_of(options: &[&str], settings: &[(&str, &str)], patience: Duration) -> Report {
    run(&Trial {
        program: Path::new(env!("CARGO_BIN_EXE_hv_vss_worker")).into(),
        file: plugin_with(options),
        options: vec![],
        config: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect(),
        mounts: vec![mount("/data", 1)],
        freezable: Some(mount("/data", 1)),
        patience,
    })
}

/// The promises found broken.
fn broken_promises(report: &Report) -> Vec<(&str, &str)> {
    let broken = report.findings.iter().filter_map(|finding| match &finding.verdict {
        Verdict::Broken(why) => Some((finding.claim, why.as_str())),
        Verdict::Kept | Verdict::Skipped(_) => None,
    });
    broken.collect()
}

#[test]
fn a_good_plugin_keeps_every_promise_in_both_roles() {
    let report = trial_of(&["-DROLES=3", "-DFLAGS=1"], &[], SOON);
    assert_eq!(broken_promises(&report), []);
    assert!(report.passed());
    assert!(report.findings.iter().all(|finding| finding.verdict == Verdict::Kept), "{report}");
    assert_eq!(report.findings.len(), 6 + 2 * 9);
    assert!(report.to_string().ends_with("The plugin keeps its promises.\n"), "{report}");
}

#[test]
fn a_good_observer_keeps_every_promise_and_is_never_asked_to_freeze() {
    let report = trial_of(&["-DROLES=4", "-DNO_THAW"], &[], SOON);
    assert_eq!(broken_promises(&report), []);
    assert_eq!(report.findings.len(), 4 + 4, "{report}");
    assert!(!report.to_string().contains("freeze"), "{report}");
}

#[test]
fn an_observer_that_does_not_give_up_or_crashes_is_found() {
    let report = trial_of(&["-DROLES=4"], &[("in", "ended"), ("do", "loop")], PATIENCE);
    let broken = broken_promises(&report);
    let found = |part: &str, why: &str| broken.iter().any(|(claim, said)| claim.contains(part) && said.contains(why));
    assert!(found("told to give up", "look at cancelled()"), "{report}");
    assert!(found("of every kind", "did not end in time"), "{report}");
    let report = trial_of(&["-DROLES=4"], &[("in", "ended"), ("do", "crash")], SOON);
    assert_eq!(broken_promises(&report).len(), 4, "{report}");
}

#[test]
fn a_filesystem_plugin_without_a_filesystem_to_freeze_is_tried_as_far_as_that_goes() {
    let trial = Trial {
        program: Path::new(env!("CARGO_BIN_EXE_hv_vss_worker")).into(),
        file: plugin_with(&["-DROLES=1"]),
        options: vec![],
        config: serde_json::Map::new(),
        mounts: vec![mount("/data", 1)],
        freezable: None,
        patience: SOON,
    };
    let report = run(&trial);
    assert!(report.passed(), "{report}");
    let skipped = report.findings.iter().filter(|finding| matches!(finding.verdict, Verdict::Skipped(_))).count();
    assert_eq!(skipped, 9);
}

#[test]
fn a_plugin_that_crashes_in_thaw_breaks_every_promise_with_a_thaw_in_it_and_no_other() {
    let report = trial_of(&[], &[("in", "thaw"), ("do", "crash")], SOON);
    let broken = broken_promises(&report);
    assert_eq!(broken[0], ("thaw works without a freeze", "in thaw its process was ended by SIGSEGV"), "{report}");
    let kept: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Kept)
        .map(|finding| finding.claim)
        .collect();
    assert_eq!(
        kept[..5],
        [
            "it loads",
            "it opens with its settings, and closes",
            "it refuses a setting it does not know, and names it",
            "check works, and again",
            "it ends when nobody is left to talk to",
        ]
    );
}

#[test]
fn a_freeze_that_heeds_cancellation_passes_where_one_that_does_not_is_found() {
    let find = |report: &Report, part: &str| {
        let finding = report.findings.iter().find(|finding| finding.claim.contains(part)).expect("it was tried");
        finding.verdict.clone()
    };
    // It never succeeds, but it gives up when it should: then only what needs a success is broken.
    let report = trial_of(&[], &[("in", "freeze"), ("do", "wait-until-cancelled")], PATIENCE);
    assert!(
        matches!(find(&report, "that is cancelled"), Verdict::Broken(why) if why.starts_with("in the next cycle")),
        "{report}"
    );
    let report = trial_of(&[], &[("in", "freeze"), ("do", "loop")], PATIENCE);
    for part in ["that is cancelled", "runs out of time"] {
        assert!(
            matches!(find(&report, part), Verdict::Broken(why) if why.contains("look at cancelled()")),
            "{part}: {report}"
        );
    }
}

#[test]
fn a_file_that_does_not_load_is_one_finding() {
    let report = trial_of(&["-DNO_THAW"], &[], SOON);
    let broken = broken_promises(&report);
    assert_eq!(report.findings.len(), 1);
    assert!(broken[0].0 == "it loads" && broken[0].1.contains("lacks the required member thaw"), "{report}");
    assert!(!report.passed());
}

#[test]
fn the_report_as_json_names_each_claim_and_verdict() {
    let report = trial_of(&["-DNO_THAW"], &[], SOON);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][0]["claim"], "it loads");
    assert_eq!(json["findings"][0]["verdict"], "broken");
    assert!(json["findings"][0]["why"].as_str().is_some_and(|why| why.contains("thaw")), "{json}");
}
