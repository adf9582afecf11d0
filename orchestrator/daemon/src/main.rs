//! hv_vss_daemon(8): see the library for everything.

use std::process::ExitCode;

use clap::Parser;
use hv_vss_daemon::program::{self, Options};

fn main() -> ExitCode {
    match program::run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hv_vss_daemon: {error}");
            ExitCode::FAILURE
        }
    }
}
