//! The longest pause a busy writer sees when a backup comes while much is dirty and the storage is slow. Whoever flushes while writers still run
//! makes them stand still only for the rest.
//!
//! A writer's pauses count from before the FREEZE until after the THAW, those during the flush included; the host holds the guest for no time at all.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::arena::{self, Arena};
use crate::busy::Busy;
use crate::contender::qemu::Hooks;
use crate::contender::{Contender, LINUX, Linux, OURS, Ours, QEMU, Qemu};
use crate::fetch::Peers;
use crate::figure::{Figure, Rounds, median, ms};
use crate::patience;
use crate::slow::Slow;

const DISKS: usize = 8;
const DIRTY_MIB: usize = 64;
const IMAGE: u64 = 128 << 20;
const BYTES_PER_SECOND: u64 = 100_000_000;
/// After the THAW, for a pause that is not over yet.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// Stall, and FREEZE to answer under the same load.
pub(crate) fn measure(peers: &Peers, rounds: usize) -> Vec<Figure> {
    let names = arena::names(DISKS);
    let stage = arena::stage();
    let slow = Slow::mount(&stage.scratch("slow"), &stage.scratch("slow-store"), &names, IMAGE);
    let stage = names.iter().fold(stage, |stage, name| stage.disk_on_the_image(name, &slow.image(name)));
    let mut arena = Arena::on(stage, &names);
    let jail = arena.jail(peers, DISKS);
    let mut qemu = Qemu::start(&jail, Hooks::Off);
    let mut linux = Linux::start(&jail, arena.vmbus());
    let data: Vec<File> = arena.directories().map(data_file).collect();
    let busy = Busy::start(arena.directories());
    let mut ours = Ours(&arena.guest);
    arena.calm_down();
    let (mut stall, mut freeze) = (Rounds::default(), Rounds::default());
    for round in 1..=rounds {
        let contenders: [&mut dyn Contender; 3] = [&mut ours, &mut qemu, &mut linux];
        for contender in contenders {
            patience::rest();
            data.iter().for_each(|file| make_dirty(file, round));
            busy.longest_pause();
            slow.hold_to(BYTES_PER_SECOND);
            let before = slow.written();
            let frozen = contender.freeze();
            let written = slow.written() - before;
            contender.thaw();
            std::thread::sleep(AFTERWARDS);
            let pause = busy.longest_pause();
            slow.hold_to(0);
            let enough = (DISKS * DIRTY_MIB) as u64 * 9 / 10;
            assert!(
                written >> 20 >= enough,
                "only {} MiB were written before the answer: nothing was dirty",
                written >> 20
            );
            stall.add(contender.name(), ms(pause));
            freeze.add(contender.name(), ms(frozen));
        }
    }
    for who in [OURS, QEMU, LINUX] {
        println!("  {who:<10} stall {:9.1} ms, freeze {:9.1} ms", median(stall.of(who)), median(freeze.of(who)));
    }
    drop(busy);
    let figures = [QEMU, LINUX].into_iter().flat_map(|peer| {
        let name = |what: &str| format!("{what}_vs_{peer}");
        [stall.against(name("stall"), OURS, peer, "ms"), freeze.against(name("stall_freeze"), OURS, peer, "ms")]
    });
    let figures = figures.collect();
    drop((qemu, linux));
    drop(arena);
    figures
}

fn data_file(disk: &Path) -> File {
    let path = disk.join("data");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
    let file = file.unwrap_or_else(|error| panic!("can't make {}: {error}", path.display()));
    // Allocated once, so that each round overwrites.
    make_dirty(&file, 0);
    file.sync_all().unwrap_or_else(|error| panic!("can't write {}: {error}", path.display()));
    file
}

fn make_dirty(file: &File, round: usize) {
    let chunk = vec![u8::try_from(round % 251).unwrap_or(0); 1 << 20];
    for at in 0..DIRTY_MIB {
        file.write_all_at(&chunk, (at << 20) as u64).unwrap_or_else(|error| panic!("can't make data dirty: {error}"));
    }
}
