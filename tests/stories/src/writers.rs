//! Writers: one on each disk, writing all the time and keeping a record in memory of when each write began and ended. From that record anybody
//! can see when a disk stood still, without asking whoever made it stand still.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hv_vss_platform::clock::{self, Monotonic};

/// Between two writes, unless a stage says otherwise.
pub(crate) const PACE: Duration = Duration::from_millis(2);

/// A write that was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// When it began.
    pub began: Monotonic,
    /// When it was done.
    pub done: Monotonic,
}

/// The writer on one disk.
pub struct Writer {
    /// The disk's name.
    pub disk: String,
    record: Arc<Mutex<Vec<Written>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// All of them.
#[derive(Default)]
pub struct Writers(Vec<Writer>);

impl Writer {
    fn start(disk: &str, on: &Path, pace: Duration) -> Self {
        let path = on.join("written");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("can't write to {}: {error}", path.display()));
        let (record, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (to, until) = (Arc::clone(&record), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for line in 0_u64.. {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                let began = clock::now();
                if writeln!(file, "{line}").is_err() {
                    return;
                }
                let written = Written { began, done: clock::now() };
                to.lock().unwrap_or_else(PoisonError::into_inner).push(written);
                std::thread::sleep(pace);
            }
        });
        Self { disk: disk.to_owned(), record, stop, thread: Some(thread) }
    }

    /// Every write so far.
    #[must_use]
    pub fn record(&self) -> Vec<Written> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The latest write.
    #[must_use]
    pub fn last(&self) -> Option<Written> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).last().copied()
    }

    /// A write that began and was done between these two instants.
    #[must_use]
    pub fn written_between(&self, from: Monotonic, until: Monotonic) -> Option<Written> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let late = record.partition_point(|written| written.began <= from);
        record[late..].iter().find(|written| written.done < until).copied()
    }

    /// The first write that was done after this instant, so far.
    #[must_use]
    pub fn first_done_after(&self, instant: Monotonic) -> Option<Written> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let late = record.partition_point(|written| written.done <= instant);
        record.get(late).copied()
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Writers {
    /// Starts one on each of these disks, with so long between two writes of each.
    pub fn start<'a>(disks: impl IntoIterator<Item = (&'a str, &'a Path)>, pace: Duration) -> Self {
        Self(disks.into_iter().map(|(name, on)| Writer::start(name, on, pace)).collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Writer> {
        self.0.iter()
    }

    /// Claims that every one of them completes a write from now on.
    ///
    /// # Panics
    /// When one doesn't.
    #[track_caller]
    pub fn run(&self) {
        let deadline = clock::now() + Duration::from_secs(5);
        for writer in &self.0 {
            let before = writer.count();
            while writer.count() <= before + 1 {
                assert!(clock::now() < deadline, "nothing can be written to {}: it is frozen", writer.disk);
                std::thread::sleep(PACE);
            }
        }
    }

    /// Claims that none of them gets a write done for a while.
    ///
    /// # Panics
    /// When one does.
    #[track_caller]
    pub fn stand_still(&self) {
        // One write may be on its way into the record.
        std::thread::sleep(10 * PACE);
        let before: Vec<usize> = self.0.iter().map(Writer::count).collect();
        std::thread::sleep(30 * PACE);
        for (writer, before) in self.0.iter().zip(before) {
            assert_eq!(writer.count(), before, "{} is written to: it is not frozen", writer.disk);
        }
    }

    /// Claims that no write began and was done between these two instants.
    ///
    /// # Panics
    /// When one was.
    #[track_caller]
    pub fn stood_still_between(&self, from: Monotonic, until: Monotonic) {
        for writer in &self.0 {
            let slipped = writer.record().into_iter().find(|written| written.began > from && written.done < until);
            assert_eq!(slipped, None, "{} was written to while it should have stood still", writer.disk);
        }
    }

    /// Stops them. What they write to must not be frozen any more.
    pub(crate) fn stop(&mut self) {
        self.0.iter().for_each(|writer| writer.stop.store(true, Ordering::Relaxed));
        for writer in &mut self.0 {
            // A writer that panicked has said so itself.
            writer.thread.take().into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}
