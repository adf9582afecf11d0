//! What all of it weighs: the proportional set size of the daemon and its workers, what is locked into memory included, idle and while everything
//! is held. And how soon it is ready: from exec until the node is open and every plugin's host has its plugin loaded and opened.

use std::fs;
use std::time::Instant;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::Signal;

use crate::arena::Arena;
use crate::contender::qemu::Hooks;
use crate::contender::{LINUX, Linux, OURS, QEMU, Qemu};
use crate::fetch::Peers;
use crate::figure::{Figure, Rounds, ms};

const DISKS: usize = 8;

/// Memory and start.
pub(crate) fn measure(peers: &Peers, rounds: usize) -> Vec<Figure> {
    let mut arena = Arena::with_disks(DISKS);
    let jail = arena.jail(peers, DISKS);
    let (mut idle, mut held, mut ready) = (Rounds::default(), Rounds::default(), Rounds::default());
    for _ in 0..rounds {
        arena.guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(arena.guest.daemon_ends(), Some(0));
        let began = Instant::now();
        arena.guest.daemon_starts();
        ready.add(OURS, ms(began.elapsed()));
        // What a first cycle needs is part of what it weighs.
        arena.guest.host_may(Check);
        arena.guest.host_may(Freeze);
        arena.guest.host_may(Thaw);
        idle.add(OURS, weight(&processes(&arena)));
        arena.guest.host_may(Freeze);
        held.add(OURS, weight(&processes(&arena)));
        arena.guest.host_may(Thaw);

        let qemu = Qemu::start(&jail, Hooks::Off);
        ready.add(QEMU, ms(qemu.ready_after));
        let of_qemu = weight(&[qemu.pid()]);
        drop(qemu);
        let linux = Linux::start(&jail, arena.vmbus());
        ready.add(LINUX, ms(linux.ready_after));
        let of_linux = weight(&[linux.pid()]);
        for rounds in [&mut idle, &mut held] {
            rounds.add(QEMU, of_qemu);
            rounds.add(LINUX, of_linux);
        }
    }
    for pid in processes(&arena) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        println!("  {:<16} {:5.2} MiB", name.trim_end(), weight(&[pid]));
    }
    let mut figures = Vec::new();
    for peer in [QEMU, LINUX] {
        figures.push(idle.against(format!("memory_idle_vs_{peer}"), OURS, peer, "MiB"));
        figures.push(held.against(format!("memory_held_vs_{peer}"), OURS, peer, "MiB"));
        figures.push(ready.against(format!("ready_vs_{peer}"), OURS, peer, "ms"));
    }
    figures
}

/// The daemon and its workers.
fn processes(arena: &Arena) -> Vec<i32> {
    let hosts =
        arena.guest.children_of_the_daemon().into_iter().filter(|(_, command)| command.contains("hv_vss_worker"));
    std::iter::once(arena.guest.daemon().pid()).chain(hosts.map(|(pid, _)| pid)).collect()
}

/// In MiB.
fn weight(pids: &[i32]) -> f64 {
    let of = |pid: &i32| -> u32 {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("can't read {path}: {error}"));
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("{path} has no Pss"))
    };
    f64::from(pids.iter().map(of).sum::<u32>()) / 1024.0
}
