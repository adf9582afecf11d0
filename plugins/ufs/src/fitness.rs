//! May this process hold a filesystem? Asked before every hold: UFSSUSPEND's own answer is EDEADLK for some
//! of it, and for the rest a filesystem that stays frozen when this process is killed (with vfsfreeze until
//! its time limit).

use std::os::fd::RawFd;

use hv_vss_platform::{descriptors, threads};
use hv_vss_plugin::Failure;

use crate::way::Way;

/// Checks threads and descriptors, those left out that hold a filesystem. Threads are of no concern to vfsfreeze.
pub(crate) fn to_hold(way: Way, holding: &[RawFd]) -> Result<(), Failure> {
    let threads = if way == Way::Ufssuspend { threads::count().map_err(cannot_tell)? } else { 1 };
    let files = descriptors::disk_files_except(holding).map_err(cannot_tell)?;
    judge(threads, &files).map_err(Failure::Refused)
}

/// A process that can't find out must not suspend: it would not know whether its death lets go.
fn cannot_tell(error: hv_vss_platform::OsError) -> Failure {
    Failure::Refused(format!("{error}; without this it is not safe to suspend a filesystem"))
}

fn judge(threads: usize, files: &[(i32, String)]) -> Result<(), String> {
    if threads != 1 {
        return Err(format!(
            "this process has {threads} threads, and the kernel suspends UFS only for a process with one (EDEADLK): a library that this plugin was linked with has started them"
        ));
    }
    if files.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = files.iter().map(|(fd, name)| format!("{name} as descriptor {fd}")).collect();
    Err(format!(
        "this process has files open ({}), and would hang in its own end, with the filesystem frozen for good, if it were killed: close them, or keep whoever starts hv_vss_daemon from passing them on",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_and_no_disk_file_is_fit() {
        assert_eq!(judge(1, &[]), Ok(()));
    }

    #[test]
    fn threads_are_counted_in_the_sentence() {
        assert!(judge(3, &[]).unwrap_err().contains("3 threads"));
    }

    #[test]
    fn every_disk_file_is_named_with_its_descriptor() {
        let why = judge(1, &[(1, "/var/log/x".into()), (7, "/etc/y".into())]).unwrap_err();
        assert!(why.contains("/var/log/x as descriptor 1, /etc/y as descriptor 7"), "{why}");
    }

    #[test]
    fn a_process_with_a_second_thread_is_unfit_and_told_which_half_is_why() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let second = std::thread::spawn(move || wait.recv());
        let Err(Failure::Refused(why)) = to_hold(Way::Ufssuspend, &[]) else {
            panic!("a process with two threads passed as fit")
        };
        assert!(why.contains("threads"), "{why}");
        drop(done);
        assert!(second.join().unwrap().is_err());
    }
}
