//! vssctl(8): see the library for everything.

use std::process::ExitCode;

use clap::Parser;
use hv_vss_daemon_core::ctl::{self, Options};

fn main() -> ExitCode {
    ctl::run(&Options::parse())
}
