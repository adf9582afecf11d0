//! The tests once more, on the build that is there, on a machine that lacks something. What it lacks
//! is hidden in a mount namespace of this process's own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hv_vss_testbed::Need;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::Places;
use crate::arguments::Arguments;
use crate::plan::Plan;
use crate::pool;
use crate::report::{Report, lines};
use crate::tools;

const NOTHING: Option<&str> = None;
/// An ordinary user who owns nothing: `bin` on every Debian.
const USER: u32 = 2;

/// What the machine lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Every tool that the README does not ask for.
    Tools,
    /// Root.
    Root,
    /// /dev/fuse.
    Fuse,
}

impl Scenario {
    pub(crate) const ALL: [Self; 3] = [Self::Tools, Self::Root, Self::Fuse];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tools => "without-optional-tools",
            Self::Root => "without-root",
            Self::Fuse => "without-fuse",
        }
    }
}

/// What a scenario leaves: how many tests there were, what the machine lacked, what was skipped.
pub(crate) const RESULTS: [&str; 3] = ["tests", "unmet", "skipped"];

/// Hides what the scenario has not, then runs the tests: `play SCENARIO DIRECTORY`.
pub(crate) fn play(places: &Places, words: &[String]) -> Result<bool, String> {
    let [name, out] = words else { return Err("usage: play SCENARIO DIRECTORY".to_owned()) };
    let scenario = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    let scenario = scenario.ok_or_else(|| format!("no scenario is called {name}"))?;
    own_mounts()?;
    if scenario != Scenario::Tools {
        tools::reach(places);
    }
    let scratch = Path::new(out);
    let empty = scratch.join("empty");
    File::create(&empty).map_err(|error| format!("{}: {error}", empty.display()))?;
    match scenario {
        Scenario::Tools => hide_tools(&empty)?,
        Scenario::Fuse => bind(&empty, Path::new("/dev/fuse"))?,
        Scenario::Root => return as_user(places, scratch),
    }
    again(places, std::slice::from_ref(out))
}

/// Runs all tests but the documentation's, and leaves the results: `again DIRECTORY`.
pub(crate) fn again(places: &Places, words: &[String]) -> Result<bool, String> {
    let [out] = words else { return Err("usage: again DIRECTORY".to_owned()) };
    let messages = places.kept().join("messages");
    let messages = fs::read_to_string(&messages).map_err(|error| format!("{}: {error}", messages.display()))?;
    let plan = Plan::of(places, &messages, &Arguments::default())?.without_documentation();
    let unmet: Vec<&str> = Need::ALL.into_iter().filter(|need| !need.is_met()).map(Need::name).collect();
    let report = Report::of(pool::run(&plan, pool::slots()));
    print!("{}", report.ending());
    let results = [report.tests().to_string(), unmet.join("\n"), lines(&report.skipped())];
    for (name, text) in RESULTS.iter().zip(results) {
        let path = Path::new(out).join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report.is_good())
}

/// A mount namespace of this process's own, from which nothing gets out.
pub(crate) fn own_mounts() -> Result<(), String> {
    let failed = |error| format!("a mount namespace: {error}");
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).map_err(failed)
}

