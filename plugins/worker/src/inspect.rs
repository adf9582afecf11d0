//! What `vssctl plugin inspect` shows of a file: whether it may be loaded, whether it can be, and what it says of itself.
//!
//! Loading runs the plugin's constructors, so it is done in a throw-away process: `hv_vss_worker inspect FILE` prints a [`Report`] as JSON, and
//! [`in_throwaway_process`] starts that, with a limit on its time, and reads it.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_wire::About;
use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::{elf, libraries, load, process};

/// What is known of a plugin's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The file.
    pub file: String,
    /// hv_vss_daemon would load it.
    pub usable: bool,
    /// If not: why, as sentences.
    pub problems: Vec<String>,
    /// The shared libraries it names.
    pub needs: Vec<String>,
    /// Those of them that the dynamic linker can't load.
    pub not_found: Vec<String>,
    /// What it says of itself.
    pub about: Option<About>,
    /// The length of its table, in bytes.
    pub table_size: Option<usize>,
    /// The functions that its table has.
    pub members: Vec<String>,
}

/// Looks at a file from within this process, which may not survive it.
#[must_use]
pub fn file(path: &Path) -> Report {
    let mut report = Report {
        file: path.display().to_string(),
        usable: false,
        problems: Vec::new(),
        needs: Vec::new(),
        not_found: Vec::new(),
        about: None,
        table_size: None,
        members: Vec::new(),
    };
    let trusted = hv_vss_trust::regular_file(path, None);
    match (&trusted, elf::needed_libraries(path)) {
        (Ok(_), Err(why)) => {
            report.problems.push(format!("{} is no plugin: {why}", path.display()));
            return report;
        }
        // Distrust says more of a file that isn't there than the failed look at its contents.
        (Err(distrust), Err(_)) => {
            report.problems.push(distrust.to_string());
            return report;
        }
        (Err(distrust), Ok(needs)) => {
            report.problems.push(distrust.to_string());
            report.needs = needs;
        }
        (Ok(_), Ok(needs)) => report.needs = needs,
    }
    match (load::load(path), trusted) {
        (Ok(loaded), trusted) => {
            report.usable = trusted.is_ok();
            report.members = members(&loaded.table);
            report.table_size = Some(loaded.table_size);
            report.about = Some(loaded.about);
        }
        (Err(problem), Ok(trusted)) => {
            report.problems.push(problem);
            // What was judged unfit to be loaded is not loaded here either.
            if libraries::judge(&trusted).is_ok() {
                report.not_found = report.needs.iter().filter(|library| !can_be_loaded(library)).cloned().collect();
            }
        }
        // As root the distrust, which is already said, is also why it was not loaded.
        (Err(problem), Err(distrust)) => {
            if problem != distrust.to_string() {
                report.problems.push(problem);
            }
        }
    }
    report
}

fn members(table: &hv_vss_plugin::abi::Plugin) -> Vec<String> {
    let functions = [
        ("open", table.open.is_some()),
        ("check", table.check.is_some()),
        ("claim", table.claim.is_some()),
        ("freeze", table.freeze.is_some()),
        ("thaw", table.thaw.is_some()),
        ("close", table.close.is_some()),
        ("ended", table.ended.is_some()),
    ];
    functions.iter().filter(|(_, there)| *there).map(|(name, _)| (*name).to_owned()).collect()
}

#[allow(unsafe_code, reason = "asks the dynamic linker for a library by its name")]
fn can_be_loaded(library: &str) -> bool {
    // SAFETY: the plugin would have had this library's constructors run as well.
    match unsafe { Library::open(Some(library), RTLD_LAZY | RTLD_LOCAL) } {
        Ok(library) => {
            std::mem::forget(library);
            true
        }
        Err(_) => false,
    }
}

/// `hv_vss_worker inspect FILE`: prints the report. Whether the file is usable.
///
/// # Errors
/// A sentence, when this process can't be set up or the report not be printed.
pub fn run(path: &Path) -> Result<bool, String> {
    let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    process::prepare()?;
    Limits::default().apply()?;
    // A constructor that prints would spoil the report: from here on stdout leads nowhere, and the report has a way of its own.
    let cannot = |error: std::io::Error| format!("can't set stdout aside: {error}");
    let mut output = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned().map_err(cannot)?);
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").map_err(cannot)?;
    nix::unistd::dup2_stdout(nowhere).map_err(|errno| cannot(errno.into()))?;

    let report = file(&path);
    let text = serde_json::to_string_pretty(&report).map_err(|error| format!("can't write the report: {error}"))?;
    writeln!(output, "{text}").map_err(|error| format!("can't write the report: {error}"))?;
    Ok(report.usable)
}

/// The longest report that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Has `program` (the worker) look at a file, and reads what it found. A plugin whose constructor crashes or hangs is a problem in the
/// report like any other.
///
/// # Errors
/// A sentence, when the program can't be started or says nothing that can be understood.
pub fn in_throwaway_process(program: &Path, path: &Path, at_most: Duration) -> Result<Report, String> {
    let mut child = Command::new(program)
        .arg("inspect")
        .arg(path)
        // As the daemon starts it: a library that only this shell's LD_LIBRARY_PATH finds is not found there.
        .env_clear()
        .env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("can't start {}: {error}", program.display()))?;
    // Nothing comes before the report, and the report fits into the pipe or is read at the end: so waiting first is safe.
    let until = clock::now() + at_most;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if clock::now() < until => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => break None,
        }
    };
    if ended.is_none() {
        // Fails only when it has ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
    }
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        output
            .take(LONGEST)
            .read_to_string(&mut text)
            .map_err(|error| format!("can't read from {}: {error}", program.display()))?;
    }
    if let Ok(report) = serde_json::from_str(&text) {
        return Ok(report);
    }
    let how = match ended {
        Some(status) => format!("{} took down the process that loaded it ({status})", path.display()),
        None => format!("{} did not let itself be loaded within {at_most:?}", path.display()),
    };
    Ok(Report {
        file: path.display().to_string(),
        usable: false,
        problems: vec![how],
        needs: elf::needed_libraries(path).unwrap_or_default(),
        not_found: Vec::new(),
        about: None,
        table_size: None,
        members: Vec::new(),
    })
}
