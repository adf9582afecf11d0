//! Processes, as far as faults need them: signals, and what a process is doing.

use std::fs;
use std::time::{Duration, Instant};

use hv_vss_stories::process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Between two looks at something that can't be waited for.
pub const PACE: Duration = Duration::from_millis(5);

/// Waits until this holds. False: it did not within `patience`.
pub fn comes_true(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(PACE);
    }
}

/// Sends a signal. False: there is no such process.
pub fn signal(pid: i32, signal: Signal) -> bool {
    pid > 1 && kill(Pid::from_raw(pid), signal).is_ok()
}

/// Is it there, and not merely unreaped?
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    process::state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Is it stopped?
#[must_use]
pub fn is_stopped(pid: i32) -> bool {
    process::state(pid) == Some('T')
}

/// Does it wait for events, having done all there was to do? Told by the system call that it sleeps in.
#[must_use]
pub fn waits_in_poll(pid: i32) -> bool {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/syscall")) else { return false };
    let number = text.split(' ').next().and_then(|word| word.parse::<i64>().ok());
    number.is_some_and(|number| POLLS.contains(&number))
}

#[cfg(target_arch = "x86_64")]
const POLLS: [i64; 2] = [nix::libc::SYS_poll, nix::libc::SYS_ppoll];
#[cfg(not(target_arch = "x86_64"))]
const POLLS: [i64; 1] = [nix::libc::SYS_ppoll];
