//! Any story, played to the real engine in its harness: requests of the host, plugins that refuse, die, hang, lie or babble, mounts that come and go,
//! clocks that jump, a disk that stalls, operators. After each happening everything that must hold at any time holds; and when everybody does as he
//! is asked again, the engine comes to rest.
//!
//! The first byte chooses the cast, then each three bytes are a happening.
#![no_main]

use hv_vss_daemon::engine::harness::{Cast, Happening, Harness, Part, Reaction, Trouble};
use hv_vss_device::Driver;
use libfuzzer_sys::fuzz_target;

/// A story that is longer says nothing new, and takes its time.
const LONGEST: usize = 120;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let mut harness = Harness::new(cast(*first));
    let (happenings, _) = rest.as_chunks::<3>();
    for bytes in happenings.iter().take(LONGEST) {
        harness.happens(Happening::of(*bytes));
        harness.invariants();
    }
    comes_to_rest(&mut harness);
});

fn cast(first: u8) -> Cast {
    let app = |name: &str, number| Part::app(name, number);
    let parts = match first / 2 % 4 {
        0 => return Cast { driver: driver(first), ..Cast::default() },
        1 => vec![app("a", 10), app("b", 10), Part::fifreeze()],
        2 => vec![Part::scripts("exec_hook", 50, &["10-a", "10-b", "90-c"]), Part::ufs(), second(Part::fifreeze())],
        _ => vec![Part::ufs(), Part::observer("watch"), Part::observer("look")],
    };
    Cast { driver: driver(first), parts, disks: 1 + first / 8 % 3, ..Cast::default() }
}

/// Asked after the other one.
fn second(part: Part) -> Part {
    Part { name: "fifreeze".to_owned(), number: 60, ..part }
}

fn driver(first: u8) -> Driver {
    if first.is_multiple_of(2) { Driver::Ours } else { Driver::Base }
}

/// Whoever is stuck comes free, everybody answers, and enough time passes for what nobody answers.
fn comes_to_rest(harness: &mut Harness) {
    harness.happens(Happening::NoProcesses(false));
    harness.happens(Happening::DiskGoesOn);
    for _ in 0..4 {
        for plugin in 0..3 {
            harness.happens(Happening::NextStarts(plugin, Reaction::Well));
            harness.happens(Happening::Misbehaves(plugin, Trouble::ComesFree));
        }
        harness.all_answer();
        harness.invariants();
        // A worker that is given a pause is asked only afterwards, and for less than two seconds: long waits alone can miss it each time.
        for _ in 0..4 {
            harness.happens(Happening::Passes { ms: 1_000 });
            harness.all_answer();
            harness.invariants();
        }
        harness.happens(Happening::Passes { ms: 120_000 });
        harness.all_answer();
        harness.invariants();
    }
    let rests = harness.status().is_none_or(|status| status.state == "idle");
    assert!(
        rests,
        "it finds no rest: {:?} after {:#?}",
        harness.status().map(|status| (status.state, status.held)),
        harness.story()
    );
}
