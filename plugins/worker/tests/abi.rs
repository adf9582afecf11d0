//! The ABI promise: a plugin compiled for the first ABI loads in this build, and finds every member as it was promised then.

mod stage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_platform::mounts::Mount;
use hv_vss_wire::{Answer, Call, Claim, Event, Level, Outcome, Phase, Progress, Role, Step};
use hv_vss_worker::conformance::subject::Ended;
use stage::*;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/abi")
}

#[track_caller]
fn goes_through_its_life(file: &Path) {
    let mut stage = Stage::around(file, &[]);
    let about = stage.loaded();
    assert_eq!((about.name.as_str(), about.version.as_str(), about.abi), ("first", "1", 1));
    assert_eq!(
        (about.filesystem, about.application, about.holds_survive_exit, about.number),
        (true, true, true, Some(42))
    );

    let serde_json::Value::Object(config) = serde_json::json!({"name": "first", "table": {"number": 7}}) else {
        unreachable!()
    };
    assert_eq!(stage.worker.call(Call::Open { config: config.clone() }, SOON), done());
    assert_eq!(stage.check(), done());
    let read_only = Mount { read_only: true, ..mount("/cd", 2) };
    let claim = Call::Claim { step: step(), mounts: vec![mount("/data", 1), read_only] };
    let claims = vec![Claim::Freeze, Claim::Ignore { reason: "it gave no reason".into() }];
    assert_eq!(stage.worker.call(claim, SOON), Ended::Answered(Answer::Done { claims, held: true }));

    for role in [Role::Application, Role::Filesystem] {
        let expiry = clock::now() + SOON * 6;
        assert_eq!(
            stage.worker.call(Call::Freeze { step: step(), role, expiry, only: None, rehearsal: false }, SOON),
            done(),
            "{role:?}"
        );
    }
    for role in [Role::Filesystem, Role::Application] {
        let thaw = Call::Thaw { step: step(), role, owed: vec![], rehearsal: false };
        assert_eq!(stage.worker.call(thaw, SOON), done(), "{role:?}");
    }
    let recovered = Step { outcome: Outcome::Recovered, ..step() };
    let thaw = Call::Thaw { step: recovered, role: Role::Application, owed: vec!["a part".into()], rehearsal: false };
    assert_eq!(stage.worker.call(thaw, SOON), done_but_not_held());
    assert_eq!(stage.worker.call(Call::Close, Duration::from_secs(10)), done());
    assert!(stage.ends_well());

    let said = &stage.worker.said;
    let substep = |progress| Event::Substep { name: "a part".into(), phase: Phase::Freeze, progress };
    let log = |level, text: &str| Event::Log { level, text: text.into() };
    for expected in [
        log(Level::Info, "opened"),
        substep(Progress::Started),
        substep(Progress::Ended { failure: Some("it failed".into()) }),
        log(Level::Debug, "closed"),
    ] {
        assert!(said.contains(&expected), "it said {said:?}, without {expected:?}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_plugin_compiled_for_the_first_abi_goes_through_its_life_in_this_build() {
    goes_through_its_life(&kept().join("v1-amd64.so"));
}

/// An observer of the day that role was appended.
#[track_caller]
fn observes(file: &Path) {
    let mut stage = Stage::around(file, &[]);
    let about = stage.loaded();
    assert_eq!((about.name.as_str(), about.abi), ("first_observer", 1));
    assert_eq!((about.filesystem, about.application, about.observer, about.number), (false, false, true, None));
    assert_eq!(stage.worker.call(Call::Open { config: serde_json::Map::new() }, SOON), done());
    for _ in 0..2 {
        let record = "{\"cycle\":\"c1\"}".to_owned();
        let ended = Call::Ended { step: Step { mounts: vec![], ..step() }, record };
        assert_eq!(stage.worker.call(ended, SOON), done());
    }
    assert_eq!(stage.worker.call(Call::Close, SOON), done());
    assert!(stage.ends_well());
    let said = stage.worker.said.iter().filter_map(|event| match event {
        Event::Log { text, .. } => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(said.collect::<Vec<_>>(), ["told once", "told again", "closed"]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_observer_compiled_when_that_role_was_appended_is_told_in_this_build() {
    observes(&kept().join("v1-observer-amd64.so"));
}

#[test]
fn the_observers_source_still_compiles_against_this_header_and_does_the_same() {
    observes(&compiled("v1-observer.c").0);
}

#[test]
fn its_source_still_compiles_against_this_header_and_does_the_same() {
    goes_through_its_life(&compiled("v1.c").0);
}

#[track_caller]
fn compiled(source: &str) -> Scratch {
    let file = Scratch::new("of-today.so");
    let compiled = std::process::Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/include"))
        .arg("-o")
        .arg(&file.0)
        .arg(kept().join(source))
        .status()
        .expect("a C compiler, as cc");
    assert!(compiled.success());
    file
}
