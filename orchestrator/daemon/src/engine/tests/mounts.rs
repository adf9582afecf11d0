//! Mounting and unmounting that races with CHECK and FREEZE: each change at each place between two inputs, and some hundred backups with changes
//! at places that only a seed knows. What is claimed beside what must always hold: a filesystem that goes is no failure of the others.

use hv_vss_device::Operation::{Check, Freeze, Thaw};

use crate::engine::harness::{Cast, Change, Happening, Harness, Heard};
use Happening::{Asks, Mounts};

/// A whole backup, with these changes, each before the input of its number. Gives how many inputs there were.
fn backup(harness: &mut Harness, changes: &[(usize, Change)]) -> usize {
    let mut inputs = 0;
    for operation in [Check, Freeze, Thaw] {
        let mut next = Some(Asks(operation));
        while let Some(happening) = next {
            for (_, change) in changes.iter().filter(|(at, _)| *at == inputs) {
                harness.happens(Mounts(*change));
            }
            harness.happens(happening);
            harness.invariants();
            inputs += 1;
            next = harness.next_by_itself();
        }
    }
    inputs
}

#[test]
fn a_filesystem_that_is_unmounted_at_any_moment_is_no_failure_of_the_others() {
    let inputs = backup(&mut Harness::new(Cast::default()), &[]);
    for at in 0..inputs {
        for gone in [0, 1] {
            for change in [Change::Unmounted(gone), Change::ReadOnly(gone)] {
                let mut harness = Harness::new(Cast::default());
                backup(&mut harness, &[(at, change)]);
                assert_eq!(
                    harness.heard(),
                    [Heard::Success; 3],
                    "{change:?} before input {at}: {:#?}",
                    harness.story()
                );
            }
        }
    }
}

#[test]
fn a_filesystem_that_is_mounted_at_any_moment_is_held_or_the_backup_is_not_good() {
    let inputs = backup(&mut Harness::new(Cast::default()), &[]);
    let mut refused = 0;
    for at in 0..inputs {
        for changes in [vec![Change::Mounted(5)], vec![Change::Unmounted(0), Change::Mounted(5)]] {
            let mut harness = Harness::new(Cast::default());
            let changes: Vec<(usize, Change)> = changes.into_iter().map(|change| (at, change)).collect();
            backup(&mut harness, &changes);
            // The judge has seen to it that nothing was left out of what was reported good.
            refused += usize::from(harness.heard()[1..].contains(&Heard::Fail));
            // The next one has it.
            let before = harness.heard().len();
            backup(&mut harness, &[]);
            assert_eq!(harness.heard()[before..], [Heard::Success; 3], "{:#?}", harness.story());
            assert!(harness.calls().iter().any(|call| call.what == "freeze /disk5"));
        }
    }
    assert!(refused >= 8, "only {refused} were refused, though there are more places than that between plan and THAW");
}

/// The table names a filesystem that comes back as one of the plan, since its id is the same.
#[test]
fn a_filesystem_that_goes_and_comes_back_at_any_moments_is_held_or_the_backup_is_not_good() {
    let inputs = backup(&mut Harness::new(Cast::default()), &[]);
    let mut refused = 0;
    for gone in 0..inputs {
        for back in gone..inputs {
            for goes in [Change::Unmounted(0), Change::Unmounting(0)] {
                let mut harness = Harness::new(Cast::default());
                backup(&mut harness, &[(gone, goes), (back, Change::Mounted(0))]);
                refused += usize::from(harness.heard()[1..].contains(&Heard::Fail));
                // A backup that was refused may have ended before that.
                harness.happens(Mounts(Change::Mounted(0)));
                let before = harness.heard().len();
                backup(&mut harness, &[]);
                assert_eq!(harness.heard()[before..], [Heard::Success; 3], "{:#?}", harness.story());
            }
        }
    }
    assert!(refused >= 8, "only {refused} were refused, though it was away at its turn more often than that");
}

#[test]
fn a_filesystem_whose_unmount_takes_its_time_is_held_or_the_backup_is_not_good() {
    let inputs = backup(&mut Harness::new(Cast::default()), &[]);
    let mut refused = 0;
    for at in 0..inputs {
        for ends in at..inputs {
            let mut harness = Harness::new(Cast::default());
            backup(&mut harness, &[(at, Change::Unmounting(0)), (ends, Change::Unmounted(0))]);
            refused += usize::from(harness.heard().contains(&Heard::Fail));
        }
    }
    assert!(refused >= 8, "only {refused} were refused, though it was hidden before its turn more often than that");
}

#[test]
fn five_hundred_backups_while_disks_come_and_go_leave_nothing_out_and_nothing_held() {
    let mut seed = 20_261_127_u32;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % below
    };
    let mut harness = Harness::new(Cast::default());
    let (mut good, mut refused) = (0, 0);
    for round in 0..500 {
        let mut changes = Vec::new();
        for _ in 0..random(4) {
            let disk = u8::try_from(random(6)).expect("small");
            let change = match random(6) {
                0 | 1 => Change::Mounted(disk),
                2 | 3 => Change::Unmounted(disk),
                4 => Change::ReadOnly(disk),
                _ => Change::Writable(disk),
            };
            changes.push((usize::try_from(random(24)).expect("small"), change));
        }
        let before = harness.heard().len();
        backup(&mut harness, &changes);
        assert_eq!(harness.status().expect("it goes on").state, "idle", "round {round}");
        if harness.heard()[before..] == [Heard::Success; 3] { good += 1 } else { refused += 1 }
    }
    println!("{good} were good, {refused} were not");
    assert!(
        good >= 100 && refused >= 20,
        "{good} were good, {refused} were not: the changes don't race with the backups"
    );
}

#[test]
fn two_hundred_filesystems_are_all_held_and_all_let_go() {
    let mut harness = Harness::new(Cast { disks: 200, ..Cast::default() });
    backup(&mut harness, &[]);
    assert_eq!(harness.heard(), [Heard::Success; 3]);
    let count = |what: &str| harness.calls().iter().filter(|call| call.what.starts_with(what)).count();
    assert_eq!((count("freeze /disk"), count("thaw /disk")), (200, 200));
}
