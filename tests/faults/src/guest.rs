//! The guest that cells are played on: two disks with writers, two scripts, a vendor's plugin, an application, short limits. One guest serves many
//! cells, one after the other; several stand side by side, each in the mount namespace of its own thread.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};
use hv_vss_stories::process;
use hv_vss_stories::{Guest, Signal, Stage, Writer, built, line};

use crate::inject::processes::{comes_true, is_alive};
use crate::matrix::Driver;
use crate::record::{Mark, Record};

/// The driver's limit in the matrix.
#[must_use]
pub fn limit() -> Duration {
    stretched(Duration::from_millis(1500))
}

/// How long a freeze may last in the matrix.
#[must_use]
pub fn max_frozen() -> Duration {
    stretched(Duration::from_secs(1))
}

/// A span of the matrix on this machine. Where many others are at work, the scaled limits would only tell how busy it is; then
/// `HV_VSS_FAULTS_STRETCH` = 4, say, makes all of them four times as long.
///
/// # Panics
/// When the variable holds no number.
#[must_use]
pub fn stretched(span: Duration) -> Duration {
    static STRETCH: OnceLock<u32> = OnceLock::new();
    let stretch = STRETCH.get_or_init(|| match std::env::var("HV_VSS_FAULTS_STRETCH") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("HV_VSS_FAULTS_STRETCH = \"{text}\" is no number")),
        Err(_) => 1,
    });
    span * *stretch
}

