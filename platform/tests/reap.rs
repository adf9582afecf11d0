//! Reaping whatever comes, in a process of its own: next to other tests it would reap their children, too.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use hv_vss_platform::reaper::{MARK, acquire, descendants, kill_family, reap_orphans};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

#[test]
fn dead_orphans_are_reaped_and_the_callers_own_children_left_to_him() {
    acquire().unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "sh -c 'sleep 600 & echo $!'; sleep 600"]).env(MARK, "reaped");
    let mut shell = command.stdout(Stdio::piped()).spawn().unwrap();
    let own = Pid::from_raw(i32::try_from(shell.id()).unwrap());
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let orphan = Pid::from_raw(line.trim().parse().unwrap());

    kill_family(own, "reaped").unwrap();
    while descendants().unwrap().contains(&orphan) {
        reap_orphans(&[own]).unwrap();
    }
    assert_eq!(waitpid(orphan, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
    assert!(!shell.wait().unwrap().success(), "our own child was left for us to wait for");
}
