//! What these tests share: a hook directory with real scripts, and the real plugin in a real worker, called as the orchestrator calls it.
//! What is claimed is read off the scripts' own log and off the system, not off the plugin's word.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(unreachable_pub, reason = "this is a module of each of them")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_platform::mounts::{FsId, Mount};
use hv_vss_testbed::needs;
use hv_vss_wire::{Answer, Call, Event, Level, Outcome, Phase, Progress, Role, Step};
pub use hv_vss_worker::conformance::subject::Ended;
use hv_vss_worker::conformance::subject::Subject;

/// Long enough for a busy machine; nothing waits this long unless something is wrong.
pub const SOON: Duration = Duration::from_secs(20);

/// The programs under test, built once.
struct Built {
    worker: PathBuf,
    plugin: PathBuf,
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| Built {
        worker: hv_vss_testbed::built("hv_vss_worker"),
        plugin: hv_vss_testbed::built("libexec_hook.so"),
    })
}

/// A hook directory of root's, the scripts' log beside it, and the plugin.
pub struct Stage {
    pub ground: PathBuf,
    pub worker: Subject,
    outcome: Outcome,
    mounts: Vec<Mount>,
}

impl Stage {
    /// Nothing in hooks.d yet, the plugin not yet opened. None without root, to which hooks must belong.
    #[track_caller]
    pub fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        needs!(Root, Procps);
        // First of all, so that nothing is left lying about if they don't build.
        built();
        let name = format!("hv_vss-hooks-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let ground = std::env::temp_dir().join(name);
        fs::create_dir(&ground).unwrap();
        mode(&ground, 0o755);
        fs::create_dir(ground.join("hooks.d")).unwrap();
        mode(&ground.join("hooks.d"), 0o755);
        Some(Self { worker: start(), ground, outcome: Outcome::Ok, mounts: Vec::new() })
    }

    pub fn hooks(&self) -> PathBuf {
        self.ground.join("hooks.d")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.ground.join(name)
    }

    /// A script that writes `NAME ARGUMENT` to the log, then does `body`. It finds the scratch directory in `$GROUND`, its name in `$NAME`, a
    /// function `note` that writes a line of its own, and a function `apart` that runs a line in a session of its own, where `$$` is its number.
    pub fn hook(&self, name: &str, body: &str) -> PathBuf {
        let ground = self.ground.display();
        let file = self.hooks().join(name);
        let text = format!(
            r#"#!/bin/sh
GROUND={ground}
NAME={name}
note() {{ echo "$*" >>"$GROUND/log"; }}
# setsid(1) is Linux', daemon(8) FreeBSD's.
apart() {{ $(command -v setsid || command -v daemon) sh -c "$1"; }}
note "$NAME $1"
{body}
"#
        );
        fs::write(&file, text).unwrap();
        mode(&file, 0o755);
        file
    }

    /// Opens the plugin on this directory, with more settings.
    #[track_caller]
    pub fn open_with(&mut self, settings: &[(&str, serde_json::Value)]) {
        let ended = self.try_open(settings);
        assert_eq!(ended, done(), "open");
    }

    pub fn try_open(&mut self, settings: &[(&str, serde_json::Value)]) -> Ended {
        let mut config = serde_json::Map::new();
        config.insert("directory".into(), self.hooks().display().to_string().into());
        config.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.worker.call(Call::Open { config }, SOON)
    }

    #[track_caller]
    pub fn open(&mut self) {
        self.open_with(&[]);
    }

    /// Another process of the plugin, as after the death of the first.
    #[track_caller]
    pub fn restart(&mut self) {
        self.worker.kill();
        self.worker = start();
        self.open();
    }

    pub fn with_mount(&mut self, mount: Mount) {
        self.mounts.push(mount);
    }

