//! What a guest pays for a backup, measured side by side with other tools: `make bench`, `make bench-check`.
//!
//! Everything happens on loop images in a private mount namespace. It never installs a peer, never freezes anything but its own disks (`proof`), and
//! judges nothing by a time alone: what is compared are ratios within one run.

mod arena;
mod bare;
mod busy;
mod chart;
mod child;
mod compare;
mod contender;
mod fetch;
mod figure;
mod goals;
mod guard;
mod jail;
mod measure;
mod page;
mod patience;
mod proof;
mod run;
mod slow;
mod table;
mod vmbus;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().and_then(|word| word.into_string().ok());
    let rest: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let done = match (command.as_deref(), rest.first()) {
        (Some("jail"), Some(orders)) => Err(jail::enter(&orders.to_string_lossy())),
        (Some("bare"), Some(_)) => bare::serve(&rest),
        (Some("guard"), _) => {
            guard::watch(&rest);
            Ok(())
        }
        (Some("run"), None) => run::bench(),
        (Some("check"), None) => run::check(),
        _ => Err("usage: hv-vss-bench run | check".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hv-vss-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
