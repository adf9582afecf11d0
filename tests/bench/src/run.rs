//! One run: which measurements, how large, and what becomes of the results.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hv_vss_platform::priority;

use crate::compare::compare;
use crate::fetch::Peers;
use crate::figure::{Figure, Results, Series};
use crate::goals::goal_of;
use crate::measure::{busy, freeze, growth, hooks, idle, memory, stall};
use crate::page::{self, Circumstances};
use crate::table;

/// Which measurements, by name, with commas; all without it.
const ONLY: &str = "HV_VSS_BENCH";
/// All of them, in their order.
const ALL: [&str; 7] = ["freeze", "busy", "stall", "hooks", "memory", "growth", "idle"];

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// For the page: some ten minutes.
    Full,
    /// For a comparison.
    Small,
}

struct Places {
    target: PathBuf,
    docs: PathBuf,
}

/// `make bench`: measures, shows, and writes the page when all was measured.
pub(crate) fn bench() -> Result<(), String> {
    let places = places()?;
    priority::highest().map_err(|error| error.to_string())?;
    let peers = Peers::below(&places.target);
    let build = build();
    let circumstances = Circumstances::now(&peers.versions(), &build);
    println!("{}", circumstances.lines.join("\n"));
    let chosen = chosen()?;
    for name in &chosen {
        let results = measure(&peers, std::slice::from_ref(name), Size::Full);
        println!("\n{}", table::markdown(&results.figures));
        // One by one, so that a run which is cut short is not lost.
        write_json(&places.part(name), &results)?;
    }
    let results = gathered(&places)?;
    write_json(&places.target.join("bench/results.json"), &results.figures)?;
    if ALL.iter().all(|name| places.part(name).exists()) && build == "release" {
        page::publish(&places.docs, &results, &circumstances)?;
    } else {
        println!("docs/performance.md is left as it was: not everything was measured, or not with a release build");
    }
    let missed: Vec<&str> =
        results.figures.iter().filter(|figure| misses(figure)).map(|figure| figure.name.as_str()).collect();
    if !missed.is_empty() {
        println!("goals that were missed: {}", missed.join(", "));
    }
    Ok(())
}

/// `make bench-check`: measures a little, and compares the ratios with the committed ones.
pub(crate) fn check() -> Result<(), String> {
    let places = places()?;
    priority::highest().map_err(|error| error.to_string())?;
    let path = places.docs.join("performance.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
    let last: Vec<Figure> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let peers = Peers::below(&places.target);
    let changes = compare(&last, &measure(&peers, &chosen()?, Size::Small).figures);
    for change in &changes {
        let word = if change.is_worse() { "WORSE" } else { "" };
        println!("{:<28} was {:.3}, is {:.3}, may be {:.3} {word}", change.name, change.was, change.is, change.allowed);
    }
    let worse: Vec<&str> =
        changes.iter().filter(|change| change.is_worse()).map(|change| change.name.as_str()).collect();
    match (changes.is_empty(), worse.is_empty()) {
        (true, _) => Err("nothing was compared".to_owned()),
        (false, true) => Ok(()),
        (false, false) => Err(format!("these ratios got worse: {}", worse.join(", "))),
    }
}

fn misses(figure: &Figure) -> bool {
    goal_of(&figure.name).is_some_and(|goal| !goal.is_kept_by(figure))
}

fn measure(peers: &Peers, chosen: &[String], size: Size) -> Results {
    let began = Instant::now();
    let mut results = Results::default();
    for name in chosen {
        println!("{name} ({:.0} s)", began.elapsed().as_secs_f64());
        // Each in a thread of its own, since each takes a mount namespace for its thread.
        let (figures, series) = std::thread::scope(|scope| {
            scope.spawn(|| one(peers, name, size)).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        results.figures.extend(figures);
        results.series.extend(series);
    }
    println!("done ({:.0} s)", began.elapsed().as_secs_f64());
    results
}

fn one(peers: &Peers, name: &str, size: Size) -> (Vec<Figure>, Vec<Series>) {
    let full = size == Size::Full;
    match name {
        "freeze" if full => freeze::measure(peers, &[(1, 11), (8, 9), (32, 5), (128, 3)]),
        "freeze" => freeze::measure(peers, &[(1, 5), (8, 5)]),
        "busy" => (busy::measure(peers, 3), Vec::new()),
        "stall" => (stall::measure(peers, if full { 3 } else { 1 }), Vec::new()),
        "hooks" => (hooks::measure(peers, if full { 5 } else { 3 }), Vec::new()),
        "memory" => (memory::measure(peers, if full { 5 } else { 3 }), Vec::new()),
        "growth" => {
            let rounds = 5;
            let parts = [
                growth::mounts(peers, &[1, 8, 32, 100, 300, 1000], 2 * rounds),
                growth::hooks(&[1, 20, 60, 120, 200], rounds),
                growth::plugins(&[3, 8, 16, 32], rounds),
            ];
            let (figures, series): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            (figures.concat(), series)
        }
        _ => (idle::measure(peers, Duration::from_secs(if full { 60 } else { 10 })), Vec::new()),
    }
}

fn chosen() -> Result<Vec<String>, String> {
    let Some(words) = std::env::var_os(ONLY) else { return Ok(ALL.map(str::to_owned).to_vec()) };
    let words = words.to_string_lossy().into_owned();
    let chosen: Vec<String> = words.split(',').map(|word| word.trim().to_owned()).collect();
    match chosen.iter().find(|word| !ALL.contains(&word.as_str())) {
        Some(unknown) => Err(format!("{ONLY} names \"{unknown}\"; there are {}", ALL.join(", "))),
        None => Ok(chosen),
    }
}

/// Of the programs that are measured: those that lie beside this one, in target/release or target/debug.
fn build() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let directory = program.parent().and_then(Path::file_name);
    directory.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What was measured of each kind, the latest of it.
fn gathered(places: &Places) -> Result<Results, String> {
    let mut all = Results::default();
    for path in ALL.iter().map(|name| places.part(name)).filter(|path| path.exists()) {
        let text = fs::read_to_string(&path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
        let part: Results = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        all.figures.extend(part.figures);
        all.series.extend(part.series);
    }
    Ok(all)
}

fn write_json(path: &Path, what: &impl serde::Serialize) -> Result<(), String> {
    let cannot = |error: &dyn std::fmt::Display| format!("can't write {}: {error}", path.display());
    let text = serde_json::to_string_pretty(what).map_err(|error| cannot(&error))?;
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| cannot(&error))?;
    fs::write(path, text + "\n").map_err(|error| cannot(&error))
}

impl Places {
    fn part(&self, name: &str) -> PathBuf {
        self.target.join("bench/parts").join(name).with_extension("json")
    }
}

fn places() -> Result<Places, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = source.ancestors().nth(2).ok_or("this source lies two directories below the root")?;
    let program = std::env::current_exe().map_err(|error| format!("which program is this? {error}"))?;
    // target/release/hv-vss-bench
    let target = program.ancestors().nth(2).ok_or("this program lies two directories below the target directory")?;
    Ok(Places { target: target.to_owned(), docs: root.join("docs") })
}
