//! What these tests share: the real plugin in a real worker, told of cycles as the daemon tells it; and a program in C that reads and writes the pool
//! knowing nothing but the format and hv_kvp_daemon's locking. What the plugin wrote is read by that program only.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(unreachable_pub, reason = "this is a module of each of them")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_wire::{Answer, Call, Event, Outcome, Step};
pub use hv_vss_worker::conformance::subject::Ended;
use hv_vss_worker::conformance::subject::Subject;

/// Long enough for a busy machine; nothing waits this long unless something is wrong.
pub const SOON: Duration = Duration::from_secs(20);

/// The keys that the plugin keeps.
pub const KEYS: [&str; 8] = [
    "HvVssState",
    "HvVssLastResult",
    "HvVssLastReason",
    "HvVssLastTrouble",
    "HvVssLastCycle",
    "HvVssLastTime",
    "HvVssFrozenMs",
    "HvVssDaemonVersion",
];

/// The programs under test, and the other program, compiled once.
pub struct Built {
    pub worker: PathBuf,
    pub plugin: PathBuf,
    pub hammer: PathBuf,
}

pub fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = hv_vss_testbed::built;
        Built { worker: built("hv_vss_worker"), plugin: built("libkvp_report.so"), hammer: hammer() }
    })
}

fn hammer() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let test = test.file_stem().unwrap().display();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-hammer"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kvp/pool/tests/hammer.c");
    let mut compile = Command::new("cc");
    compile.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"]).arg(&program).arg(source);
    assert!(compile.status().expect("a C compiler, as cc").success(), "the other program does not compile");
    program
}

/// The plugin, opened for a pool in a directory of its own.
pub struct Stage {
    pub ground: PathBuf,
    pub worker: Subject,
}

impl Stage {
    /// The pool's directory is not there yet.
    #[track_caller]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        built();
        let name = format!("hv_vss-kvp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let ground = std::env::temp_dir().join(name);
        fs::create_dir(&ground).unwrap();
        Self::on(ground)
    }

    /// The same on a ground that is there.
    #[track_caller]
    pub fn on(ground: PathBuf) -> Self {
        let worker = start(&ground.join("hyperv/pool"));
        Self { ground, worker }
    }

    pub fn directory(&self) -> PathBuf {
        self.ground.join("hyperv/pool")
    }

    pub fn file(&self) -> PathBuf {
        self.directory().join(".kvp_pool_1")
    }

    /// The pool's directory is there, and what other programs have in the pool.
    #[track_caller]
    pub fn with_pool(pairs: &[(&str, &str)]) -> Self {
        let stage = Self::new();
        fs::create_dir_all(stage.directory()).unwrap();
        for (key, value) in pairs {
            set(&stage.file(), key, value);
        }
        stage
    }

    pub fn told(&mut self, record: &str) -> Ended {
        self.worker.call(ended(record, SOON), SOON)
    }

    /// Claims that the plugin took the record.
    #[track_caller]
    pub fn hears(&mut self, record: &str) {
        assert_eq!(self.told(record), Ended::Answered(Answer::done()));
    }

    /// Claims that the plugin could not do it, and gives its sentence.
    #[track_caller]
    pub fn cannot(&mut self, record: &str) -> String {
        match self.told(record) {
            Ended::Answered(Answer::Refused { reason }) => reason,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// All of the pool, as the other program reads it, in its order.
    #[track_caller]
    pub fn pool(&self) -> Vec<(String, String)> {
        list(&self.file())
    }

    /// A key's value; empty when it is not there.
    #[track_caller]
    pub fn value(&self, key: &str) -> String {
        self.pool().into_iter().find(|(have, _)| have == key).map(|(_, value)| value).unwrap_or_default()
    }

    pub fn log(&self) -> Vec<&str> {
        let lines = self.worker.said.iter().filter_map(|event| match event {
            Event::Log { text, .. } => Some(text.as_str()),
            _ => None,
        });
        lines.collect()
    }

    /// As the daemon ends it.
    #[track_caller]
    pub fn closes(&mut self) {
        assert_eq!(self.worker.call(Call::Close, SOON), Ended::Answered(Answer::done()));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A ground that is a disk of its own can't be removed while it is mounted.
        #[cfg(target_os = "linux")]
        let _ = nix::mount::umount2(&self.ground, nix::mount::MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.ground);
    }
}

#[track_caller]
pub fn start(directory: &Path) -> Subject {
    let mut worker = Subject::start::<&str>(&built().worker, &built().plugin, &[]).unwrap();
    let config = [("directory".to_owned(), directory.display().to_string().into())].into_iter().collect();
    assert_eq!(worker.call(Call::Open { config }, SOON), Ended::Answered(Answer::done()));
    worker
}

pub fn ended(record: &str, within: Duration) -> Call {
    let deadline = clock::now() + within;
    let step = Step { cycle: "c".into(), outcome: Outcome::Ok, deadline, mounts: vec![] };
    Call::Ended { step, record: record.to_owned() }
}

/// A record as the daemon sends it.
pub fn record(kind: &str, result: &str, cycle: &str, sentence: &str) -> String {
    let sentence = serde_json::to_string(sentence).unwrap();
    format!(
        r#"{{"version":1,"cycle":"{cycle}","kind":"{kind}","began_ms":1769911384123,"budget_ms":14000,"result":"{result}","sentence":{sentence},"steps":[],"frozen_ms":137,"daemon_version":"0.1.0","state":"idle","again":false}}"#
    )
}

#[track_caller]
pub fn set(file: &Path, key: &str, value: &str) {
    let status = Command::new(&built().hammer).arg("set").arg(file).args([key, value]).status().unwrap();
    assert!(status.success(), "{key}");
}

#[track_caller]
pub fn list(file: &Path) -> Vec<(String, String)> {
    let output = Command::new(&built().hammer).arg("list").arg(file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let pair = |line: &str| line.split_once('\t').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
    said.lines().map(pair).collect()
}
