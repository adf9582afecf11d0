//! Telling a process from a later one with the same number.

use nix::unistd::Pid;

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// When the process with this number began, on a scale of the system's own that no step of the wall clock moves. Only equal or not equal means
/// anything. None: there is no such process (a zombie still is one).
#[must_use]
pub fn start_time(pid: i32) -> Option<u64> {
    system::start_time(Pid::from_raw(pid))
}

/// A start on the wall clock's scale, and the boot time on the same scale before and after it was read.
#[cfg_attr(not(target_os = "freebsd"), allow(dead_code, reason = "only FreeBSD's kernel tells a start so"))]
struct Reading {
    boot_before_us: i64,
    start_us: i64,
    boot_after_us: i64,
}

/// Readings between which the wall clock was stepped are taken again, so often.
#[cfg_attr(not(target_os = "freebsd"), allow(dead_code, reason = "as above"))]
const READINGS: usize = 16;

/// The start as time since boot. A step of the wall clock moves start and boot time alike, so their difference stays.
#[cfg_attr(not(target_os = "freebsd"), allow(dead_code, reason = "as above"))]
fn since_boot(mut read: impl FnMut() -> Option<Reading>) -> Option<u64> {
    for _ in 0..READINGS {
        let reading = read()?;
        if reading.boot_before_us == reading.boot_after_us {
            return u64::try_from(reading.start_us - reading.boot_before_us).ok();
        }
    }
    None
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

        // Linux counts in hundredths of a second.
        std::thread::sleep(std::time::Duration::from_millis(30));
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert_ne!(start_time(pid).unwrap(), begun);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(start_time(pid), None);
    }

    #[test]
    fn a_stepped_wall_clock_does_not_move_a_start() {
        const STARTED_US: i64 = 5_000_000;
        // The kernel's boot time after steps forward, back, and back again between two readings.
        let boots = [1_000_i64, 3_600_000_000, -7_200_000_000];
        for boot_us in boots {
            let read =
                || Some(Reading { boot_before_us: boot_us, start_us: boot_us + STARTED_US, boot_after_us: boot_us });
            assert_eq!(since_boot(read), Some(5_000_000), "boot time {boot_us}");
        }
        let mut steps = boots.into_iter();
        let mut before = 0;
        let stepped_while_read = || {
            let after = steps.next().unwrap_or(before);
            let reading = Reading { boot_before_us: before, start_us: before + STARTED_US, boot_after_us: after };
            before = after;
            Some(reading)
        };
        assert_eq!(since_boot(stepped_while_read), Some(5_000_000));
        assert_eq!(since_boot(|| None), None, "no such process");
    }
}
