//! vssctl as it is run: its words, its JSON and its exit codes, with a daemon that is a script, with none, and with one that misbehaves.
#![allow(clippy::unwrap_used, reason = "what can't be set up fails the test, wherever it stands")]

mod ctl {
    pub(crate) mod answers;
    pub(crate) mod daemon;
    pub(crate) mod manual;
    pub(crate) mod run;
}

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Instant;

use ctl::answers;
use ctl::daemon::{Daemon, Manners};
use ctl::run::{Home, Ran};
use hv_vss_core::control::{Question, Reply};
use hv_vss_core::record::CycleResult;

#[test]
fn without_a_daemon_every_command_that_needs_one_says_so_and_how_to_start_it() {
    let home = Home::new("absent");
    for command in [
        &["status"][..],
        &["thaw"],
        &["history"],
        &["show"],
        &["rehearse"],
        &["timeline"],
        &["reload"],
        &["metrics"],
        &["plugins"],
    ] {
        let ran = home.vssctl(command);
        ran.exits(2).complains("hv_vss_daemon is not running").complains("service hv_vss start");
    }
}

#[test]
fn a_leftover_socket_that_nobody_listens_on_is_no_daemon_either() {
    let home = Home::new("leftover");
    drop(UnixListener::bind(home.socket()).unwrap());
    home.vssctl(&["status"]).exits(2).complains("is not running");
}

#[test]
fn a_socket_that_is_for_root_is_told_from_a_daemon_that_is_not_there() {
    hv_vss_testbed::needs!(Root);
    let home = Home::new("root-only");
    let daemon = Daemon::start(&home, Manners::Answers(vec![]));
    std::fs::set_permissions(home.socket(), std::fs::Permissions::from_mode(0o600)).unwrap();
    home.vssctl_as_nobody(&["status"]).exits(2).complains("only root may talk to hv_vss_daemon");
    assert!(daemon.asked().is_empty(), "the question never left");
}

#[test]
fn a_daemon_that_hangs_up_speaks_nonsense_or_nothing_at_all_is_told_apart() {
    for (manners, words) in [
        (Manners::HangsUp, "closed the connection"),
        (Manners::TalksNonsense, "a message that can't be understood"),
        (Manners::SaysNothing, "did not answer within 5s"),
    ] {
        let home = Home::new("manners");
        let _daemon = Daemon::start(&home, manners);
        let began = Instant::now();
        home.vssctl(&["status"]).exits(2).complains(words);
        assert!(began.elapsed().as_secs() < 20, "it never waits for ever");
    }
}

#[test]
fn status_is_unwell_after_a_failed_backup_and_says_why() {
    let home = Home::new("status");
    let _daemon = Daemon::start(
        &home,
        Manners::Answers(vec![answers::status(Some(CycleResult::Ok)), answers::status(Some(CycleResult::Failed))]),
    );
    home.vssctl(&["status"]).exits(0).says("Last backup  ok");
    home.vssctl(&["status"]).exits(1).says("Last backup  failed").says(answers::WHY);
}

#[test]
fn json_is_what_the_daemon_said_and_errors_are_json_too() {
    let home = Home::new("json");
    let status = answers::status(Some(CycleResult::Ok));
    let daemon = Daemon::start(&home, Manners::Answers(vec![status.clone()]));
    let shown: serde_json::Value = serde_json::from_str(&home.vssctl(&["--json", "status"]).exits(0).stdout).unwrap();
    let Reply::Status(said) = status else { panic!("not a status") };
    assert_eq!(shown, serde_json::to_value(said).unwrap());
    drop(daemon);
    let ran = home.vssctl(&["--json", "status"]);
    let shown: serde_json::Value = serde_json::from_str(&ran.exits(2).stdout).unwrap();
    assert!(shown["error"].as_str().unwrap().contains("is not running"));
}

#[test]
fn what_the_daemon_refuses_is_said_in_its_own_words() {
    let home = Home::new("refused");
    let refusal = Reply::Refused { reason: "there is no cycle x in the history".to_owned() };
    let _daemon = Daemon::start(&home, Manners::Answers(vec![refusal.clone(), refusal]));
    home.vssctl(&["show", "x"]).exits(1).complains("there is no cycle x");
    home.vssctl(&["check"]).exits(2).complains("can't tell now");
}

#[test]
fn each_command_asks_what_it_is_told_to() {
    let home = Home::new("asks");
    let daemon = Daemon::start(&home, Manners::Answers(vec![Reply::Done; 9]));
    for command in [
        &["thaw"][..],
        &["forgive", "exec_hook"],
        &["reload"],
        &["history", "-n", "3"],
        &["show", "c7"],
        &["timeline"],
        &["rehearse", "--hold", "500ms", "--no-freeze", "--only", "10-x"],
        &["rehearse"],
        &["metrics"],
    ] {
        home.vssctl(command);
    }
    assert_eq!(
        daemon.asked(),
        [
            Question::Thaw,
            Question::Forgive { plugin: "exec_hook".to_owned() },
            Question::Reload,
            Question::History { last: 3 },
            Question::Show { cycle: Some("c7".to_owned()) },
            Question::Show { cycle: None },
            Question::Rehearse { hold_ms: 500, freeze: false, only: Some("10-x".to_owned()) },
            Question::Rehearse { hold_ms: 2_000, freeze: true, only: None },
            Question::Metrics,
        ]
    );
}

