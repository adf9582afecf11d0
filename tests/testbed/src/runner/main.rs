//! Runs the tests: `scripts/test`. Cargo builds them; test programs then run side by side, since
//! most of them wait most of the time.
//!
//! ```text
//! hv-vss-tests run [CARGO'S OPTIONS] [NAME] [-- LIBTEST'S OPTIONS]
//! hv-vss-tests prove      after a whole run: are the skips what the tests declare? (prove.rs)
//! ```
//!
//! Each program's output is printed in one piece when it ends, with the closing line that cargo
//! prints, too. The last line is `N passed, 0 failed, M skipped`. A test that fails is never
//! repeated.

mod arguments;
mod job;
mod plan;
mod pool;
#[cfg(target_os = "linux")]
mod prove;
mod report;
#[cfg(target_os = "linux")]
mod scenario;
mod tally;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arguments::Arguments;
use report::Report;

/// Where the project is, and where the runner keeps what `prove` reads: nothing else is written.
#[derive(Clone, Debug)]
struct Places {
    root: PathBuf,
    target: PathBuf,
}

impl Places {
    /// This program lies in `target/debug`.
    fn find() -> Result<Self, String> {
        let here = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let target = here.ancestors().nth(2).ok_or("this program does not lie in a target directory")?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
        Ok(Self { root, target: target.to_owned() })
    }

    fn kept(&self) -> PathBuf {
        self.target.join("testbed")
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let verb = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    let done = Places::find().and_then(|places| match verb.as_str() {
        "run" => run(&places, Arguments::read(&words)),
        #[cfg(target_os = "linux")]
        "prove" => prove::prove(&places),
        #[cfg(target_os = "linux")]
        "play" => scenario::play(&places, &words),
        #[cfg(target_os = "linux")]
        "again" => scenario::again(&places, &words),
        _ => Err("usage: hv-vss-tests run [OPTIONS] [NAME] [-- OPTIONS] | prove".to_owned()),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("hv-vss-tests: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Builds and runs what was asked for. True if nothing failed.
fn run(places: &Places, arguments: Arguments) -> Result<bool, String> {
    let kept = places.kept();
    std::fs::create_dir_all(&kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    // Both wait, one for the network, the other for the compiler.
    let (messages, unpacked) = std::thread::scope(|scope| {
        let unpacking = scope.spawn(|| tools::unpack(places));
        let messages = plan::build(places, &arguments);
        (messages, unpacking.join())
    });
    let messages = messages?;
    unpacked.map_err(|_| "unpacking the tools failed".to_owned())??;
    tools::reach(places);
    let plan = plan::Plan::of(places, &messages, &arguments)?;
    let report = Report::of(pool::run(&plan, pool::slots()));
    if arguments.is_whole() {
        report.keep(&kept, &messages)?;
    }
    print!("{}", report.ending());
    Ok(report.is_good())
}