/// The spans of a guest's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The driver's limit.
    pub limit: Duration,
    /// `[time]` of the configuration.
    pub times: [(&'static str, Duration); 5],
    /// How long the application stays at rest when nobody tells it to go on.
    pub application_max_hold: Duration,
}

/// The matrix's: everything is over soon, one way or the other.
#[must_use]
pub fn scaled() -> Pace {
    let ms = |ms| stretched(Duration::from_millis(ms));
    Pace {
        limit: limit(),
        times: [
            ("reserve", ms(300)),
            ("max_frozen", max_frozen()),
            ("thaw_answer_after", ms(500)),
            ("last_flush", ms(400)),
            ("thaw_limit", ms(2000)),
        ],
        application_max_hold: ms(3000),
    }
}

/// The soak's: it is not about deadlines, so a busy machine must not be the reason for a refusal. Only the watchdog is quick.
pub const PATIENT: Pace = Pace {
    limit: Duration::from_secs(15),
    times: [
        ("reserve", Duration::from_secs(1)),
        ("max_frozen", Duration::from_secs(1)),
        ("thaw_answer_after", Duration::from_secs(5)),
        ("last_flush", Duration::from_secs(3)),
        ("thaw_limit", Duration::from_secs(10)),
    ],
    application_max_hold: Duration::from_secs(60),
};

/// Between two writes to a disk: several guests stand side by side, and each backup is held for longer than this.
const WRITERS_PACE: Duration = Duration::from_millis(10);

/// The disks. They are frozen the latest first.
pub const DISKS: [&str; 2] = ["one", "two"];
/// The scripts, in the order in which they freeze.
pub const HOOKS: [&str; 2] = ["10-a", "20-b"];
/// The plugins, each with a process of its own.
pub const PLUGINS: [&str; 5] = ["ufs.so", "zfs_veto.so", "exec_hook.so", "vendor.so", "claimer.so"];
/// The disk that the state directory lies on. It is never frozen by the daemon.
const STATE: &str = "state";

/// How long something that comes by itself may take.
pub const SOON: Duration = Duration::from_secs(5);

/// A guest that cells are played on.
pub struct Bench {
    /// Machine, daemon, writers.
    pub guest: Guest,
    /// What everybody in it says of himself.
    pub record: Record,
    directory: PathBuf,
    app: Option<Child>,
    application_max_hold: Duration,
    /// How many cells were played on it.
    pub played: u32,
}

impl Bench {
    /// A guest with this driver; none where this machine can't.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn set(driver: Driver, pace: Pace) -> Option<Self> {
        let stage = Stage::take(driver)?;
        let directory = stage.scratch("matrix");
        fs::create_dir_all(directory.join("gates")).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let flush = directory.join("flush");
        let stage = pace.times.into_iter().fold(stage.limit(pace.limit), |stage, (key, span)| {
            stage.time(key, format!("{}ms", span.as_millis()).leak())
        });
        let mut stage = stage
            .disk(STATE)
            .table(Vec::clear)
            .disk(DISKS[0])
            .disk(DISKS[1])
            .mounted(line("devfs", "/dev"))
            .slow_writers(WRITERS_PACE)
            .flushes_by(&flush)
            .configured(&format!("[plugin.vendor]\ndirectory = \"{}\"", directory.display()))
            .configured(&format!("[plugin.claimer]\ndirectory = \"{}\"", directory.display()));
        for (name, library) in [("vendor.so", vendor()), ("claimer.so", claimer())] {
            stage = stage.file_in_plugins(name, library);
        }
        let script = |text: &str| text.replace("@DIRECTORY@", &directory.display().to_string());
        for name in HOOKS {
            stage = stage.file_in_hooks_d(name, &script(include_str!("../guest/hook.sh")), 0o755);
        }
        make_program(&flush, &script(include_str!("../guest/flush.sh")));
        let mut bench = Self {
            guest: stage.start(),
            record: Record::within(&directory),
            directory,
            app: None,
            application_max_hold: pace.application_max_hold,
            played: 0,
        };
        bench.application_starts();
        Some(bench)
    }

    /// Where record and gates are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The daemon's control socket.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.guest.stage().home().join("run/hv_vss.sock")
    }

    /// Starts the application anew, and waits until it has its node.
    ///
    /// # Panics
    /// When it doesn't get it.
    pub fn application_starts(&mut self) {
        self.application_is_ended();
        let before = self.record.count("app", "open", Mark::Began);
        let mut command = Command::new(built("hv-vss-faults-app"));
        command
            .arg(self.guest.stage().application_node())
            .arg(&self.directory)
            .arg(self.application_max_hold.as_millis().to_string())
            .stdin(Stdio::null());
        // The in-base driver lets in one at a time, and the last one's end may take a moment to get through.
        let opens = comes_true(SOON, || {
            if self.app.as_ref().is_none_or(|app| i32::try_from(app.id()).is_ok_and(|pid| !is_alive(pid))) {
                self.application_is_ended();
                self.app = Some(process::start(&mut command, Signal::SIGKILL));
            }
            self.record.count("app", "open", Mark::Began) > before
        });
        assert!(opens, "the application does not get its node");
    }

    /// The application's process.
    #[must_use]
    pub fn application(&self) -> Option<i32> {
        self.app.as_ref().and_then(|app| i32::try_from(app.id()).ok()).filter(|pid| is_alive(*pid))
    }

    fn application_is_ended(&mut self) {
        if let Some(mut app) = self.app.take() {
            // Fails only when it has ended already.
            let _ = app.kill();
            let _ = app.wait();
        }
    }

    /// The writers on the disks that the daemon freezes.
    pub fn writers(&self) -> impl Iterator<Item = &Writer> {
        self.guest.writers().iter().filter(|writer| writer.disk != STATE)
    }

    /// The first write done after this instant on each disk, as far as there is one.
    #[must_use]
    pub fn first_writes_after(&self, instant: Monotonic) -> Vec<(String, Option<Monotonic>)> {
        self.writers()
            .map(|writer| (writer.disk.clone(), writer.first_done_after(instant).map(|written| written.done)))
            .collect()
    }

    /// The disk with the state directory stalls, or goes on.
    pub fn state_disk(&self, stalls: bool) {
        let option = if stalls { "--freeze" } else { "--unfreeze" };
        // It fails when it is so already.
        let _ = Command::new("fsfreeze").arg(option).arg(self.guest.disk(STATE)).stderr(Stdio::null()).status();
    }

    /// How far its story has come, for [`story_since`](Self::story_since).
    #[must_use]
    pub fn so_far(&self) -> (usize, Monotonic) {
        (self.guest.daemon().log().len(), clock::now())
    }

    /// What is known of what happened since then: the daemon's log (all of it, if it was started since), the wire, and the record.
    #[must_use]
    pub fn story_since(&self, (lines, instant): (usize, Monotonic)) -> Vec<String> {
        let log = self.guest.daemon().log();
        let from = if log.len() >= lines { lines } else { 0 };
        let mut story: Vec<String> = log[from..].iter().map(|line| format!("daemon: {line}")).collect();
        match self.guest.host().log() {
            Ok(entries) => {
                let since = entries.iter().filter(|entry| entry.at_ns >= instant.as_ns());
                story.extend(since.map(|entry| format!("wire: {:>9} µs {:?}", entry.at_ns / 1000, entry.event)));
            }
            Err(error) => story.push(format!("wire: {error}")),
        }
        story.extend(self.record.lines().iter().map(|line| format!("record: {line:?}")));
        story
    }

    /// The host processes, by plugin.
    #[must_use]
    pub fn hosts(&self) -> Vec<(&'static str, i32)> {
        PLUGINS.iter().filter_map(|plugin| Some((*plugin, self.guest.find_worker(plugin)?))).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.state_disk(false);
        self.application_is_ended();
    }
}

fn make_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
}

fn vendor() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| compiled("vendor", &[]))
}

fn claimer() -> &'static [u8] {
    static LIBRARY: OnceLock<Vec<u8>> = OnceLock::new();
    LIBRARY.get_or_init(|| compiled("claimer", &["-DCLAIMER"]))
}

/// The matrix's plugin, compiled from nothing but the header.
fn compiled(name: &str, options: &[&str]) -> Vec<u8> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = std::env::temp_dir().join(format!("hv-vss-faults-{}-{name}.so", std::process::id()));
    let status = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"])
        .args(options)
        .arg("-I")
        .arg(here.join("../../plugins/api/include"))
        .arg("-o")
        .arg(&file)
        .arg(here.join("guest/vendor.c"))
        .status();
    assert!(status.is_ok_and(|status| status.success()), "the matrix's plugin does not compile (a C compiler, as cc)");
    let library = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let _ = fs::remove_file(&file);
    library
}