#[test]
fn a_thaw_asks_before_it_closes_any_file() {
    // On a frozen FreeBSD filesystem close(2) blocks, and the thaw would wait for itself. What is open when the question arrives was not closed.
    let home = Home::new("closes-nothing");
    home.writes_config("");
    let daemon = Daemon::start(&home, Manners::Answers(vec![Reply::Done]));
    home.vssctl(&["thaw"]).exits(0);
    let open = daemon.files_open_at_the_question();
    assert!(open.iter().any(|path| path == &home.config()), "the configuration is still open: {open:?}");
}

#[test]
fn a_check_passes_on_what_the_daemon_found() {
    let home = Home::new("check");
    let plenty = |works| vec![answers::outlook(works), answers::status(None), answers::backup()];
    let _daemon = Daemon::start(&home, Manners::Answers([plenty(true), plenty(false)].concat()));
    home.vssctl(&["check"]).exits(0).says("A backup would work now.").says("Last time");
    home.vssctl(&["check"]).exits(1).says("REFUSED").says("VETO").says("type = \"zfs\"").says("mount = \"/tank\"");
}

#[test]
fn a_check_without_a_daemon_finds_the_missing_parts_by_itself() {
    let home = Home::new("offline");
    home.writes_config("[device]\nnode = \"/there/is/none\"\n");
    home.vssctl(&["check"])
        .exits(1)
        .says("hv_vss_daemon is not running")
        .says("/there/is/none")
        .says("install at least ufs.so");
    let ran = home.vssctl(&["check", "--offline"]);
    ran.exits(1).says("/there/is/none");
    assert!(!ran.stdout.contains("is not running"), "nobody asked for the daemon: {}", ran.stdout);
}

#[test]
fn a_timeline_is_drawn_for_terminals_and_as_a_picture() {
    let home = Home::new("timeline");
    let _daemon = Daemon::start(&home, Manners::Answers(vec![answers::backup(); 3]));
    home.vssctl(&["timeline"]).exits(0).says("/data").says("held 2.00 s");
    let file = home.path("timeline.svg");
    home.vssctl(&["timeline", "--svg", file.to_str().unwrap()]).exits(0);
    let picture = std::fs::read_to_string(file).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
    let ran = home.vssctl(&["timeline", "--svg", "-"]);
    assert_eq!(ran.exits(0).stdout, picture);
}

#[test]
fn without_a_terminal_nothing_is_coloured() {
    let home = Home::new("colours");
    let _daemon =
        Daemon::start(&home, Manners::Answers(vec![answers::backup(), answers::status(Some(CycleResult::Failed))]));
    for command in [&["timeline"][..], &["status"]] {
        let Ran { stdout, .. } = home.vssctl(command);
        assert!(!stdout.contains('\x1b'), "{stdout:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let home = Home::new("pipe");
    let _daemon = Daemon::start(&home, Manners::Answers(vec![answers::history(500)]));
    let ran = home.vssctl_into_a_closed_pipe(&["history", "-n", "500"]);
    ran.exits(0);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_wrong_configuration_is_named_with_its_line_and_a_right_one_is_shown() {
    let home = Home::new("config");
    home.writes_config("[time]\nmax_frosen = \"1s\"\n");
    let file = home.config();
    home.vssctl(&["config", "check", file.to_str().unwrap()]).exits(1).says("line 2").says("max_frozen");
    home.vssctl(&["status"]).exits(2).complains("line 2");
    home.writes_config("[time]\nmax_frozen = \"30s\"\n");
    home.vssctl(&["config", "check", file.to_str().unwrap()]).exits(0).says("is right");
    home.vssctl(&["config", "show"]).exits(0).says("max_frozen = \"30s\"").says("# config:2");
}

#[test]
fn a_file_that_is_no_plugin_is_refused_with_a_reason() {
    let home = Home::new("inspect");
    let file = home.path("x.so");
    std::fs::write(&file, "not a plugin").unwrap();
    let ran = home.vssctl(&["plugin", "inspect", file.to_str().unwrap()]);
    // The worker is another crate's program: where only this one was built, its absence is the answer.
    if ran.code == Some(2) {
        ran.complains("the worker");
    } else {
        ran.exits(1).says("would NOT load it");
    }
}

#[test]
fn completions_know_every_command() {
    let home = Home::new("completions");
    for shell in ["bash", "zsh", "fish"] {
        let ran = home.vssctl(&["completions", shell]);
        for command in ["check", "timeline", "rehearse", "inspect"] {
            ran.exits(0).says(command);
        }
    }
}