fn hide_tools(empty: &Path) -> Result<(), String> {
    let shell = fs::canonicalize("/bin/sh").map_err(|error| format!("/bin/sh: {error}"))?;
    let is_shell = |file: &PathBuf| fs::canonicalize(file).is_ok_and(|file| file == shell);
    for need in Need::ALL.into_iter().filter(|need| need.is_optional()) {
        let found = need.found_in();
        // Without the shell that everything is started by, nothing would be shown.
        if found.iter().any(is_shell) {
            continue;
        }
        for file in found {
            bind(empty, &file)?;
        }
        if need.is_met() {
            return Err(format!("{} can't be hidden", need.name()));
        }
    }
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Result<(), String> {
    mount(Some(from), to, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .map_err(|error| format!("{} in the place of {}: {error}", from.display(), to.display()))
}

/// Goes on as an ordinary user, who has a home, may read all of the project and Rust's toolchain,
/// and may write where a build writes.
fn as_user(places: &Places, scratch: &Path) -> Result<bool, String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let named = |variable: &str, folder: &str| {
        let given = std::env::var_os(variable).map(PathBuf::from);
        (variable.to_owned(), given.unwrap_or_else(|| home.join(folder)))
    };
    let toolchain = [named("CARGO_HOME", ".cargo"), named("RUSTUP_HOME", ".rustup")];
    let paths = [&places.root, &places.target].into_iter().chain(toolchain.iter().map(|(_, path)| path));
    for path in paths.filter(|path| path.exists()) {
        open_the_way_to(path, scratch)?;
    }
    writable(&places.target.join("tmp"))?;
    for module in fs::read_dir(places.root.join("kmod")).into_iter().flatten().flatten() {
        writable(&module.path().join("build"))?;
    }
    let own_home = scratch.join("home");
    fs::create_dir(&own_home)
        .and_then(|()| chown(&own_home, Some(USER), Some(USER)))
        .map_err(|error| format!("{}: {error}", own_home.display()))?;
    let here = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut command = Command::new(here);
    command.arg("again").arg(scratch).current_dir(&places.root).uid(USER).gid(USER).env("HOME", own_home);
    command
        .envs(toolchain.into_iter().filter(|(_, path)| path.exists()).map(|(name, path)| (name, OsString::from(path))));
    // This user's own clone would be the user's.
    command.envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", "*")]);
    let status = command.status().map_err(|error| format!("as an ordinary user: {error}"))?;
    Ok(status.success())
}

/// Makes a directory writable for the user, on a tmpfs with a copy of what is in it.
fn writable(directory: &Path) -> Result<(), String> {
    if !directory.exists() {
        return Ok(());
    }
    let failed = |error: String| format!("{}: {error}", directory.display());
    let copy = std::env::temp_dir().join(format!("hv-vss-copy-{}", std::process::id()));
    let copied = Command::new("cp").arg("-a").arg(directory).arg(&copy).status();
    let moved = copied.map_err(|error| failed(error.to_string())).and_then(|_| {
        mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .map_err(|error| failed(error.to_string()))?;
        let owner = format!("{USER}:{USER}");
        let script = "cp -a \"$0/.\" \"$1\" && chown -R \"$2\" \"$1\"";
        let done = Command::new("sh").args(["-ec", script]).arg(&copy).arg(directory).arg(owner).status();
        done.map(drop).map_err(|error| failed(error.to_string()))
    });
    let _ = fs::remove_dir_all(&copy);
    moved
}

/// Replaces each directory above `path` that others may not enter by one that they may, with the
/// same in it.
fn open_the_way_to(path: &Path, scratch: &Path) -> Result<(), String> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    for (number, directory) in above.into_iter().enumerate() {
        let mode =
            directory.metadata().map_err(|error| format!("{}: {error}", directory.display()))?.permissions().mode();
        if mode & 0o001 == 0 {
            let kept = scratch.join(format!("closed-{number}"));
            fs::create_dir_all(&kept).map_err(|error| format!("{}: {error}", kept.display()))?;
            bind(directory, &kept)?;
            mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
                .map_err(|error| format!("a tmpfs on {}: {error}", directory.display()))?;
            put_back(&kept, directory)?;
        }
    }
    Ok(())
}

fn put_back(kept: &Path, directory: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(kept).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (from, to) = (entry.path(), directory.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_symlink() {
            symlink(fs::read_link(&from).map_err(failed)?, &to).map_err(failed)?;
        } else if kind.is_dir() {
            fs::create_dir(&to).map_err(failed)?;
            bind(&from, &to)?;
        } else if kind.is_file() {
            File::create(&to).map_err(failed)?;
            bind(&from, &to)?;
        }
    }
    Ok(())
}
