//! Playing many cells: several guests side by side, each on its own thread; a miss is repeated once, alone and on a fresh guest, before it counts.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::cell;
use crate::guest::{Bench, scaled};
use crate::judge;
use crate::matrix::{Cell, Driver};

/// A guest serves so many cells: its records grow, and a fresh one is a fair start now and then.
const CELLS_PER_GUEST: u32 = 25;

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing was wrong.
    Good,
    /// Something was wrong side by side with others, and nothing when it was repeated alone.
    GoodAlone(Vec<String>),
    /// It was wrong twice: this counts.
    Failed(Vec<String>),
}

/// A cell that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// Which.
    pub cell: Cell,
    /// How it ended.
    pub end: End,
    /// How long it took, side by side with others.
    pub took: Duration,
}

/// Wrong, and what is known about it.
struct Miss {
    misses: Vec<String>,
    story: Vec<String>,
}

/// Plays these cells on `guests` guests side by side. None where this machine can't.
///
/// With `until`, no cell is begun after that instant: what has been played by then is the result.
pub fn run(
    cells: &[Cell],
    guests: usize,
    until: Option<Instant>,
    told: impl Fn(&Played) + Sync,
) -> Option<Vec<Played>> {
    if !hv_vss_testbed::can_run(hv_vss_stories::NEEDS) {
        return None;
    }
    let queue = Mutex::new(cells.iter().copied());
    let played = Mutex::new(Vec::new());
    let again = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..guests.clamp(1, cells.len().max(1)) {
            scope.spawn(|| {
                let mut bench = Guests::default();
                while let Some(cell) = next(&queue).filter(|_| until.is_none_or(|until| Instant::now() < until)) {
                    let began = Instant::now();
                    let miss = bench.play(cell);
                    let took = began.elapsed();
                    match miss {
                        None => {
                            let one = Played { cell, end: End::Good, took };
                            told(&one);
                            locked(&played).push(one);
                        }
                        Some(miss) => locked(&again).push((cell, miss, took)),
                    }
                }
            });
        }
    });
    let mut played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (cell, first, took) in again.into_inner().unwrap_or_else(PoisonError::into_inner) {
        keep_story(&format!("{cell}, side by side: {:?}", first.misses), &first.story);
        let end = match Guests::default().play(cell) {
            None => End::GoodAlone(first.misses),
            Some(second) => {
                let title = format!("{cell}, alone: {:?}", second.misses);
                keep_story(&title, &second.story);
                println!("{title}");
                second.story.iter().for_each(|line| println!("    {line}"));
                End::Failed(second.misses)
            }
        };
        let one = Played { cell, end, took };
        told(&one);
        played.push(one);
    }
    Some(played)
}

/// Adds what is known of a miss to the file that `HV_VSS_FAULTS_STORIES` names, if any.
fn keep_story(title: &str, story: &[String]) {
    let Some(path) = std::env::var_os("HV_VSS_FAULTS_STORIES") else { return };
    let text = format!("{title}\n    {}\n", story.join("\n    "));
    let kept = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = kept {
        eprintln!("can't write {}: {error}", path.display());
    }
}

fn next(queue: &Mutex<impl Iterator<Item = Cell>>) -> Option<Cell> {
    locked(queue).next()
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread's guest. One at a time: they share the thread's mount namespace.
#[derive(Default)]
struct Guests {
    bench: Option<(Driver, Bench)>,
}

impl Guests {
    fn play(&mut self, cell: Cell) -> Option<Miss> {
        let reusable = |(driver, bench): &(Driver, Bench)| *driver == cell.driver && bench.played < CELLS_PER_GUEST;
        if !self.bench.as_ref().is_some_and(reusable) {
            // The old one first: it leaves its namespace in doing so.
            self.bench = None;
            let set = catch_unwind(AssertUnwindSafe(|| Bench::set(cell.driver, scaled())));
            self.bench = set.ok().flatten().map(|bench| (cell.driver, bench));
        }
        let Some((_, bench)) = &mut self.bench else {
            return Some(Miss { misses: vec!["the guest did not come up".to_owned()], story: Vec::new() });
        };
        bench.played += 1;
        bench.record.clear();
        let before = bench.so_far();
        let misses = catch_unwind(AssertUnwindSafe(|| match cell::play(bench, cell) {
            Ok(facts) => judge::judge(bench, &cell, facts),
            Err(why) => vec![format!("the moment was not reached: {why}")],
        }))
        .unwrap_or_else(|panic| vec![format!("the matrix gave up: {}", words_of(&*panic))]);
        if misses.is_empty() {
            return None;
        }
        let story = catch_unwind(AssertUnwindSafe(|| bench.story_since(before))).unwrap_or_default();
        // Whatever is wrong with it, the next cell begins on another.
        self.bench = None;
        Some(Miss { misses, story })
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned())).unwrap_or_else(|| "a panic".into())
}
