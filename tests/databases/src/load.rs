//! The load: writers that count, and note a number here, outside of the guest, once the server has acknowledged it.
//!
//! A writer asks for a number only after the one before was acknowledged. So what a copy holds of it must be the numbers from 1 to some last one without a
//! hole: not less than was acknowledged, not more than was asked for.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two writes of one writer.
const PACE: Duration = Duration::from_millis(4);

/// Writes one number; an error says that it was not acknowledged.
pub(crate) type Write = Box<dyn FnMut(u64) -> Result<(), String>>;

/// What is known of one writer from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The last number that was acknowledged.
    pub acknowledged: u64,
    /// The last number that was asked for.
    pub asked: u64,
}

/// What a server holds of one writer.
pub type Found = BTreeSet<u64>;

#[derive(Default)]
struct Count {
    acknowledged: AtomicU64,
    asked: AtomicU64,
    trouble: Mutex<Option<String>>,
}

/// All writers.
pub struct Load {
    counts: Vec<Arc<Count>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts so many writers; each makes its own connection in its own thread.
    #[must_use]
    pub fn start(writers: u64, connect: impl Fn(u64) -> Write + Send + Sync + 'static) -> Self {
        let (stop, connect) = (Arc::new(AtomicBool::new(false)), Arc::new(connect));
        let counts: Vec<Arc<Count>> = (0..writers).map(|_| Arc::default()).collect();
        let threads = counts.iter().zip(0..).map(|(count, writer)| {
            let (count, stop, connect) = (Arc::clone(count), Arc::clone(&stop), Arc::clone(&connect));
            std::thread::spawn(move || {
                let mut write = connect(writer);
                for number in 1_u64.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    count.asked.store(number, Ordering::SeqCst);
                    if let Err(why) = write(number) {
                        *count.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                        return;
                    }
                    count.acknowledged.store(number, Ordering::SeqCst);
                    std::thread::sleep(PACE);
                }
            })
        });
        let threads = threads.collect();
        Self { counts, stop, threads }
    }

    /// How far each writer is.
    ///
    /// # Panics
    /// When a server has refused one of them.
    #[must_use]
    #[track_caller]
    pub fn spans(&self) -> Vec<Span> {
        let span = |count: &Arc<Count>| {
            let trouble = count.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            assert_eq!(trouble, None, "a writer was refused");
            // In this order: what is asked for meanwhile only widens the span.
            let acknowledged = count.acknowledged.load(Ordering::SeqCst);
            Span { acknowledged, asked: count.asked.load(Ordering::SeqCst) }
        };
        self.counts.iter().map(span).collect()
    }

    /// How many writes were acknowledged, of all writers.
    #[must_use]
    #[track_caller]
    pub fn acknowledged(&self) -> u64 {
        self.spans().iter().map(|span| span.acknowledged).sum()
    }

    /// Claims that every writer gets on.
    ///
    /// # Panics
    /// When one doesn't.
    #[track_caller]
    pub fn gets_on(&self) {
        let (before, deadline) = (self.spans(), Instant::now() + crate::SOON);
        while self.spans().iter().zip(&before).any(|(now, before)| now.acknowledged < before.acknowledged + 5) {
            assert!(Instant::now() < deadline, "the writers do not get on: {before:?}, {:?}", self.spans());
            std::thread::sleep(PACE);
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if std::thread::panicking() {
            // One may wait for a disk that is frozen. It ends with its server.
            return;
        }
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// What is wrong with what a server holds, a sentence for each writer with which something is.
#[must_use]
pub fn judge(expected: &[Span], found: &[Found]) -> Vec<String> {
    let mut wrong = Vec::new();
    if expected.len() != found.len() {
        wrong.push(format!("there were {} writers, and {} were found", expected.len(), found.len()));
    }
    for (writer, (span, found)) in expected.iter().zip(found).enumerate() {
        let lost: Vec<u64> = (1..=span.acknowledged).filter(|number| !found.contains(number)).collect();
        if !lost.is_empty() {
            let (count, first) = (lost.len(), &lost[..lost.len().min(5)]);
            wrong.push(format!("writer {writer}: {count} acknowledged numbers are lost, {first:?} first"));
        }
        let last = found.last().copied().unwrap_or(0);
        if lost.is_empty() && found.len() as u64 != last {
            wrong.push(format!("writer {writer}: the numbers up to {last} have a hole"));
        }
        if last > span.asked {
            wrong.push(format!("writer {writer}: {last} is there, and only {} was asked for", span.asked));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::{Found, Span, judge};

    const SPAN: Span = Span { acknowledged: 7, asked: 8 };

    fn verdict(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
        judge(&[SPAN], &[numbers.into_iter().collect::<Found>()])
    }

    #[test]
    fn what_was_acknowledged_and_what_may_have_been_is_right() {
        assert_eq!(verdict(1..=7), [""; 0]);
        assert_eq!(verdict(1..=8), [""; 0]);
    }

    #[test]
    fn one_number_too_few_a_hole_and_one_too_many_are_each_told() {
        assert_eq!(verdict(1..=6), ["writer 0: 1 acknowledged numbers are lost, [7] first"]);
        assert_eq!(verdict((1..=7).filter(|n| *n != 3)), ["writer 0: 1 acknowledged numbers are lost, [3] first"]);
        assert_eq!(verdict(1..=9), ["writer 0: 9 is there, and only 8 was asked for"]);
        let far = Span { acknowledged: 4, asked: 8 };
        let holed = judge(&[far], &[[1, 2, 3, 4, 6].into_iter().collect()]);
        assert_eq!(holed, ["writer 0: the numbers up to 6 have a hole"]);
        assert_eq!(judge(&[SPAN, SPAN], &[(1..=7).collect()]), ["there were 2 writers, and 1 were found"]);
    }
}
