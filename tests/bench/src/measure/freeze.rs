//! From the host's FREEZE to its answer, and from its THAW to its answer, without hooks and with nothing dirty: what the tool itself adds to what the
//! kernel takes.

use crate::arena::Arena;
use crate::contender::qemu::Hooks;
use crate::contender::{BARE, Bare, Contender, LINUX, Linux, OURS, Ours, QEMU, Qemu};
use crate::fetch::Peers;
use crate::figure::{Figure, Rounds, Series, median, ms};
use crate::measure::growth;
use crate::patience;

/// Each number of filesystems with its number of rounds, all on one set of disks.
pub(crate) fn measure(peers: &Peers, plan: &[(usize, usize)]) -> (Vec<Figure>, Vec<Series>) {
    let most = plan.iter().map(|(count, _)| *count).max().unwrap_or(0);
    let mut arena = Arena::with_disks(most);
    let (mut figures, mut points) = (Vec::new(), Vec::new());
    for (count, rounds) in plan {
        let (freeze, thaw, both) = contest(&mut arena, peers, *count, *rounds);
        points.push((*count, median(freeze.of(OURS))));
        for (what, rounds) in [("freeze", freeze), ("thaw", thaw), ("freeze_and_thaw", both)] {
            for peer in [BARE, QEMU, LINUX] {
                figures.push(rounds.against(format!("{what}_{count}_vs_{peer}"), OURS, peer, "ms"));
            }
        }
    }
    if points.len() > 2 {
        figures.push(growth::against_a_line("growth_filesystems", &points, 1));
    }
    (figures, vec![growth::series("filesystems", &points)])
}

fn contest(arena: &mut Arena, peers: &Peers, count: usize, rounds: usize) -> (Rounds, Rounds, Rounds) {
    arena.use_first(count);
    let jail = arena.jail(peers, count);
    let (mut bare, mut qemu) = (Bare::start(&jail), Qemu::start(&jail, Hooks::Off));
    let mut linux = Linux::start(&jail, arena.vmbus());
    let mut ours = Ours(&arena.guest);
    arena.calm_down();
    let (mut freeze, mut thaw, mut both) = (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 0..=rounds {
        let contenders: [&mut dyn Contender; 4] = [&mut ours, &mut bare, &mut qemu, &mut linux];
        for contender in contenders {
            patience::rest();
            let (frozen, thawed) = (contender.freeze(), contender.thaw());
            // The first round warms all of them up.
            if round > 0 {
                freeze.add(contender.name(), ms(frozen));
                thaw.add(contender.name(), ms(thawed));
                both.add(contender.name(), ms(frozen + thawed));
            }
        }
    }
    for who in [OURS, BARE, QEMU, LINUX] {
        println!(
            "  {count:>4} filesystems, {who:<10} freeze {:8.2} ms, thaw {:8.2} ms",
            median(freeze.of(who)),
            median(thaw.of(who))
        );
    }
    (freeze, thaw, both)
}
