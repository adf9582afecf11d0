//! The SDK's example for filesystems, `fifreeze`, on real ext4: holds that outlive their process, and a new process that lets go of them.
#![cfg(target_os = "linux")]

mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hv_vss_platform::clock;
use hv_vss_platform::mounts::Mount;
use hv_vss_sim::ground::Ground;
use hv_vss_testbed::example;
use hv_vss_wire::{Call, Outcome, Role, Step};
use hv_vss_worker::conformance::{Trial, Verdict, run};
use stage::*;

fn fifreeze() -> PathBuf {
    example("fifreeze")
}

struct Disk {
    mount: Mount,
    on: PathBuf,
}

fn disk(ground: &mut Ground) -> Disk {
    let directory = ground.directory().to_owned();
    let disk = ground.disk("data", &directory.join("img"), &directory.join("data"));
    Disk { mount: Mount { fstype: "ext4".into(), ..disk.as_ufs() }, on: disk.on }
}

impl Disk {
    fn freeze(&self) -> Call {
        let step = Step { mounts: vec![self.mount.clone()], ..step() };
        Call::Freeze {
            step,
            role: Role::Filesystem,
            expiry: clock::now() + Duration::from_secs(60),
            only: None,
            rehearsal: false,
        }
    }

    fn thaw(&self, outcome: Outcome) -> Call {
        let step = Step { outcome, mounts: vec![self.mount.clone()], ..step() };
        Call::Thaw { step, role: Role::Filesystem, owed: vec![], rehearsal: false }
    }

    /// Starts to write a file; the write ends when the filesystem is not frozen.
    fn write(&self, name: &str) -> Receiver<()> {
        let (done, wait) = channel();
        let file = self.on.join(name);
        std::thread::spawn(move || {
            fs::write(file, "written").expect("the filesystem takes a file");
            let _ = done.send(());
        });
        wait
    }
}

const A_WHILE: Duration = Duration::from_millis(150);

fn opened() -> Stage {
    let mut stage = Stage::around(&fifreeze(), &[]);
    assert!(stage.loaded().holds_survive_exit);
    assert_eq!(stage.worker.call(Call::Open { config: serde_json::Map::new() }, SOON), done());
    stage
}

#[test]
fn a_frozen_ext4_takes_no_write_until_its_thaw() {
    let Some(mut ground) = Ground::take() else { return };
    let disk = disk(&mut ground);
    let mut stage = opened();
    assert_eq!(stage.worker.call(disk.freeze(), SOON), done());
    let writer = disk.write("a");
    assert!(writer.recv_timeout(A_WHILE).is_err(), "written while frozen");
    assert_eq!(stage.worker.call(disk.thaw(Outcome::Ok), SOON), done());
    writer.recv_timeout(SOON).expect("written after the thaw");
}

#[test]
fn a_hold_outlives_its_killed_worker_and_the_next_process_lets_go() {
    let Some(mut ground) = Ground::take() else { return };
    let disk = disk(&mut ground);
    let mut stage = opened();
    assert_eq!(stage.worker.call(disk.freeze(), SOON), done());
    stage.worker.kill();

    // Its holder is dead, and it is frozen all the same: that is what the flag in the table says.
    let writer = disk.write("a");
    assert!(writer.recv_timeout(A_WHILE).is_err(), "the hold did not outlive its process");
    let mut next = opened();
    assert_eq!(next.worker.call(disk.thaw(Outcome::Recovered), SOON), done());
    writer.recv_timeout(SOON).expect("written after the next process's thaw");
    assert_eq!(next.worker.call(disk.thaw(Outcome::Recovered), SOON), done(), "twice is harmless");
}

#[test]
fn when_the_daemon_dies_the_worker_lets_go_before_it_ends() {
    let Some(mut ground) = Ground::take() else { return };
    let disk = disk(&mut ground);
    let mut stage = opened();
    assert_eq!(stage.worker.call(disk.freeze(), SOON), done());
    stage.worker.hang_up();
    assert!(stage.ends_well());
    disk.write("a").recv_timeout(SOON).expect("written, since it was let go");
}

#[test]
fn a_hold_that_somebody_else_thawed_is_answered_as_not_held() {
    let Some(mut ground) = Ground::take() else { return };
    let disk = disk(&mut ground);
    let mut stage = opened();
    assert_eq!(stage.worker.call(disk.freeze(), SOON), done());
    ground.thaw_all();
    assert_eq!(stage.worker.call(disk.thaw(Outcome::Ok), SOON), done_but_not_held());
}

#[test]
fn it_keeps_every_promise() {
    let Some(mut ground) = Ground::take() else { return };
    let disk = disk(&mut ground);
    let report = run(&Trial {
        program: Path::new(env!("CARGO_BIN_EXE_hv_vss_worker")).into(),
        file: fifreeze(),
        options: vec![],
        config: serde_json::Map::new(),
        mounts: vec![disk.mount.clone()],
        freezable: Some(disk.mount),
        patience: SOON,
    });
    assert!(report.findings.iter().all(|finding| finding.verdict == Verdict::Kept), "{report}");
}