    pub fn outcome_is(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    pub fn step(&self, within: Duration) -> Step {
        let deadline = clock::now() + within;
        Step { cycle: "cycle-7".into(), outcome: self.outcome, deadline, mounts: self.mounts.clone() }
    }

    pub fn check(&mut self) -> Ended {
        let step = self.step(SOON);
        self.worker.call(Call::Check(step), SOON)
    }

    pub fn freeze(&mut self) -> Ended {
        self.freeze_within(SOON)
    }

    pub fn freeze_within(&mut self, within: Duration) -> Ended {
        let call = self.freeze_call(within);
        self.worker.call(call, SOON)
    }

    pub fn freeze_call(&self, within: Duration) -> Call {
        let expiry = clock::now() + Duration::from_secs(600);
        Call::Freeze { step: self.step(within), role: Role::Application, expiry, only: None, rehearsal: false }
    }

    pub fn thaw(&mut self) -> Ended {
        self.thaw_within(SOON, &[])
    }

    pub fn thaw_owed(&mut self, owed: &[&str]) -> Ended {
        self.thaw_within(SOON, owed)
    }

    pub fn thaw_within(&mut self, within: Duration, owed: &[&str]) -> Ended {
        let owed = owed.iter().map(|name| (*name).to_owned()).collect();
        let call = Call::Thaw { step: self.step(within), role: Role::Application, owed, rehearsal: false };
        self.worker.call(call, SOON)
    }

    /// The lines of the scripts' log since the last time.
    #[track_caller]
    pub fn the_scripts_did(&self, lines: &[&str]) {
        assert_eq!(self.log(), lines, "the scripts' own log");
        let _ = fs::remove_file(self.path("log"));
    }

    pub fn log(&self) -> Vec<String> {
        self.lines("log")
    }

    pub fn lines(&self, file: &str) -> Vec<String> {
        fs::read_to_string(self.path(file)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// What the plugin reported of its scripts, as `NAME PHASE PROGRESS`, without what was only planned.
    pub fn reported(&self) -> Vec<String> {
        let substeps = self.worker.said.iter().filter_map(|event| match event {
            Event::Substep { progress: Progress::Planned, .. } => None,
            Event::Substep { name, phase, progress } => {
                let phase = if *phase == Phase::Freeze { "freeze" } else { "thaw" };
                let progress = match progress {
                    Progress::Planned => "planned",
                    Progress::Started => "started",
                    Progress::Ended { failure: None } => "ended",
                    Progress::Ended { failure: Some(_) } => "failed",
                };
                Some(format!("{name} {phase} {progress}"))
            }
            _ => None,
        });
        substeps.collect()
    }

    /// What it logged at this level or a graver one.
    pub fn logged(&self, at_least: Level) -> Vec<String> {
        let lines = self.worker.said.iter().filter_map(|event| match event {
            Event::Log { level, text } if gravity(*level) >= gravity(at_least) => Some(text.clone()),
            _ => None,
        });
        lines.collect()
    }

    #[track_caller]
    pub fn logs(&self, at_least: Level, part: &str) {
        let logged = self.logged(at_least);
        assert!(logged.iter().any(|line| line.contains(part)), "\"{part}\" is not in the log: {logged:#?}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.worker.kill();
        let _ = fs::remove_dir_all(&self.ground);
    }
}

#[track_caller]
fn start() -> Subject {
    let built = built();
    let mut worker = Subject::start::<&str>(&built.worker, &built.plugin, &[]).unwrap();
    match worker.event(clock::now() + SOON) {
        Ok(Some(Event::Loaded { .. })) => worker,
        other => panic!("the plugin was not loaded: {other:?}"),
    }
}

const fn gravity(level: Level) -> u8 {
    match level {
        Level::Debug => 0,
        Level::Info => 1,
        Level::Warn => 2,
        Level::Error => 3,
    }
}

pub fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
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

pub fn done() -> Ended {
    Ended::Answered(Answer::done())
}

/// The sentence of a refusal.
#[track_caller]
pub fn refusal(ended: Ended) -> String {
    match ended {
        Ended::Answered(Answer::Refused { reason }) => reason,
        other => panic!("expected a refusal, got {other:?}"),
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

/// Whether a process of this number lives; a zombie does not.
pub fn lives(pid: &str) -> bool {
    let ps = Command::new("ps").args(["-o", "stat=", "-p", pid.trim()]).output().unwrap();
    let state = String::from_utf8(ps.stdout).unwrap();
    !state.trim().is_empty() && !state.trim_start().starts_with('Z')
}
