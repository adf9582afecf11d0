//! The pool and another program that keeps the locking rule, as fast as both can: no key is lost.
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

mod stage;

use std::process::{Command, Stdio};

use hv_vss_kvp_pool::Change;
use stage::*;

const ROUNDS: u32 = 10_000;
const OWN: usize = 8;

#[test]
fn in_10000_rounds_beside_another_writer_no_pair_of_either_is_lost() {
    let stage = Stage::new();
    set(&stage.file(), "Stranger", "keeps still");
    let mut hammer = Command::new(hammer());
    let hammer = hammer.arg("careful").arg(stage.file()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut hammer = hammer.spawn().unwrap();

    let mut expected: [Option<String>; OWN] = Default::default();
    let key = |own: usize| format!("Ours{own}");
    for round in 1..=ROUNDS {
        let mut pool = stage.pool().lock(&soon()).unwrap();
        for (own, value) in expected.iter().enumerate() {
            let is = pool.records().get(&key(own)).map(|value| String::from_utf8(value.to_vec()).unwrap());
            assert_eq!(&is, value, "{} in round {round}", key(own));
        }
        let own = (round.wrapping_mul(2_654_435_761) >> 20) as usize % OWN;
        expected[own] = (round % 4 != 0).then(|| format!("{round} {}", "*".repeat(round as usize % 900)));
        let change = Change { key: key(own), value: expected[own].clone() };
        pool.change(&[change]).unwrap();
        drop(pool);
        if round % 500 == 0 {
            assert!(hammer.try_wait().unwrap().is_none(), "it ended in round {round}");
        }
    }
    drop(hammer.stdin.take());
    let output = hammer.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let others: u32 = said.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(others > ROUNDS / 50, "the other program hardly came to its turn: {said}");
    let pairs = list(&stage.file());
    for (own, value) in expected.iter().enumerate() {
        let is = pairs.iter().find(|(have, _)| *have == key(own)).map(|(_, value)| value);
        assert_eq!(is, value.as_ref(), "{}", key(own));
    }
}
