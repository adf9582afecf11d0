//! A clock that jumps, or a machine that sleeps, between any two inputs of the engine: every place in every standard history, and every order in
//! which daemon and plugins may wake. Enumerated, not sampled.
//!
//! The wall clock decides nothing but how long a request had waited when it was read. What is held, and for how long, only the monotonic clock
//! decides: if it has counted the sleep, what became due meanwhile is done at the first wake, before anything that lies in the queue.

use hv_vss_device::Driver;
use hv_vss_device::Operation::{Check, Freeze, Thaw};

use crate::engine::harness::{Cast, Change, Happening, Harness, Heard, Part, Reaction, Trouble, Wish};
use Happening::{
    Answers, AskedAgo, Asks, Misbehaves, MonotonicJumps, Mounts, Operator, Passes, Sleeps, WallClockStepsBy,
};
use hv_vss_core::record::{CycleResult, Kind, Record};

const HOUR_MS: i32 = 3_600_000;
/// By their names' order: app, exec_hook, ufs.
const APP: u8 = 0;
const UFS: u8 = 2;

type Story = fn(&mut Teller);

/// The histories. Each is told with all its inputs one by one.
const STORIES: &[(&str, Story)] = &[
    ("a CHECK", |told| {
        told.and_all_answer(Asks(Check));
    }),
    ("a backup", |told| {
        told.and_all_answer(Asks(Check));
        told.and_all_answer(Asks(Freeze));
        told.and_all_answer(Asks(Thaw));
    }),
    ("a FREEZE that is refused before anything was touched", |told| {
        told.happens(Mounts(Change::Unreadable(true)));
        told.and_all_answer(Asks(Freeze));
        told.happens(Mounts(Change::Unreadable(false)));
        told.and_all_answer(Asks(Thaw));
    }),
    ("a FREEZE that a filesystem refuses", |told| {
        told.happens(Asks(Freeze));
        told.until_called("freeze /disk0");
        told.and_all_answer(Answers(UFS, Reaction::Refuses));
        told.and_all_answer(Asks(Thaw));
    }),
    ("a THAW during the FREEZE", |told| {
        told.happens(Asks(Freeze));
        told.until_called("freeze app");
        told.and_all_answer(Asks(Thaw));
    }),
    ("a host that never thaws", |told| {
        told.and_all_answer(Asks(Freeze));
        told.and_all_answer(Passes { ms: 60_000 });
        told.and_all_answer(Asks(Thaw));
    }),
    ("a plugin that dies while everything is held", |told| {
        told.and_all_answer(Asks(Freeze));
        told.and_all_answer(Misbehaves(APP, Trouble::Dies));
        told.and_all_answer(Asks(Thaw));
    }),
    ("an operator's thaw", |told| {
        told.and_all_answer(Asks(Freeze));
        told.and_all_answer(Operator(Wish::Thaw));
        told.and_all_answer(Asks(Thaw));
    }),
    ("a rehearsal", |told| {
        told.and_all_answer(Operator(Wish::Rehearse { hold_ms: 5_000, freeze: true }));
        told.and_all_answer(Passes { ms: 5_000 });
    }),
    ("a rehearsal that a FREEZE ends", |told| {
        told.and_all_answer(Operator(Wish::Rehearse { hold_ms: 5_000, freeze: true }));
        told.and_all_answer(Asks(Freeze));
        told.and_all_answer(Asks(Thaw));
    }),
    ("a stop while everything is held", |told| {
        told.and_all_answer(Asks(Freeze));
        told.and_all_answer(Operator(Wish::Stop));
    }),
];

/// What jumps.
const JUMPS: &[Happening] = &[
    WallClockStepsBy { ms: HOUR_MS },
    WallClockStepsBy { ms: -HOUR_MS },
    Sleeps { ms: 3_000, counted: true },
    Sleeps { ms: 3_600_000, counted: true },
    MonotonicJumps { ms: 3_000 },
    MonotonicJumps { ms: 3_600_000 },
];

/// When the jump comes, beside an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Before it.
    Before,
    /// The input lies in the queue, and nobody has taken notice of it.
    WhileItIsQueued,
    /// The same, and the plugins wake first: they let go of what has expired.
    WhileItIsQueuedAndPluginsWakeFirst,
    /// If it is a request: the driver has taken it from the host, and it is not yet read.
    WhileItIsInTheDriver,
}

impl When {
    /// Plugins let go by themselves only after a long sleep. Whether the wall clock went on in a sleep can matter only to a request that is in the
    /// driver.
    fn makes_a_difference(self, jump: &Happening) -> bool {
        match (self, jump) {
            (Self::WhileItIsInTheDriver, _) => true,
            (_, MonotonicJumps { .. }) => false,
            (Self::WhileItIsQueuedAndPluginsWakeFirst, _) => parts(jump).0 > 60_000,
            _ => true,
        }
    }
}

/// Tells one history, with a jump at one place.
struct Teller {
    harness: Harness,
    jump: Option<(usize, When, Happening)>,
    inputs: usize,
}

