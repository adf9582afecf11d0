//! The longest pause a writer sees when a backup comes while the processors have other work: eight filesystems, nothing dirty, four threads that never
//! sleep on each processor. Whoever freezes then waits for his turn, and the writers with him.

use std::time::Duration;

use crate::arena::Arena;
use crate::busy::{Burners, Busy};
use crate::contender::qemu::Hooks;
use crate::contender::{BARE, Bare, Contender, LINUX, Linux, OURS, Ours, QEMU, Qemu};
use crate::fetch::Peers;
use crate::figure::{Figure, Rounds, median, ms};
use crate::patience;

const DISKS: usize = 8;
/// Threads for each processor.
const BURNERS: usize = 4;
/// After the THAW, for a pause that is not over yet.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// The stall.
pub(crate) fn measure(peers: &Peers, rounds: usize) -> Vec<Figure> {
    let mut arena = Arena::with_disks(DISKS);
    let jail = arena.jail(peers, DISKS);
    let (mut bare, mut qemu) = (Bare::start(&jail), Qemu::start(&jail, Hooks::Off));
    let mut linux = Linux::start(&jail, arena.vmbus());
    let busy = Busy::start(arena.directories());
    let mut ours = Ours(&arena.guest);
    arena.calm_down();
    let burners = Burners::start(BURNERS);
    let mut stall = Rounds::default();
    for round in 0..=rounds {
        let contenders: [&mut dyn Contender; 4] = [&mut ours, &mut bare, &mut qemu, &mut linux];
        for contender in contenders {
            patience::rest();
            busy.longest_pause();
            contender.freeze();
            contender.thaw();
            std::thread::sleep(AFTERWARDS);
            let pause = busy.longest_pause();
            if round > 0 {
                stall.add(contender.name(), ms(pause));
            }
        }
    }
    drop(burners);
    drop(busy);
    for who in [OURS, BARE, QEMU, LINUX] {
        println!("  {who:<10} stall {:9.1} ms", median(stall.of(who)));
    }
    [BARE, QEMU, LINUX].map(|peer| stall.against(format!("busy_stall_vs_{peer}"), OURS, peer, "ms")).into()
}
