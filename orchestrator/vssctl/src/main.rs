//! vssctl(8): see the library for everything.

use std::process::ExitCode;

use clap::Parser;
use vssctl::Options;

fn main() -> ExitCode {
    vssctl::run(&Options::parse())
}
