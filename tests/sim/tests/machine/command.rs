//! The `hv-vss-sim` command, as a shell uses it: `serve`, then `host` with its exit statuses.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::process::{self, Process};
use hv_vss_sim::ground::{Ground, write_mount_table};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Machine {
    served: Child,
    dev: PathBuf,
    control: PathBuf,
    ground: Ground,
}

impl Machine {
    fn with_limit(limit: &str) -> Option<Self> {
        let mut ground = Ground::take()?;
        let (image, on) = (ground.directory().join("a.img"), ground.directory().join("a"));
        let disk = ground.disk("a", &image, &on);
        let mounts = ground.directory().join("mounts");
        write_mount_table(&mounts, &[disk.as_ufs()]);
        let (dev, control) = (ground.subdirectory("dev"), ground.directory().join("control"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_hv-vss-sim"));
        command.arg("serve").arg("--dev").arg(&dev).arg("--control").arg(&control).arg("--mounts").arg(&mounts);
        command.args(["--driver", "base", "--limit", limit, "--ic-log"]).arg(ground.directory().join("ic.log"));
        let mut served = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut said = String::new();
        BufReader::new(served.stdout.take().expect("piped")).read_line(&mut said).expect("it speaks");
        assert_eq!(said, "ready\n");
        Some(Self { served, dev, control, ground })
    }

    fn host(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hv-vss-sim"));
        command.arg("host").arg("--control").arg(&self.control).args(arguments).output().expect("it runs")
    }

    fn ends_with(&mut self) -> Option<i32> {
        self.served.wait().expect("it ends").code()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.served.kill();
        let _ = self.served.wait();
    }
}

#[test]
fn the_hosts_exit_status_says_what_the_guest_answered() {
    let Some(machine) = Machine::with_limit("200ms") else { return };
    let play = machine.ground.directory().join("script");
    std::fs::write(&play, "patience 100\nnegotiate\n").unwrap();
    let play = play.display().to_string();
    assert_eq!(machine.host(&["script", &play]).status.code(), Some(2), "nobody has ever opened the node");

    let mut daemon = Process::start(&machine.dev);
    daemon.says("open hv_fsvss_dev rw", "fd 3");
    assert_eq!(machine.host(&["negotiate"]).status.code(), Some(0));
    let failed = machine.host(&["freeze"]);
    assert_eq!(failed.status.code(), Some(1), "nobody answers; the driver's limit passes");
    let line = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(line.contains("\"status\":\"0x80004005\"") && line.contains("\"sent\":\"freeze\""), "{line}");
    let log = std::fs::read_to_string(machine.ground.directory().join("ic.log")).unwrap();
    assert!(log.lines().count() >= 4 && log.contains("\"event\":\"to_host\""), "{log}");
}

#[test]
fn a_termination_thaws_what_is_frozen() {
    let Some(mut machine) = Machine::with_limit("1s") else { return };
    let disk = machine.ground.disks()[0].clone();
    let mut holder = Process::start(&machine.dev);
    holder.says("open ufssuspend rw", "fd 3");
    holder.says(&format!("suspend 3 {}", disk.fsid), "ok");
    assert!(process::is_frozen(&disk.on));
    kill(Pid::from_raw(i32::try_from(machine.served.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(machine.ends_with(), Some(0));
    assert!(!process::is_frozen(&disk.on));
}

#[test]
fn what_would_stop_a_debug_kernel_ends_the_machine_loudly_and_thaws() {
    let Some(mut machine) = Machine::with_limit("1s") else { return };
    let disk = machine.ground.disks()[0].clone();
    let mut holder = Process::start(&machine.dev);
    holder.says("open ufssuspend rw", "fd 3");
    holder.says(&format!("suspend 3 {}", disk.fsid), "ok");
    let mut daemon = Process::start(&machine.dev);
    daemon.says("open hv_fsvss_dev rw", "fd 3");
    let host = hv_vss_sim::Host::of(&machine.control);
    host.send(hv_vss_sim::ic::FREEZE).unwrap();
    let (_, msgid) = process::request(&daemon.ask("read 3"));
    std::thread::sleep(Duration::from_millis(3));
    daemon.tell(&format!("write 3 3 0 {msgid}"));
    assert_eq!(machine.ends_with(), Some(hv_vss_sim::PANICKED));
    assert!(!process::is_frozen(&disk.on));
}
