//! `hv_vss_worker`: the process around one plugin. Started by hv_vss_daemon as `hv_vss_worker serve FILE`, with a socket on descriptor 3;
//! by vssctl, or by hand, as `hv_vss_worker inspect FILE`.
#![allow(unsafe_code, reason = "ends without running what plugins registered for exit")]

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use hv_vss_worker::{inspect, serve};

const USAGE: &str = "\
usage: hv_vss_worker inspect FILE
       hv_vss_worker serve FILE [--memory SIZE|none] [--descriptors N] [--core SIZE] [--owed RECORD]   (by hv_vss_daemon, socket on descriptor 3)";

/// The exit code of a wrong call (sysexits.h: EX_USAGE).
const WRONG_CALL: u8 = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (command, file) = (arguments.next(), arguments.next());
    let result = match (command.as_ref().and_then(|word| word.to_str()), file) {
        (Some("serve"), Some(file)) => served(&file, arguments),
        (Some("inspect"), Some(file)) => inspected(&file),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(code) => code,
        Err(why) => {
            eprintln!("hv_vss_worker: {why}");
            ExitCode::from(WRONG_CALL)
        }
    }
}

fn served(file: &OsString, options: impl IntoIterator<Item = OsString>) -> Result<ExitCode, String> {
    serve::run(Path::new(file), options)?;
    // Not exit(3): what a plugin has registered there could hang, and nobody may be left to kill it.
    // SAFETY: nothing of ours is left to be done.
    unsafe { nix::libc::_exit(0) }
}

fn inspected(file: &OsString) -> Result<ExitCode, String> {
    let code = i32::from(!inspect::run(Path::new(file))?);
    // SAFETY: as above; the report is written.
    unsafe { nix::libc::_exit(code) }
}
