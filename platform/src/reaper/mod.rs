//! Killing a script with all that descends from it, whatever its descendants did to get away (double fork, a session of their own).
//!
//! A process that has [`acquire`]d inherits the orphans among its descendants instead of init; so none of them is ever lost to [`kill_family`].

#![cfg_attr(target_os = "freebsd", allow(unsafe_code))] // procctl has no wrapper in nix.

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::Result;

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// The variable to put into a child's environment, with a value that no other child has. FreeBSD's kernel remembers by itself which child an
/// orphan descends from; Linux doesn't, and there this variable tells.
pub const MARK: &str = "HV_VSS_FAMILY";

/// Makes this process the one that inherits its orphaned descendants. To be called before the first child is started; it is then also this
/// process's duty to reap them.
///
/// # Errors
/// When the kernel refuses.
pub fn acquire() -> Result<()> {
    system::acquire()
}

/// Kills (SIGKILL) a child of this process and all its descendants, and says how many were killed. Nothing is waited for.
///
/// The child may have ended and been reaped: FreeBSD gives its number to no other process as long as a descendant of it lives
/// (sys/kern/kern_fork.c), and Linux as long as its session has a member. It may also be the child of a reaper that was a child of this process,
/// and has died. `mark` is what stands in its environment as [`MARK`].
///
/// # Errors
/// When the kernel refuses. That no process is left is no error.
pub fn kill_family(child: Pid, mark: &str) -> Result<usize> {
    system::kill_family(child, mark)
}

/// The living among a child of this process and all its descendants; which they are is told as in [`kill_family`].
///
/// # Errors
/// When the kernel doesn't tell.
pub fn family(child: Pid, mark: &str) -> Result<Vec<Pid>> {
    system::family(child, mark)
}

/// Reaps the dead among the orphans this process inherited, and says how many; never one of `own`, the children it started and waits for itself.
///
/// # Errors
/// When the kernel doesn't tell who they are.
pub fn reap_orphans(own: &[Pid]) -> Result<usize> {
    let orphans = descendants()?.into_iter().filter(|pid| !own.contains(pid));
    // ECHILD: somebody else's child.
    let reaped =
        orphans.filter(|pid| matches!(waitpid(*pid, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some()));
    Ok(reaped.count())
}

/// All descendants of this process that have not been reaped, in no order. For counting in tests and in the status.
///
/// # Errors
/// When the kernel doesn't tell.
pub fn descendants() -> Result<Vec<Pid>> {
    system::descendants()
}

/// From now on this process is killed (SIGKILL) when its parent ends. For a child between fork and exec, which it outlives; a change of user ends it,
/// so that has to come first. Makes system calls only. Whoever calls it has to look afterwards whether the parent is still the one that was meant.
///
/// # Errors
/// When the system refuses.
pub fn die_with_parent() -> std::result::Result<(), nix::errno::Errno> {
    system::die_with_parent()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell whose descendants write their pids to its stdout; the pipe's end comes when the last of them is gone.
    struct Script {
        shell: Child,
        mark: String,
    }

    impl Script {
        fn run(mark: &str, text: &str) -> Self {
            acquire().unwrap();
            let mut command = Command::new("/bin/sh");
            let shell =
                command.args(["-c", text]).env(MARK, mark).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
            Self { shell, mark: mark.to_owned() }
        }

        #[track_caller]
        fn says(&mut self, line: &str) {
            let mut said = vec![0; line.len() + 1];
            self.shell.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
            assert_eq!(String::from_utf8(said).unwrap(), format!("{line}\n"));
        }

        fn pid(&self) -> Pid {
            Pid::from_raw(i32::try_from(self.shell.id()).unwrap())
        }

        fn kill(&self) -> usize {
            kill_family(self.pid(), &self.mark).unwrap()
        }

        /// Reads to the pipe's end: hangs if anybody lives that has it open.
        fn ends_with_all_it_started(mut self) {
            self.shell.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
            self.shell.wait().unwrap();
        }
    }

    #[test]
    fn a_script_dies_with_children_grandchildren_and_those_that_got_away() {
        // The second line's shell starts a sleeper and ends at once: the sleeper is an orphan when the family is killed.
        let script =
            "sleep 600 & (sleep 600; true) & sh -c 'trap \"\" TERM HUP; sleep 600 & exit 0'; echo up; sleep 600";
        let mut script = Script::run("got-away", script);
        script.says("up");
        assert!(family(script.pid(), &script.mark).unwrap().len() >= 4);
        assert!(script.kill() >= 4);
        script.ends_with_all_it_started();
    }

    #[test]
    fn what_a_dead_but_unreaped_script_left_behind_is_found_too() {
        let mut script = Script::run("left-behind", "sleep 600 & echo up");
        script.says("up");
        // The shell is dead as soon as its only other holder of the pipe is the sleeper; either way the family is complete.
        assert!(script.kill() >= 1);
        script.ends_with_all_it_started();
    }

    #[test]
    fn a_family_is_found_after_its_head_was_reaped() {
        let mut script = Script::run("reaped", "(sleep 600 &); echo up");
        script.says("up");
        script.shell.wait().unwrap();
        assert!(script.kill() >= 1);
        script.ends_with_all_it_started();
    }

    #[cfg(target_os = "linux")] // setsid(1); FreeBSD's kernel needs no mark.
    #[test]
    fn an_orphan_that_lost_its_mark_is_found_by_its_session() {
        acquire().unwrap();
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", "(env -u HV_VSS_FAMILY sleep 600 &); echo up"]).stdout(Stdio::piped());
        let mut script = Script { shell: command.env(MARK, "unmarked").spawn().unwrap(), mark: "unmarked".to_owned() };
        script.says("up");
        script.shell.wait().unwrap();
        assert!(script.kill() >= 1);
        script.ends_with_all_it_started();
    }

    #[test]
    fn another_familys_orphans_stay_alive() {
        let mut kept = Script::run("kept", "sh -c 'sleep 600 & exit 0'; echo up; sleep 600");
        let mut killed = Script::run("killed", "sh -c 'sleep 600 & exit 0'; echo up; sleep 600");
        kept.says("up");
        killed.says("up");
        killed.kill();
        killed.ends_with_all_it_started();
        assert_eq!(kept.shell.try_wait().unwrap(), None, "the other script still runs");
        assert!(kept.kill() >= 2, "and so does its orphan");
        kept.ends_with_all_it_started();
    }
}
