//! hv_kvp_daemon(8): see the library for everything.

use std::process::ExitCode;

use clap::Parser;
use hv_vss_kvp_daemon::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hv_kvp_daemon: {error}");
            ExitCode::FAILURE
        }
    }
}
