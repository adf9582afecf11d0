//! Real database servers in the guest: backed up by the simulated host under load, with the real daemon and the samples in hooks.d, and then a real
//! server is started from the copy and asked for everything that was acknowledged.
//!
//! What was acknowledged is kept in the test's memory, outside of the guest; whether a copy is good is said by ext4's own tools, by the started server's own
//! log, and by what it answers. Nothing here takes hv_vss's word for anything.
//!
//! Needs the servers of Debian's packages postgresql, mariadb-server and redis-server. They listen on sockets in the test's own tmpfs.

mod backup;
mod copy;
mod load;
pub mod mariadb;
pub mod postgresql;
pub mod redis;
mod server;
mod session;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hv_vss_stories::{Kind, Stage};
use hv_vss_testbed::{Need, can_run};

pub use backup::{Backup, Tally, backup};
pub use copy::{Copy, relink};
pub use load::{Found, Load, Span, judge};
pub use server::Server;
pub use session::Session;

/// How long something may take that comes by itself, on a busy machine.
const SOON: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(10);
/// Bytes of a disk with room.
const ROOMY: u64 = 400 << 20;

/// How many backups are taken of each database: two, unless `HV_VSS_DATABASE_ROUNDS` says otherwise.
///
/// # Panics
/// When it is set to something that is no number.
#[must_use]
pub fn rounds() -> u64 {
    let given = std::env::var("HV_VSS_DATABASE_ROUNDS").ok();
    given.map_or(2, |text| text.parse().unwrap_or_else(|_| panic!("HV_VSS_DATABASE_ROUNDS=\"{text}\" is no number")))
}

/// A stage with the time limits of a real guest: database hooks are not hurried. None where the test is skipped.
///
/// # Panics
/// Where nothing may be skipped.
#[must_use]
pub fn stage(server: Need) -> Option<Stage> {
    if !can_run(&[server]) {
        return None;
    }
    let stage = Stage::take(Kind::Ours)?.without_writers().limit(Duration::from_secs(15));
    Some(stage.time("max_frozen", "60s").time("thaw_answer_after", "2s").time("last_flush", "1s"))
}

/// A disk with room for what a hundred backups' load writes.
///
/// # Panics
/// When its image can't be made.
#[must_use]
pub fn with_a_roomy_disk(stage: Stage, name: &str) -> Stage {
    let image = stage.scratch(&format!("{name}.roomy"));
    let made = File::create(&image).and_then(|file| file.set_len(ROOMY));
    made.unwrap_or_else(|error| panic!("can't make {}: {error}", image.display()));
    stage.disk_on_the_image(name, &image)
}

/// Waits until this is so.
///
/// # Panics
/// When it doesn't come.
#[track_caller]
pub fn becomes_true(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < deadline, "this never came: {what}");
        std::thread::sleep(PACE);
    }
}

/// A new directory that belongs to this user.
///
/// # Panics
/// When it can't be made.
#[track_caller]
pub(crate) fn directory_of(user: &str, path: &Path) {
    std::fs::create_dir_all(path).unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
    run(Command::new("chown").arg(format!("{user}:")).arg(path));
}

/// Runs a command that must succeed, and gives what it said.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("can't run {command:?}: {error}"));
    let (said, cried) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}{cried}", output.status);
    said.into_owned()
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
