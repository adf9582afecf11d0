//! Runs the programs side by side, then those that need the machine to themselves.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use crate::job::{Ended, Job};
use crate::plan::Plan;
use crate::report;

/// How many programs run at once. Each runs as many tests at once as there are processors, and
/// most tests wait most of the time.
pub(crate) fn slots() -> usize {
    let given = std::env::var("HV_VSS_TEST_SLOTS").ok().and_then(|text| text.parse().ok());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    given.filter(|slots| *slots > 0).unwrap_or(processors + 1)
}

/// Runs all, prints each as it ends, and gives them in the order of their ends.
pub(crate) fn run(plan: &Plan, slots: usize) -> Vec<Ended> {
    let records = Records::default();
    let (alone, beside): (Vec<&Job>, Vec<&Job>) = plan.jobs.iter().partition(|job| job.alone);
    let mut ended = side_by_side(&beside, slots, &records);
    ended.extend(side_by_side(&alone, 1, &records));
    ended
}

fn side_by_side(jobs: &[&Job], slots: usize, records: &Records) -> Vec<Ended> {
    let (sender, receiver) = channel();
    let queue = Mutex::new(jobs.iter());
    std::thread::scope(|scope| {
        for _ in 0..slots.min(jobs.len()) {
            let sender = sender.clone();
            let queue = &queue;
            scope.spawn(move || work(queue, records, &sender));
        }
        drop(sender);
        receiver.into_iter().inspect(|one| print!("{}", report::piece(one))).collect()
    })
}

fn work<'a>(queue: &Mutex<impl Iterator<Item = &'a &'a Job>>, records: &Records, sender: &Sender<Ended>) {
    loop {
        // A thread that panicked took a job and left the queue whole.
        let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        let Some(job) = next else { return };
        if sender.send(job.run(&records.next())).is_err() {
            return;
        }
    }
}

/// Names of files, one for each job.
#[derive(Default)]
struct Records(AtomicUsize);

impl Records {
    /// Not in the target directory: tests may run as another user than the one who built them.
    fn next(&self) -> PathBuf {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("hv-vss-record-{}-{count}", std::process::id()))
    }
}
