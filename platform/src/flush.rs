//! Writing out what is dirty while writers still run, so that the suspend that follows has little left to do.

use std::thread;
use std::time::Duration;

use crate::dirty;

/// Long enough for the disk to have finished something since the last look, short beside the slice of time a flush gets.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Flushes all filesystems, and returns when little is left, or the count of dirty buffers has stopped falling. Does nothing where the kernel counts
/// all that is dirty, and that is little: even a sync(2) with nothing to write makes each disk flush its cache. Linux's sync(2) waits for the
/// writes, FreeBSD's only starts them (facts of sys/kern/vfs_syscalls.c: MNT_NOWAIT for each mount): hence the repetition. It has no limit of its
/// own, since a sync can't be interrupted: it belongs into a process that may be left behind.
pub fn everything() {
    if dirty::COUNTS_MAPPINGS && dirty::is_little() {
        return;
    }
    nix::unistd::sync();
    let mut left = dirty::buffers();
    while let Some(before) = left.filter(|_| !dirty::is_little()) {
        thread::sleep(BETWEEN_LOOKS);
        nix::unistd::sync();
        left = dirty::buffers().filter(|now| *now < before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushing_comes_to_an_end_while_others_go_on_writing() {
        let path = std::env::temp_dir().join(format!("hv_vss-flush-{}", std::process::id()));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let file = path.clone();
        let writer = thread::spawn(move || {
            loop {
                std::fs::write(&file, [7; 4096]).unwrap();
                if stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Empty) {
                    break;
                }
            }
        });
        everything();
        stop.send(()).unwrap();
        writer.join().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
