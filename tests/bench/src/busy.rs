//! A busy guest: writers, one on each disk, which overwrite a page every millisecond and remember the longest pause they had to make; and processors
//! that are never idle.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hv_vss_platform::priority;

const PAGE: usize = 4096;
const PACE: Duration = Duration::from_millis(1);

/// The writers. Dropping them ends them; their disks must not be frozen then.
pub(crate) struct Busy {
    stop: Arc<AtomicBool>,
    longest_ns: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// Starts one on each of these directories.
    pub(crate) fn start<'a>(disks: impl IntoIterator<Item = &'a Path>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let longest_ns = Arc::new(AtomicU64::new(0));
        let threads = disks.into_iter().map(|disk| {
            let path = disk.join("busy");
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let file = file.unwrap_or_else(|error| panic!("can't write to {}: {error}", path.display()));
            let (stop, longest_ns) = (Arc::clone(&stop), Arc::clone(&longest_ns));
            std::thread::spawn(move || {
                like_any_other();
                let mut last = Instant::now();
                for byte in (0..=u8::MAX).cycle() {
                    let done = file.write_all_at(&[byte; PAGE], 0);
                    let now = Instant::now();
                    longest_ns.fetch_max(u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
                    last = now;
                    if done.is_err() || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(PACE);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, longest_ns, threads }
    }

    /// The longest time between the ends of two writes, on any disk, since this was last asked.
    pub(crate) fn longest_pause(&self) -> Duration {
        Duration::from_nanos(self.longest_ns.swap(0, Ordering::Relaxed))
    }
}

/// Threads that do nothing but keep processors busy. Dropping this ends them.
pub(crate) struct Burners {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    /// So many for each processor.
    pub(crate) fn start(for_each: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..for_each * processors).map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                like_any_other();
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// The benchmark goes before all others; what plays the guest's own work does not. On Linux a priority is a thread's.
fn like_any_other() {
    priority::usual().unwrap_or_else(|error| panic!("{error}"));
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
