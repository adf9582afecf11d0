//! The Rust SDK, as its users' plugins use it: through a real worker. No panic crosses the border, and sentences arrive whole.

mod stage;

use std::path::PathBuf;

use hv_vss_testbed::example;
use hv_vss_wire::{Answer, Call, Claim, Event};
use hv_vss_worker::conformance::subject::Ended;
use stage::*;

/// The plugin of `examples/panics.rs`.
#[track_caller]
fn panics() -> PathBuf {
    example("panics")
}

#[track_caller]
fn that_panics_in(method: &str, kind: &str) -> (Stage, Ended) {
    let mut stage = Stage::around(&panics(), &[]);
    stage.loaded();
    let settings = [("in", method), ("with", kind)].map(|(key, value)| (key.to_owned(), value.into()));
    let opened = stage.worker.call(Call::Open { config: settings.into_iter().collect() }, SOON);
    (stage, opened)
}

fn claim() -> Call {
    Call::Claim { step: step(), mounts: vec![mount("/data", 1)] }
}

#[test]
fn a_panic_in_any_method_is_a_broken_answer_with_its_message_and_place() {
    for method in ["open", "check", "claim", "freeze", "thaw"] {
        let (mut stage, opened) = that_panics_in(method, "");
        let ended = match method {
            "open" => opened,
            "check" => stage.check(),
            "claim" => stage.worker.call(claim(), SOON),
            "freeze" => stage.freeze(),
            _ => stage.thaw(),
        };
        let why = broken(ended);
        let expected = format!("panicked in {method}: {method} can't go on (at plugins/worker/examples/panics.rs:");
        assert!(why.starts_with(&expected), "{why}");
        if method == "freeze" {
            // It goes on being called: the thaw is the way to let go of what the freeze may have done before it panicked.
            assert_eq!(stage.thaw(), done());
        }
        assert_eq!(stage.worker.call(Call::Close, SOON), done(), "{method}");
        assert!(stage.ends_well());
    }
}

#[test]
fn a_panic_in_close_is_no_more_than_the_end() {
    let (mut stage, opened) = that_panics_in("close", "");
    assert_eq!(opened, done());
    assert_eq!(stage.worker.call(Call::Close, SOON), done());
    assert!(stage.ends_well());
}

#[test]
fn a_panic_whose_payload_panics_again_is_caught_as_well() {
    let (mut stage, _) = that_panics_in("freeze", "payload");
    assert!(broken(stage.freeze()).starts_with("panicked in freeze: without a message (at "));
    let (mut stage, _) = that_panics_in("freeze", "index");
    assert!(
        broken(stage.freeze()).starts_with("panicked in freeze: index out of bounds: the len is 5 but the index is 5")
    );
}

#[test]
fn a_sentence_longer_than_its_room_is_cut_between_two_characters() {
    let (mut stage, _) = that_panics_in("", "");
    let Ended::Answered(Answer::Refused { reason }) = stage.check() else { panic!("not refused") };
    assert_eq!(reason, "é".repeat(511));
}

#[test]
fn a_mount_arrives_as_the_orchestrator_sent_it() {
    let (mut stage, _) = that_panics_in("", "");
    let mut mount = mount("/mnt/naïve \u{1f9ca}", 0xab);
    mount.backing = Some("/img".into());
    let call = Call::Claim { step: step(), mounts: vec![mount] };
    let Ended::Answered(Answer::Done { claims, .. }) = stage.worker.call(call, SOON) else { panic!("no claims") };
    let expected = r#"Mount { fsid: [171, 171, 171, 171, 171, 171, 171, 171], fstype: "ufs", on: "/mnt/naïve 🧊", from: "/dev/md0", read_only: false, backing: Some("/img"), swap: None }"#;
    assert_eq!(claims, [Claim::Ignore { reason: expected.into() }]);
}

#[test]
fn a_log_line_of_open_arrives_up_to_its_null_byte() {
    let (stage, _) = that_panics_in("", "");
    let line = |event: &Event| matches!(event, Event::Log { text, .. } if text == "opened, and a null byte");
    assert!(stage.worker.said.iter().any(line), "{:?}", stage.worker.said);
}

#[test]
fn an_unknown_setting_is_refused_by_name() {
    let mut stage = Stage::around(&panics(), &[]);
    stage.loaded();
    let config = [("on".to_owned(), "freeze".into())].into_iter().collect();
    assert_eq!(stage.worker.call(Call::Open { config }, SOON), refused("unknown setting on: there are in, with"));
}
