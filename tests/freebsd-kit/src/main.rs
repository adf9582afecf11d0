//! Tries, on a real FreeBSD kernel, what the rest of the project takes for granted about it: one line for each claim, and the count.
//!
//! It makes two UFS images on md(4), one inside the other, suspends them through the real /dev/ufssuspend, and watches from outside. The program
//! calls itself for whatever may block or must have one thread only (`acts`); the process that judges never touches a suspended filesystem.
//! Needs root, and a machine that may be reset: a kernel that breaks a claim can leave a filesystem suspended.
//!
//! Usage: `hv-vss-freebsd-kit WORK_DIRECTORY PLUGIN_HOST UFS_PLUGIN [--last-wish]`. With `--last-wish` it ends with the one claim that leaves a
//! filesystem frozen for good.

mod actor;
mod acts;
mod claims;
mod ground;
mod release;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use claims::Report;
use ground::Ground;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["act", act, rest @ ..] => acts::perform(act, rest),
        [work, host, plugin, rest @ ..] if matches!(rest, [] | ["--last-wish"]) => try_all(
            Path::new(work),
            &claims::Plugin { host: PathBuf::from(host), file: PathBuf::from(plugin) },
            rest.len() == 1,
        ),
        _ => {
            eprintln!("usage: hv-vss-freebsd-kit WORK_DIRECTORY PLUGIN_HOST UFS_PLUGIN [--last-wish]");
            ExitCode::from(64)
        }
    }
}

fn try_all(work: &Path, plugin: &claims::Plugin, last_wish: bool) -> ExitCode {
    let ground = match Ground::prepare(work) {
        Ok(ground) => ground,
        Err(reason) => {
            println!("NOT MET two UFS images on md(4) can be made: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report::default();
    claims::refusals(&ground, &mut report);
    claims::holding(&ground, &mut report);
    claims::blocking(&ground, &mut report);
    claims::system(&ground, &mut report);
    claims::plugin(&ground, plugin, &mut report);
    if last_wish {
        claims::last_wish(&ground, &mut report);
        std::mem::forget(ground);
    }
    println!("claims: {} passed, {} failed", report.met, report.failed);
    if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
