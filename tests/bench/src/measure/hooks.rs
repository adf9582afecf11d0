//! Eight hooks that take 100 ms each, before one filesystem is frozen. Ours have equal numbers and run at once; qemu-ga's own runner starts one after
//! the other.

use crate::arena::{self, Arena};
use crate::contender::qemu::{HOOK_RUNNER, Hooks};
use crate::contender::{Contender, OURS, Ours, QEMU, Qemu};
use crate::fetch::Peers;
use crate::figure::{Figure, Rounds, median, ms};
use crate::patience;

const HOOKS: usize = 8;
const SCRIPT: &str = "#!/bin/sh\n[ \"$1\" = freeze ] && exec sleep 0.1\nexit 0\n";

/// FREEZE to answer.
pub(crate) fn measure(peers: &Peers, rounds: usize) -> Vec<Figure> {
    let names = arena::names(1);
    let stage = (0..HOOKS).fold(arena::stage().disk(&names[0]), |stage, number| {
        stage.file_in_hooks_d(&format!("50-hook{number}"), SCRIPT, 0o755)
    });
    let mut arena = Arena::on(stage, &names);
    let jail = arena.jail(peers, 1);
    let runner = std::fs::read(peers.qemu_hook_runner()).unwrap_or_else(|error| panic!("no hook runner: {error}"));
    jail.file(HOOK_RUNNER, &runner, 0o755);
    for number in 0..HOOKS {
        jail.file(&format!("{HOOK_RUNNER}.d/50-hook{number}"), SCRIPT.as_bytes(), 0o755);
    }
    let mut qemu = Qemu::start(&jail, Hooks::On);
    let mut ours = Ours(&arena.guest);
    arena.calm_down();
    let mut freeze = Rounds::default();
    for round in 0..=rounds {
        let contenders: [&mut dyn Contender; 2] = [&mut ours, &mut qemu];
        for contender in contenders {
            patience::rest();
            let frozen = contender.freeze();
            contender.thaw();
            if round > 0 {
                freeze.add(contender.name(), ms(frozen));
            }
        }
    }
    for who in [OURS, QEMU] {
        println!("  {HOOKS} hooks, {who:<10} freeze {:8.1} ms", median(freeze.of(who)));
    }
    vec![freeze.against(format!("hooks_{HOOKS}_vs_{QEMU}"), OURS, QEMU, "ms")]
}