impl Teller {
    fn happens(&mut self, happening: Happening) {
        let here = self.jump.take_if(|(at, ..)| *at == self.inputs);
        self.inputs += 1;
        match here {
            None => self.harness.happens(happening),
            Some((_, When::Before, jump)) => {
                self.harness.happens(jump);
                self.harness.invariants();
                self.harness.happens(happening);
            }
            Some((_, When::WhileItIsQueued, jump)) => self.harness.happen_at_once([happening, jump]),
            Some((_, When::WhileItIsQueuedAndPluginsWakeFirst, jump)) => {
                let wake = (APP..=UFS).map(|plugin| Misbehaves(plugin, Trouble::LetsGo));
                self.harness.happen_at_once([happening, jump].into_iter().chain(wake));
            }
            Some((_, When::WhileItIsInTheDriver, jump)) => {
                let (monotonic_ms, stepped_ms) = parts(&jump);
                match happening {
                    Asks(operation) => {
                        self.harness.happens(MonotonicJumps { ms: monotonic_ms });
                        self.harness.happens(WallClockStepsBy { ms: stepped_ms });
                        let slept_ms = i32::try_from(monotonic_ms).expect("an hour at the most");
                        let stepped_ms = stepped_ms - slept_ms;
                        self.harness.happens(AskedAgo { operation, ms: monotonic_ms + 20, stepped_ms });
                    }
                    other => self.harness.happens(other),
                }
            }
        }
        // Before the jump it is the same history as all the others, and was judged there.
        if self.jump.is_none() {
            self.harness.invariants();
        }
    }

    fn and_all_answer(&mut self, happening: Happening) {
        self.happens(happening);
        while let Some(next) = self.harness.next_by_itself() {
            self.happens(next);
        }
    }

    /// Everybody does as he is asked, until this is asked for (or never will be).
    fn until_called(&mut self, what: &str) {
        while !self.harness.calls().iter().any(|call| call.what == what)
            && let Some(next) = self.harness.next_by_itself()
        {
            self.happens(next);
        }
    }
}

/// How far the monotonic and the wall clock go on in a jump, in milliseconds.
fn parts(jump: &Happening) -> (u32, i32) {
    match jump {
        WallClockStepsBy { ms } => (0, *ms),
        Sleeps { ms, .. } => (*ms, i32::try_from(*ms).expect("an hour at the most")),
        MonotonicJumps { ms } => (*ms, 0),
        other => panic!("{other:?} is no jump"),
    }
}

fn cast(driver: Driver) -> Cast {
    // The plugin whose holds outlive it takes its turn with the other.
    let filesystems = if driver == Driver::Base { Part::fifreeze() } else { Part::ufs() };
    let parts = vec![Part::app("app", 20), Part::scripts("exec_hook", 50, &["10-first"]), filesystems];
    Cast { driver, parts, ..Cast::default() }
}

fn tell(driver: Driver, story: Story, jump: Option<(usize, When, Happening)>) -> Teller {
    let mut teller = Teller { harness: Harness::new(cast(driver)), jump, inputs: 0 };
    story(&mut teller);
    teller
}

/// Whatever happened, the next backup is as good as any.
fn and_the_next_backup_is_good(harness: &mut Harness) {
    if harness.has_ended() {
        return;
    }
    // Whoever was killed for being late is started again at the next CHECK, or is in his pause before that.
    harness.all_answer();
    let before = harness.heard().len();
    for operation in [Check, Freeze, Thaw] {
        harness.happens(Asks(operation));
        harness.all_answer();
        harness.invariants();
    }
    assert_eq!(harness.heard()[before..], [Heard::Success; 3], "{:#?}", harness.story());
    assert_eq!(harness.status().expect("it goes on").state, "idle");
}

/// What the history says of backups agrees with what the host heard.
fn the_history_knows_what_the_host_heard(harness: &Harness) {
    let heard = harness.heard();
    for record in harness.history() {
        let good = record.ending.result == Some(CycleResult::Ok);
        if record.kind == Kind::Backup && good {
            let successes = heard.iter().filter(|heard| **heard == Heard::Success).count();
            assert!(
                successes >= 2,
                "{} is kept as good, and the host heard {heard:?}: {:#?}",
                record.cycle,
                harness.story()
            );
        }
    }
}

/// Every jump at every place of every history.
fn at_every_place(driver: Driver, mut judge: impl FnMut(&str, &Happening, When, &Heards, &mut Harness)) {
    let mut told = 0;
    for (name, story) in STORIES {
        let undisturbed = tell(driver, *story, None);
        let (inputs, heard) = (undisturbed.inputs, undisturbed.harness.heard());
        let whens =
            [When::Before, When::WhileItIsQueued, When::WhileItIsQueuedAndPluginsWakeFirst, When::WhileItIsInTheDriver];
        for place in 0..inputs {
            for jump in JUMPS {
                for when in whens.into_iter().filter(|when| when.makes_a_difference(jump)) {
                    let mut teller = tell(driver, *story, Some((place, when, jump.clone())));
                    teller.harness.all_answer();
                    teller.harness.invariants();
                    judge(name, jump, when, &heard, &mut teller.harness);
                    // The driver in base tells nobody that it had given up on what it then lets us read.
                    if driver == Driver::Ours || when != When::WhileItIsInTheDriver {
                        the_history_knows_what_the_host_heard(&teller.harness);
                    }
                    if parts(jump).0 > 0 {
                        and_the_next_backup_is_good(&mut teller.harness);
                    }
                    told += 1;
                }
            }
        }
    }
    println!("{told} histories");
    assert!(told > 1_000, "only {told} histories were told");
}

