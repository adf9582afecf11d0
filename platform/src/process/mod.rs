//! Telling a process from a later one with the same number.

use nix::unistd::Pid;

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// When the process with this number began, on a scale of the system's own: only equal or not equal means anything. None: there is no such
/// process (a zombie still is one).
#[must_use]
pub fn start_time(pid: i32) -> Option<u64> {
    system::start_time(Pid::from_raw(pid))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_keeps_its_start_time_and_a_later_one_has_another() {
        let own = i32::try_from(std::process::id()).unwrap();
        let begun = start_time(own).unwrap();
        assert_eq!(start_time(own), Some(begun));

        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert_ne!(start_time(pid).unwrap(), begun);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(start_time(pid), None);
    }
}
