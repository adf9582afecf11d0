//! The plugin and another program at the same pool, as fast as both can: no key of either is lost, and none is seen half old, half new.
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

mod stage;

use std::process::{Command, Stdio};

use stage::*;

/// How many cycles the plugin is told of meanwhile.
const ROUNDS: u32 = 10_000;

#[test]
fn in_10000_rounds_against_a_program_with_the_daemons_locking_no_key_is_lost() {
    let mut stage = Stage::with_pool(&[("Stranger", "keeps still")]);
    let tell = |stage: &mut Stage, round: u32| {
        stage.hears(&record("backup", "ok", &format!("c{round}"), &format!("the reason of c{round}")));
    };
    tell(&mut stage, 0);

    let mut hammer = Command::new(&built().hammer);
    let hammer = hammer.arg("run").arg(stage.file()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut hammer = hammer.spawn().unwrap();
    let began = std::time::Instant::now();
    for round in 1..=ROUNDS {
        tell(&mut stage, round);
        if round % 500 == 0 {
            assert!(hammer.try_wait().unwrap().is_none(), "it ended in round {round}");
        }
    }
    let took = began.elapsed();
    drop(hammer.stdin.take());
    let output = hammer.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    println!("{ROUNDS} rounds of the plugin in {took:?}; the other program: {said}");
    assert!(output.status.success(), "{said}");
    let others: u32 = said.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(others > ROUNDS / 50, "the other program hardly came to its turn: {said}");

    // Its own stale copy may have brought one cycle back; the next word is heard all the same.
    tell(&mut stage, ROUNDS + 1);
    assert_eq!(stage.value("HvVssLastCycle"), format!("c{}", ROUNDS + 1));
    for key in KEYS {
        assert_eq!(stage.pool().iter().filter(|(have, _)| have == key).count(), 1, "{key}");
    }
}
