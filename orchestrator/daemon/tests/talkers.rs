//! Plugin processes that talk without end: they cost their own life, and never the daemon's attention.
//!
//! Everything of the orchestrator happens on one thread. So a plugin that is heard out before anything else is looked at keeps the daemon from each
//! deadline it has, the one that would end that plugin included.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hv_vss_daemon::child::{self, Launch, Programs, Said};
use hv_vss_platform::clock::Clock;
use hv_vss_wire::{Call, Event, Level, Phase, Progress, encode};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::timeout;

/// A stand-in for the worker: a shell script that has some frames to say.
struct Talker(PathBuf);

impl Talker {
    fn that(name: &str, says: &Event, script: &str) -> Self {
        let place = std::env::temp_dir().join(format!("hv_vss-talker-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a directory");
        fs::write(place.join("frames"), encode(says).expect("it is short").repeat(2_000)).expect("a file");
        let program = place.join("host");
        fs::write(&program, format!("#!/bin/sh\nframes={}/frames\n{script}\n", place.display())).expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self(place)
    }

    /// Starts it, asks it for a check that it has 500 ms to answer, and hears it to its end; what its end was.
    fn epitaph(&self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
        LocalSet::new().block_on(&runtime, async {
            let (told, mut said) = mpsc::unbounded_channel();
            let launch = Launch {
                program: self.0.join("host"),
                file: Path::new("/nonexistent.so").into(),
                name: "talker".into(),
                options: Vec::new(),
            };
            let handle =
                child::start(&launch, &Programs::Processes, &Clock::system(), move |said| drop(told.send(said)))
                    .expect("a process");
            let limit = hv_vss_platform::clock::now() + Duration::from_millis(500);
            let pending = handle.call(Call::Open { config: serde_json::Map::new() }, Some(limit));
            let end = async {
                loop {
                    if let Some(Said::Gone(how)) = said.recv().await {
                        return how;
                    }
                }
            };
            // The same thread's clock: while the talker is heard and nothing else, this can't fire either.
            let how = timeout(Duration::from_secs(60), end).await.expect("the end of a talker within a minute");
            assert!(pending.answer().await.is_none(), "it never answered");
            how
        })
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const WITHOUT_END: &str = "while cat \"$frames\" >&3; do :; done";

/// It does not even end when nobody listens any more.
fn until_killed() -> String {
    format!("{WITHOUT_END}\nexec sleep 60")
}

fn line() -> Event {
    Event::Log { level: Level::Info, text: "and another thing".into() }
}

#[test]
fn a_plugin_that_logs_faster_than_it_can_be_heard_is_killed() {
    hv_vss_testbed::needs!(Root);
    let how = Talker::that("log", &line(), &until_killed()).epitaph();
    let expected = ["it talks without end", "it did not answer in time"];
    assert!(how.starts_with("was killed") && expected.iter().any(|why| how.ends_with(why)), "{how}");
}

#[test]
fn a_plugin_that_reports_sub_steps_without_end_is_killed() {
    hv_vss_testbed::needs!(Root);
    let substep = Event::Substep { name: "10-x".into(), phase: Phase::Freeze, progress: Progress::Started };
    let how = Talker::that("substep", &substep, &until_killed()).epitaph();
    let expected = ["it reports sub-steps without end", "it did not answer in time"];
    assert!(how.starts_with("was killed") && expected.iter().any(|why| how.ends_with(why)), "{how}");
}

#[test]
fn a_process_that_a_plugin_left_behind_can_not_talk_on_in_its_name() {
    hv_vss_testbed::needs!(Root);
    // The child has the socket, and goes on when the plugin's process has ended. Nobody reads any more then, and it dies of that.
    let how = Talker::that("heir", &line(), &format!("({WITHOUT_END}) &\nexit 3")).epitaph();
    assert_eq!(how, "ended by itself with exit code 3");
}
