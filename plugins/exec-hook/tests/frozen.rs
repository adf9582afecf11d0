//! Between freeze and thaw: the plugin's process holds nothing of a disk and does nothing that would need one, even if the disk that is frozen is the one
//! its hooks lie on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

mod disk;
mod stage;

use std::fs;
use std::path::Path;
use std::process::Command;

use disk::{Disk, own_mounts, run, text};
use hv_vss_testbed::needs;
use serde_json::json;
use stage::{Stage, becomes_true, done, lives};

/// What a process has open, but for sockets, pipes and devices.
fn files_of(pid: u32) -> Vec<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let names = links.map(|link| fs::read_link(link.unwrap().path()).unwrap().display().to_string());
    names.filter(|name| !["socket:", "pipe:", "/dev/"].iter().any(|harmless| name.starts_with(harmless))).collect()
}

#[test]
fn while_frozen_the_process_has_no_file_of_a_disk_open_and_reaps() {
    let Some(mut stage) = Stage::new() else { return };
    stage.hook("10-leaves", "[ $1 = thaw ] || { sleep 600 & echo $! >$GROUND/pid; }");
    stage.open();
    assert_eq!(stage.check(), done());
    assert_eq!(stage.freeze(), done());
    let worker = stage.worker.pid();
    assert_eq!(files_of(worker), [""; 0]);
    // It hears of the end of a background child, reaps it, and needs no file for that.
    let child = stage.lines("pid").concat();
    assert!(Command::new("kill").arg(&child).status().unwrap().success());
    becomes_true("the background child is gone", || !Path::new("/proc").join(child.trim()).exists());
    assert_eq!(files_of(worker), [""; 0]);
    assert_eq!(stage.thaw(), done());
}

#[test]
fn the_disk_with_the_hooks_themselves_may_be_the_frozen_one() {
    needs!(Root, Loop, Ext4, Mount);
    own_mounts();
    let Some(mut stage) = Stage::new() else { return };
    let disk = Disk::new(&stage.ground);
    stage.hook("10-db", "[ $1 = thaw ] || { (echo said; sleep 600) & echo $! >$GROUND/pid; }");
    stage.hook("90-tell.post-thaw", "");
    let hooks = disk.data.join("hooks.d");
    run("cp", &["-a", &text(&stage.hooks()), &text(&hooks)]);
    stage.open_with(&[("directory", json!(text(&hooks)))]);

    assert_eq!(stage.freeze(), done());
    disk.freeze();
    let writes = Command::new("timeout").args(["0.3", "touch", &text(&disk.data.join("x"))]).spawn().unwrap();
    let child = stage.lines("pid").concat();
    assert!(Command::new("kill").arg(&child).status().unwrap().success());
    becomes_true("the background child has ended", || !lives(&child));
    disk.thaw();
    assert!(Path::new(&hooks).exists());
    drop(writes.wait_with_output());
    assert_eq!(stage.thaw(), done());
    stage.the_scripts_did(&["10-db freeze", "90-tell.post-thaw thaw", "10-db thaw"]);
}
