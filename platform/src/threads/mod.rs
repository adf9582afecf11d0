//! How many threads this process has. UFSSUSPEND refuses a caller with more than one, since the others could write to what is being suspended.

use crate::Result;

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// The number of this process's threads, the caller included.
///
/// # Errors
/// When the kernel doesn't tell.
pub fn count() -> Result<usize> {
    system::count()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn a_new_thread_counts_as_soon_as_it_runs() {
        // Other tests start and end threads of their own at the same time: eight more can't be hidden by those that end.
        let (all_run, all_counted) = (Barrier::new(9), Barrier::new(9));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (all_run.wait(), all_counted.wait()));
            }
            all_run.wait();
            let with = count().unwrap();
            all_counted.wait();
            assert!(with >= 9, "eight threads and this one, but the kernel counts {with}");
        });
    }
}
