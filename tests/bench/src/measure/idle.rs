//! Does it wake anybody while nothing is asked of it? Every voluntary context switch of every thread is counted: a thread that sleeps until it is
//! asked makes none.

use std::fs;
use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};

use crate::arena::Arena;
use crate::contender::qemu::Hooks;
use crate::contender::{LINUX, Linux, OURS, QEMU, Qemu};
use crate::fetch::Peers;
use crate::figure::{Figure, Rounds};

/// After the last request, until history and log are written.
const SETTLE: Duration = Duration::from_secs(3);

/// For so long.
pub(crate) fn measure(peers: &Peers, span: Duration) -> Vec<Figure> {
    let mut arena = Arena::with_disks(1);
    let jail = arena.jail(peers, 1);
    let qemu = Qemu::start(&jail, Hooks::Off);
    let linux = Linux::start(&jail, arena.vmbus());
    // Not a daemon that has never done anything: one that has made a backup.
    for operation in [Check, Freeze, Thaw] {
        arena.guest.host_may(operation);
    }
    std::thread::sleep(SETTLE);
    let hosts = arena.guest.children_of_the_daemon().into_iter().map(|(pid, _)| pid);
    let ours: Vec<i32> = std::iter::once(arena.guest.daemon().pid()).chain(hosts).collect();
    assert!(ours.len() > 3, "the daemon and a host for each plugin: {ours:?}");
    let all = [(OURS, ours), (QEMU, vec![qemu.pid()]), (LINUX, vec![linux.pid()])];
    let before: Vec<u64> = all.iter().map(|(_, pids)| switches(pids)).collect();
    std::thread::sleep(span);
    let mut wakeups = Rounds::default();
    for ((who, pids), before) in all.iter().zip(before) {
        let count = switches(pids) - before;
        println!("  {who:<10} {count} wake-ups in {span:?}");
        wakeups.add(who, f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
    }
    let unit = format!("wake-ups in {} s", span.as_secs());
    vec![Figure { ratio: None, spread: None, ..wakeups.against(format!("idle_vs_{QEMU}"), OURS, QEMU, &unit) }]
}

/// Of all threads of these processes so far.
fn switches(pids: &[i32]) -> u64 {
    let tasks = pids.iter().flat_map(|pid| {
        let path = format!("/proc/{pid}/task");
        let tasks = fs::read_dir(&path).unwrap_or_else(|error| panic!("can't read {path}: {error}"));
        tasks.flatten().map(|entry| entry.path().join("status")).collect::<Vec<_>>()
    });
    let of = |path: std::path::PathBuf| -> u64 {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("{} does not tell", path.display()))
    };
    tasks.map(of).sum()
}
