//! The one thread that writes to disks. A disk may stall, and the engine must not: so writing is a queue of jobs, done in their order.
//!
//! Nothing is written while filesystems are held: the note of what will be owed is the last job before a freeze, and the freeze begins when that
//! is done, so the queue is empty by then; the next job comes after the thaw.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use hv_vss_trust::Holder;
use hv_vss_wire::owed::Owed;

use hv_vss_core::history::History;

/// What can be written.
pub enum Job {
    /// What will be owed. `done` is called when it is in place, or can't be put there.
    Note {
        /// Each record with its place.
        records: Vec<(PathBuf, Owed)>,
        /// Called afterwards.
        done: Done,
    },
    /// These are no longer owed.
    Forget(Vec<PathBuf>),
    /// The history, and where it lies.
    History(PathBuf, History),
    /// A file that others read, replaced as a whole.
    Publish(PathBuf, String),
}

/// Called from the writing thread.
pub type Done = Box<dyn FnOnce() + Send>;

/// The queue of jobs.
pub struct Scribe(Place);

enum Place {
    /// The thread's queue.
    Thread(mpsc::Sender<Job>),
    /// Somebody plays the disk.
    Played(TakesJob),
}

/// Takes what would be written to a disk.
pub type TakesJob = Box<dyn Fn(Job)>;

/// Writing files takes little.
const STACK: usize = 128 << 10;

impl Scribe {
    /// Starts the thread. It ends when this is dropped and the queue is done.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let (jobs, todo) = mpsc::channel::<Job>();
        thread::Builder::new().name("vss-write".into()).stack_size(STACK).spawn(move || {
            let mut disk = Disk::default();
            for job in todo {
                disk.forget_what_could_not_be();
                disk.perform(job);
            }
        })?;
        Ok(Self(Place::Thread(jobs)))
    }

    /// A queue whose jobs are given to `takes` in place of a disk, from the thread that adds them.
    #[must_use]
    pub fn played(takes: TakesJob) -> Self {
        Self(Place::Played(takes))
    }

    /// Adds a job.
    pub fn write(&self, job: Job) {
        match &self.0 {
            // The thread lives as long as the queue.
            Place::Thread(jobs) => drop(jobs.send(job)),
            Place::Played(takes) => takes(job),
        }
    }
}

/// The disk as this thread knows it. What it refuses is said once, until it is taken again.
#[derive(Default)]
struct Disk {
    note_refused: bool,
    forgetting_refused: bool,
    history_refused: bool,
    publishing_refused: bool,
    /// Records that are paid and could not be removed: a later daemon would pay them once more.
    unforgotten: Vec<PathBuf>,
}

impl Disk {
    fn perform(&mut self, job: Job) {
        match job {
            Job::Note { records, done } => {
                for (path, record) in records {
                    let written = in_its_directory(&path, || hv_vss_trust::replace(&path, &record.to_bytes()?, 0o600));
                    if written.is_ok() {
                        self.unforgotten.retain(|other| *other != path);
                    }
                    said_once(&mut self.note_refused, written, |error| {
                        format!(
                            "can't note in {} what a freeze will owe: {error}; the backup goes on, but should this daemon and its plugins die in it, some hooks may not be run",
                            path.display()
                        )
                    });
                }
                done();
            }
            Job::Forget(paths) => {
                for path in paths {
                    let forgotten = hv_vss_trust::remove(&path);
                    if forgotten.is_err() {
                        self.unforgotten.push(path.clone());
                    }
                    said_once(&mut self.forgetting_refused, forgotten, |error| {
                        format!(
                            "can't remove {}: {error}; unless it can be later, its hooks will be run once more at the next start",
                            path.display()
                        )
                    });
                }
            }
            Job::History(path, history) => {
                let saved = in_its_directory(&path, || hv_vss_trust::replace(&path, history.text()?.as_bytes(), 0o600));
                said_once(&mut self.history_refused, saved, |error| {
                    format!("can't write the history {}: {error}; it is kept in memory", path.display())
                });
            }
            Job::Publish(path, text) => {
                // The collector's directory is often the collector's own, and who has it could lead us anywhere.
                let written =
                    hv_vss_trust::place(&path, Holder::Anyone).map_err(|distrust| distrust.to_string()).and_then(
                        |path| hv_vss_trust::replace(&path, text.as_bytes(), 0o644).map_err(|error| error.to_string()),
                    );
                said_once(&mut self.publishing_refused, written, |why| {
                    format!("can't write {}: {why}", path.display())
                });
            }
        }
    }

    fn forget_what_could_not_be(&mut self) {
        self.unforgotten.retain(|path| hv_vss_trust::remove(path).is_err());
    }
}

/// Writes a file of the state directory. One that has vanished (another /var is mounted) is made anew.
fn in_its_directory(path: &Path, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match (write(), path.parent()) {
        (Err(error), Some(directory)) if error.kind() == io::ErrorKind::NotFound => {
            crate::state::directory(directory).map_err(io::Error::other)?;
            write()
        }
        (result, _) => result,
    }
}

fn said_once<E: fmt::Display>(warned: &mut bool, result: Result<(), E>, sentence: impl FnOnce(E) -> String) {
    match result {
        Ok(()) => *warned = false,
        Err(error) if !*warned => {
            *warned = true;
            tracing::warn!("{}", sentence(error));
        }
        Err(_) => {}
    }
}