type Heards = Vec<Heard>;

fn whatever_jumps_all_that_must_hold_holds(driver: Driver) {
    at_every_place(driver, |name, jump, when, undisturbed, harness| {
        let heard = harness.heard();
        if let WallClockStepsBy { .. } = jump {
            assert_eq!(
                heard,
                *undisturbed,
                "{name}: the wall clock decides nothing ({when:?}): {:#?}",
                harness.story()
            );
        }
    });
}

#[test]
fn at_every_place_of_every_history_all_that_must_hold_holds_whatever_jumps_with_our_driver() {
    whatever_jumps_all_that_must_hold_holds(Driver::Ours);
}

#[test]
fn at_every_place_of_every_history_all_that_must_hold_holds_whatever_jumps_with_the_driver_in_base() {
    whatever_jumps_all_that_must_hold_holds(Driver::Base);
}

#[track_caller]
fn frozen(driver: Driver) -> Harness {
    let mut harness = Harness::new(cast(driver));
    harness.happens(Asks(Freeze));
    harness.all_answer();
    assert_eq!(harness.status().expect("it goes on").state, "frozen");
    harness
}

#[track_caller]
fn ends(harness: &mut Harness, heard: Heard, result: CycleResult) {
    harness.all_answer();
    harness.invariants();
    assert_eq!(harness.heard(), [Heard::Success, heard]);
    let backups = |record: &Record| record.kind == Kind::Backup;
    let last = harness.history().into_iter().rfind(backups).expect("it was kept");
    assert_eq!(last.ending.result, Some(result), "{}", last.ending.sentence);
}

#[test]
fn a_hold_that_was_longer_than_max_frozen_is_no_good_backup_whoever_wakes_first() {
    for driver in [Driver::Ours, Driver::Base] {
        let asleep = Sleeps { ms: 3_600_000, counted: true };
        let mut daemon_first = frozen(driver);
        daemon_first.happen_at_once([asleep.clone(), Asks(Thaw)]);
        ends(&mut daemon_first, Heard::Fail, CycleResult::Expired);

        let mut plugins_first = frozen(driver);
        let wake = (APP..=UFS).map(|plugin| Misbehaves(plugin, Trouble::LetsGo));
        plugins_first.happen_at_once([asleep].into_iter().chain(wake).chain([Asks(Thaw)]));
        ends(&mut plugins_first, Heard::Fail, CycleResult::Expired);
    }
}

#[test]
fn a_sleep_that_the_monotonic_clock_did_not_count_was_no_time_for_anybody_and_the_backup_is_good() {
    for driver in [Driver::Ours, Driver::Base] {
        let mut harness = frozen(driver);
        harness.happen_at_once([Sleeps { ms: 3_600_000, counted: false }, Asks(Thaw)]);
        ends(&mut harness, Heard::Success, CycleResult::Ok);
    }
}

#[test]
fn a_freeze_whose_time_ran_out_in_the_machines_sleep_fails_at_the_first_wake_and_lets_go() {
    for driver in [Driver::Ours, Driver::Base] {
        let mut harness = Harness::new(cast(driver));
        harness.happens(Asks(Freeze));
        while !harness.calls().iter().any(|call| call.what == "freeze /disk0") {
            harness.happens(harness.next_by_itself().expect("it goes on to the last filesystem"));
        }
        // The word that the last one is held lies in the queue already: it is late all the same.
        harness.happen_at_once([Answers(UFS, Reaction::Well), Sleeps { ms: 3_600_000, counted: true }]);
        harness.all_answer();
        harness.invariants();
        assert_eq!(harness.heard(), [Heard::GaveUp]);
        assert_eq!(harness.history().pop().expect("it was kept").ending.result, Some(CycleResult::Failed));
        assert_eq!(harness.status().expect("it goes on").state, "idle");
    }
}

#[test]
fn a_cycle_in_a_second_that_the_clock_brings_again_has_a_name_of_its_own() {
    let mut harness = Harness::new(cast(Driver::Ours));
    for _ in 0..3 {
        harness.happens(Asks(Check));
        harness.all_answer();
        harness.happens(Passes { ms: 3_600_000 });
        harness.happens(WallClockStepsBy { ms: -HOUR_MS });
    }
    let names: Vec<String> = harness.history().into_iter().map(|record| record.cycle).collect();
    assert_eq!(names, ["20261127-120000", "20261127-120000.1", "20261127-120000.2"]);
}
