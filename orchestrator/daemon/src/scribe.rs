//! The threads that write to disks. A disk may stall, and the engine must not: so writing is a queue of jobs.
//!
//! One thread writes to the state directory: notes, and the history. Another one writes files for collectors, whose directory may stall
//! without anything else waiting for it. Nothing is written while filesystems are held. The note of what will be owed is the last job
//! before a freeze, and the freeze begins when that is done; the next job comes after the thaw.

mod disk;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use hv_vss_core::history::History;
use hv_vss_core::record::Record;

use disk::Disk;

/// What can be written.
pub enum Job {
    /// The cycle in work and what it will owe. `done` is called when the notes are in place, or can't be put there.
    Note {
        /// Each note with its place.
        notes: Vec<(PathBuf, Vec<u8>)>,
        /// Called afterwards.
        done: Done,
    },
    /// These are no longer owed.
    Forget(Vec<PathBuf>),
    /// Cycles for the history: where it lies, what is new, and all of it for a file that has vanished.
    History(PathBuf, Vec<Arc<Record>>, History),
    /// A file that others read, replaced as a whole.
    Publish(PathBuf, String),
}

/// Called from the writing thread.
pub type Done = Box<dyn FnOnce() + Send>;

/// The queues of jobs.
pub struct Scribe(Place);

enum Place {
    Threads(Threads),
    /// A test plays the disk.
    Played(TakesJob),
}

/// Takes what would be written to a disk.
pub type TakesJob = Box<dyn Fn(Job)>;

struct Threads {
    state: mpsc::Sender<Job>,
    publisher: mpsc::Sender<Job>,
    /// Each thread sends here when its queue is done and closed.
    ended: mpsc::Receiver<()>,
}

/// Writing files takes little.
const STACK: usize = 128 << 10;
/// For how long the end of the daemon waits for what is still to be written.
const AT_THE_END: Duration = Duration::from_secs(2);

impl Scribe {
    /// Starts the threads.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let state = writer("vss-write", end.clone())?;
        let publisher = writer("vss-publish", end)?;
        Ok(Self(Place::Threads(Threads { state, publisher, ended })))
    }

    /// A queue whose jobs are given to `takes` in place of a disk, from the thread that adds them.
    #[must_use]
    pub fn played(takes: TakesJob) -> Self {
        Self(Place::Played(takes))
    }

    /// Adds a job.
    pub fn write(&self, job: Job) {
        match &self.0 {
            // The threads live as long as their queues.
            Place::Threads(threads) => {
                let queue = if matches!(job, Job::Publish(..)) { &threads.publisher } else { &threads.state };
                drop(queue.send(job));
            }
            Place::Played(takes) => takes(job),
        }
    }

    /// The last thing of a daemon: waits until all is written, for 2 s at the most, and says if it was not.
    pub fn finish(self) {
        let Place::Threads(Threads { state, publisher, ended }) = self.0 else { return };
        drop((state, publisher));
        let end = Instant::now() + AT_THE_END;
        loop {
            match ended.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    tracing::error!(
                        "a disk did not take what was to be written within {} s: the last cycle may be missing in the history or in the metrics file, and its thaw hooks may run once more at the next start",
                        AT_THE_END.as_secs()
                    );
                    return;
                }
            }
        }
    }
}

fn writer(name: &str, end: mpsc::Sender<()>) -> io::Result<mpsc::Sender<Job>> {
    let (jobs, todo) = mpsc::channel::<Job>();
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(move || {
        let mut disk = Disk::default();
        while let Ok(first) = todo.recv() {
            for job in merged(std::iter::once(first).chain(todo.try_iter()).collect()) {
                disk.forget_what_could_not_be();
                disk.perform(job);
            }
        }
        let _ = end.send(());
    })?;
    Ok(jobs)
}

