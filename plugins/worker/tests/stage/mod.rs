//! What the tests of this crate share: plugins compiled from `tests/plugins/plugin.c`, a worker around one, and sentences to say what is expected.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(unreachable_pub, reason = "this is a module of each of them")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_platform::mounts::{FsId, Mount};
use hv_vss_wire::{About, Answer, Call, Event, Outcome, Role, Step};
use hv_vss_worker::conformance::subject::{Ended, Subject};

/// Long enough for a busy machine; nothing waits this long unless something is wrong.
pub const SOON: Duration = Duration::from_secs(10);

fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{count}-{name}", std::process::id()))
}

/// A file that is removed again.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Self(scratch(name))
    }

    pub fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The test plugin, compiled with these options; once in a test program.
#[track_caller]
pub fn plugin_with(options: &[&str]) -> PathBuf {
    static COMPILED: Mutex<BTreeMap<Vec<String>, PathBuf>> = Mutex::new(BTreeMap::new());
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    // A test that failed while it held the lock left nothing half-done behind.
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = compiled.get(&options) {
        return file.clone();
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let test = std::env::current_exe().expect("the name of this test program");
    let test = test.file_stem().expect("a file name").display();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}-mischief.so", compiled.len()));
    let status = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-shared", "-fPIC", "-pthread"])
        .args(&options)
        .arg("-I")
        .arg(directory.join("../api/include"))
        .arg("-o")
        .arg(&file)
        .arg(directory.join("tests/plugins/plugin.c"))
        .status()
        .expect("a C compiler, as cc");
    assert!(status.success(), "the test plugin does not compile with {options:?}");
    compiled.insert(options, file.clone());
    file
}

/// The worker under test, with one plugin in it.
pub struct Stage {
    pub worker: Subject,
    pub trace: Scratch,
}

impl Stage {
    /// The worker around `file`; what it says first is not yet read.
    #[track_caller]
    pub fn around(file: &Path, options: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_hv_vss_worker"));
        let worker = Subject::start(program, file, options).expect("the worker starts");
        Self { worker, trace: Scratch::new("trace") }
    }

    /// The worker around the test plugin, loaded.
    #[track_caller]
    pub fn with(options: &[&str]) -> Self {
        let mut stage = Self::around(&plugin_with(options), &[]);
        stage.loaded();
        stage
    }

    /// The worker around the test plugin, opened, misbehaving as told.
    #[track_caller]
    pub fn that_does(what: &str, call: &str) -> Self {
        let mut stage = Self::with(&[]);
        let answer = stage.open(&[("in", call), ("do", what)]);
        assert_eq!(answer, done(), "open");
        stage
    }

    /// The first message, when it is a good one.
    #[track_caller]
    pub fn loaded(&mut self) -> About {
        match self.worker.event(clock::now() + SOON) {
            Ok(Some(Event::Loaded { about, .. })) => about,
            other => panic!("expected the plugin to be loaded, got {other:?}"),
        }
    }

    /// The first message, when it is a bad one: the sentence. The worker then ends by itself.
    #[track_caller]
    pub fn unfit(&mut self) -> String {
        let reason = match self.worker.event(clock::now() + SOON) {
            Ok(Some(Event::Unfit { reason })) => reason,
            other => panic!("expected the plugin to be found unfit, got {other:?}"),
        };
        assert!(self.ends_well(), "the worker did not end after a plugin that can't be used");
        reason
    }

    #[track_caller]
    pub fn open(&mut self, settings: &[(&str, &str)]) -> Ended {
        let trace = self.trace.0.display().to_string();
        let settings = settings.iter().copied().chain([("trace", trace.as_str())]);
        let config = settings.map(|(key, value)| (key.to_owned(), value.into())).collect();
        self.worker.call(Call::Open { config }, SOON)
    }

    pub fn check(&mut self) -> Ended {
        self.worker.call(Call::Check(step()), SOON)
    }

    pub fn freeze(&mut self) -> Ended {
        self.worker.call(app_freeze(Duration::from_secs(60)), SOON)
    }

    pub fn thaw(&mut self) -> Ended {
        self.worker.call(app_thaw(), SOON)
    }

    #[track_caller]
    pub fn calls(&self) -> Vec<String> {
        self.trace.lines()
    }

    /// Whether the process ends by itself and with exit code 0.
    pub fn ends_well(&mut self) -> bool {
        self.worker.ended(clock::now() + SOON).is_some_and(|status| status.success())
    }
}

pub fn step() -> Step {
    Step { cycle: "c1".into(), outcome: Outcome::Ok, deadline: clock::now() + SOON, mounts: vec![mount("/data", 1)] }
}

pub fn mount(on: &str, id: u8) -> Mount {
    Mount {
        fsid: FsId([id; 8]),
        fstype: "ufs".into(),
        on: on.into(),
        from: "/dev/md0".into(),
        read_only: false,
        backing: None,
        swap: None,
    }
}

pub fn app_freeze(expires_in: Duration) -> Call {
    Call::Freeze {
        step: step(),
        role: Role::Application,
        expiry: clock::now() + expires_in,
        only: None,
        rehearsal: false,
    }
}

pub fn app_thaw() -> Call {
    Call::Thaw { step: step(), role: Role::Application, owed: vec![], rehearsal: false }
}

pub fn done() -> Ended {
    Ended::Answered(Answer::done())
}

pub fn done_but_not_held() -> Ended {
    Ended::Answered(Answer::Done { claims: vec![], held: false })
}

pub fn refused(reason: &str) -> Ended {
    Ended::Answered(Answer::Refused { reason: reason.into() })
}

/// The sentence of a broken answer.
#[track_caller]
pub fn broken(ended: Ended) -> String {
    match ended {
        Ended::Answered(Answer::Broken { reason }) => reason,
        other => panic!("expected a broken answer, got {other:?}"),
    }
}

/// Holds what `hold` says, or says what it was for so long.
#[track_caller]
pub fn becomes_true(what: &str, mut hold: impl FnMut() -> bool) {
    let until = clock::now() + SOON;
    while !hold() {
        assert!(clock::now() < until, "this did not become true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
