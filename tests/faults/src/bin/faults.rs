//! `hv-vss-faults`: plays the fault matrix, or a part of it, and prints its table. `make soak` plays all of it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use hv_vss_faults::campaign::{self, End};
use hv_vss_faults::matrix::{Cell, choice, sensible};
use hv_vss_faults::{rng, soak, table};

const USAGE: &str = "\
usage: hv-vss-faults all | share N | list | cell NAME... | soak CYCLES
    all        every cell
    share N    one cell in N, drawn by the seed, and every cell that ever failed
    list       the names of all cells
    cell NAME  these cells
    soak CYCLES  one daemon, so many backups with scripted faults drawn by the seed
Environment: HV_VSS_FAULTS_SEED, HV_VSS_FAULTS_GUESTS (side by side), HV_VSS_FAULTS_TABLE (a file for the table),\n  HV_VSS_FAULTS_MINUTES (nothing is begun after so many), HV_VSS_FAULTS_STRETCH (all limits so many times as long), HV_VSS_FAULTS_STORIES";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let seed = rng::seed(1);
    let cells = match words[..] {
        ["all"] => Ok(choice::share(seed, 1, &[])),
        ["share", parts] => match (parts.parse(), choice::listed(choice::EVER_FAILED)) {
            (Ok(parts), Ok(always)) => Ok(choice::share(seed, parts, &always)),
            (Err(_), _) => Err(format!("\"{parts}\" is no number")),
            (_, Err(why)) => Err(why),
        },
        ["list"] => {
            sensible().for_each(|cell| println!("{cell}"));
            return ExitCode::SUCCESS;
        }
        ["soak", cycles] => match cycles.parse() {
            Ok(cycles) => return soak(cycles, seed),
            Err(_) => Err(format!("\"{cycles}\" is no number")),
        },
        ["cell", ref names @ ..] if !names.is_empty() => names.iter().map(|name| name.parse::<Cell>()).collect(),
        _ => Err(USAGE.to_owned()),
    };
    let cells = match cells {
        Ok(cells) => cells,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(64);
        }
    };
    let guests = std::env::var("HV_VSS_FAULTS_GUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    println!("{} cells, seed {seed}, {guests} guests side by side", cells.len());
    let began = Instant::now();
    let told = |one: &campaign::Played| {
        let end = match &one.end {
            End::Good => "ok",
            End::GoodAlone(_) => "ok alone",
            End::Failed(_) => "FAILED",
        };
        println!("{:>7.1} s  {end:<8} {} ({:.1} s)", began.elapsed().as_secs_f64(), one.cell, one.took.as_secs_f64());
    };
    let Some(played) = campaign::run(&cells, guests, until(), told) else { return ExitCode::SUCCESS };
    let text = table::text(&played);
    match std::env::var_os("HV_VSS_FAULTS_TABLE") {
        None => println!("{text}"),
        Some(path) => {
            if let Err(error) = std::fs::write(&path, text) {
                eprintln!("can't write {}: {error}", path.display());
            }
        }
    }
    print!("{}", table::summary(&played, seed));
    println!("{:.0} s", began.elapsed().as_secs_f64());
    if table::totals(&played).failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn soak(cycles: usize, seed: u64) -> ExitCode {
    println!("a soak of {cycles} cycles, seed {seed}");
    let Some(report) = soak::run(cycles, seed, until()) else { return ExitCode::SUCCESS };
    print!("{}", report.text());
    let violations = report.violations();
    violations.iter().for_each(|violation| println!("NOT FLAT OR NOT TRUE: {violation}"));
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// When nothing more is begun, if the environment says so.
fn until() -> Option<Instant> {
    let minutes: u64 = std::env::var("HV_VSS_FAULTS_MINUTES").ok()?.parse().ok()?;
    Some(Instant::now() + Duration::from_secs(60 * minutes))
}