/// What piled up while a disk was slow: notes first, since a freeze waits for them; of a published file only the latest; cycles of one
/// history in one write.
fn merged(jobs: Vec<Job>) -> Vec<Job> {
    let mut notes = Vec::new();
    let mut others: Vec<Job> = Vec::new();
    for job in jobs {
        match job {
            Job::Note { .. } | Job::Forget(_) => notes.push(job),
            Job::History(path, records, whole) => {
                let earlier = others.iter_mut().find_map(|job| match job {
                    Job::History(same, earlier, all) if *same == path => Some((earlier, all)),
                    _ => None,
                });
                match earlier {
                    Some((earlier, all)) => {
                        earlier.extend(records);
                        *all = whole;
                    }
                    None => others.push(Job::History(path, records, whole)),
                }
            }
            Job::Publish(path, text) => {
                others.retain(|job| !matches!(job, Job::Publish(same, _) if *same == path));
                others.push(Job::Publish(path, text));
            }
        }
    }
    notes.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hv_vss_core::record::{CycleResult, Kind, Recorder};
    use hv_vss_types::Monotonic;

    fn record(cycle: &str) -> Arc<Record> {
        let zero = Monotonic::from_ns(0);
        let mut recorder = Recorder::begin(cycle.to_owned(), Kind::Backup, 0, zero, zero);
        recorder.concluded(CycleResult::Ok, "done");
        Arc::new(recorder.finish())
    }

    fn whole(cycle: &str) -> History {
        let mut history = History::default();
        history.add(record(cycle).as_ref().clone());
        history
    }

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("hv_vss-scribe-{name}-{}", std::process::id()))
    }

    #[test]
    fn what_was_written_last_is_there_when_the_daemon_has_ended() {
        let path = place("last");
        for round in 0..20 {
            let scribe = Scribe::start().unwrap();
            for at in 0..10 {
                scribe.write(Job::History(
                    path.clone(),
                    vec![record(&format!("{round}-{at}"))],
                    whole(&format!("{round}-{at}")),
                ));
            }
            scribe.finish();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(History::parse(&text).records().next_back().unwrap().cycle, format!("{round}-9"));
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_collector_s_directory_that_stalls_delays_no_note() {
        let fifo = place("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let scribe = Scribe::start().unwrap();
        // A thread that opens a FIFO without a writer stands still: so does one whose disk does not answer.
        let stalled = fifo.clone();
        let Place::Threads(threads) = &scribe.0 else { unreachable!() };
        let done: Done = Box::new(move || drop(std::fs::File::open(&stalled)));
        threads.publisher.send(Job::Note { notes: Vec::new(), done }).unwrap();
        let (told, note) = mpsc::channel();
        scribe.write(Job::Note { notes: Vec::new(), done: Box::new(move || told.send(()).unwrap_or_default()) });
        note.recv_timeout(Duration::from_secs(5)).unwrap();
        let began = Instant::now();
        scribe.finish();
        assert!(began.elapsed() >= AT_THE_END && began.elapsed() < AT_THE_END * 3);
        // Let the thread go.
        drop(std::fs::File::options().write(true).open(&fifo).unwrap());
        std::fs::remove_file(&fifo).unwrap();
    }

    #[test]
    fn jobs_that_piled_up_are_merged_and_notes_come_first() {
        let (one, other) = (PathBuf::from("/one"), PathBuf::from("/other"));
        let done: Done = Box::new(|| ());
        let jobs = merged(vec![
            Job::Publish(one.clone(), "old".to_owned()),
            Job::History(other.clone(), vec![record("a")], whole("a")),
            Job::History(other.clone(), vec![record("b")], whole("b")),
            Job::Note { notes: Vec::new(), done },
            Job::Publish(one, "new".to_owned()),
        ]);
        let shown: Vec<String> = jobs
            .iter()
            .map(|job| match job {
                Job::Note { .. } => "note".to_owned(),
                Job::Forget(_) => "forget".to_owned(),
                Job::History(_, records, _) => records.iter().map(|record| record.cycle.as_str()).collect(),
                Job::Publish(_, text) => text.clone(),
            })
            .collect();
        assert_eq!(shown, ["note", "ab", "new"]);
    }
}
