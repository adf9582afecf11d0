//! Linux: a child subreaper. The kernel does not keep which child an orphan stems from. Its session tells it, if the orphan has not begun one of its
//! own, and else the mark in its environment.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use super::MARK;
use crate::{OsError, Result};

/// A family that forks faster than it is killed is given up after so many rounds; the caller sees that it still lives.
const ROUNDS: usize = 100;
/// An exec takes about so long.
const EXEC: Duration = Duration::from_millis(1);

/// What /proc/PID/stat says of one process.
struct Process {
    pid: Pid,
    parent: Pid,
    session: Pid,
    dead: bool,
}

pub(super) fn acquire() -> Result<()> {
    prctl::set_child_subreaper(true)
        .map_err(|errno| OsError::new("become the reaper of this process's descendants", errno))
}

pub(super) fn kill_family(child: Pid, mark: &str) -> Result<usize> {
    let mut killed = HashSet::new();
    for _ in 0..ROUNDS {
        let Look { alive, unclear } = look(child, mark)?;
        if alive.is_empty() {
            if !unclear {
                break;
            }
            std::thread::sleep(EXEC);
        }
        for pid in alive {
            // ESRCH: it died by itself.
            let _ = kill(pid, Signal::SIGKILL);
            killed.insert(pid);
        }
    }
    Ok(killed.len())
}

pub(super) fn family(child: Pid, mark: &str) -> Result<Vec<Pid>> {
    look(child, mark).map(|look| look.alive)
}

/// A family, as it is at one moment.
struct Look {
    alive: Vec<Pid>,
    /// In the middle of an exec a process has no environment yet, and can't be told: look again.
    unclear: bool,
}

fn look(child: Pid, mark: &str) -> Result<Look> {
    let all = processes()?;
    let own = below(&all, |process| process.parent == getpid());
    let marked =
        |process: &Process| own.contains(&process.pid) && (process.session == child || has_mark(process.pid, mark));
    let family = below(&all, |process| process.pid == child && process.parent == getpid() || marked(process));
    let alive = all.iter().filter(|process| !process.dead && family.contains(&process.pid));
    let in_exec =
        |process: &Process| own.contains(&process.pid) && !process.dead && environment(process.pid).is_empty();
    Ok(Look { alive: alive.map(|process| process.pid).collect(), unclear: all.iter().any(in_exec) })
}

pub(super) fn descendants() -> Result<Vec<Pid>> {
    if has_no_children() {
        return Ok(Vec::new());
    }
    let all = processes()?;
    Ok(below(&all, |process| process.parent == getpid()).into_iter().collect())
}

/// The usual case, told without looking at every process of the machine. Each thread has children of its own.
fn has_no_children() -> bool {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return false };
    threads.flatten().all(|thread| {
        fs::read_to_string(thread.path().join("children")).is_ok_and(|children| children.trim().is_empty())
    })
}

/// Those for which `is_top` holds and all that descend from them.
fn below(all: &[Process], is_top: impl Fn(&Process) -> bool) -> HashSet<Pid> {
    let mut family: HashSet<Pid> = all.iter().filter(|process| is_top(process)).map(|process| process.pid).collect();
    loop {
        let before = family.len();
        let children: Vec<Pid> =
            all.iter().filter(|process| family.contains(&process.parent)).map(|process| process.pid).collect();
        family.extend(children);
        if family.len() == before {
            return family;
        }
    }
}

fn processes() -> Result<Vec<Process>> {
    let entries = fs::read_dir("/proc").map_err(|cause| OsError::new("list the processes in /proc", cause))?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    Ok(pids.filter_map(|pid| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect())
}

/// `PID (NAME) STATE PARENT GROUP SESSION ...`, where the name may hold anything (proc_pid_stat(5)).
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process {
        pid: Pid::from_raw(pid),
        parent: Pid::from_raw(parent),
        session: Pid::from_raw(session),
        dead: matches!(state, "Z" | "X"),
    })
}

fn has_mark(pid: Pid, mark: &str) -> bool {
    let wanted = format!("{MARK}={mark}");
    environment(pid).split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

/// Empty, too, when it can't be read.
fn environment(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

pub(super) fn die_with_parent() -> std::result::Result<(), Errno> {
    prctl::set_pdeathsig(Signal::SIGKILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let process = parse(7, "7 (a) Z 1 (b) S 42 7 8 0 -1").unwrap();
        assert_eq!((process.parent.as_raw(), process.session.as_raw(), process.dead), (42, 8, false));
        assert!(parse(7, "7 (x) Z 42 7 7").unwrap().dead);
    }
}
