//! Linux: field 22 of /proc/PID/stat, in clock ticks since boot.

use std::fs;

use nix::unistd::Pid;

pub(super) fn start_time(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Counted from behind the name, which may hold anything: the state is field 3.
    stat.rsplit_once(") ")?.1.split(' ').nth(22 - 3)?.parse().ok()
}
