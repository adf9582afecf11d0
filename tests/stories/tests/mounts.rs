//! A thousand mounts; and mounts that come and go while a backup begins. One that goes is no failure of the others; one that comes is never left
//! out of a backup that the host was told is good.

use std::process::Command;
use std::time::Duration;

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Fault, Guest, Moment, Monotonic, Stage, both_drivers, line, our_driver};

/// The driver's limit on a real machine: in time means within it.
const REAL_LIMIT: Duration = Duration::from_secs(15);

/// `new` is a disk, but not (yet) in the mount table.
fn with_a_disk_to_come(stage: Stage) -> Stage {
    let stage = stage.disk("new");
    let new = stage.table_line("new");
    stage.table(|table| table.retain(|mount| *mount != new))
}

fn comes(guest: &mut Guest, disk: &str) {
    let line = guest.stage().table_line(disk);
    guest.table_changes(|table| table.push(line));
}

fn goes(guest: &mut Guest, disk: &str) {
    let line = guest.stage().table_line(disk);
    guest.table_changes(|table| table.retain(|mount| *mount != line));
}

/// The next backup has this many filesystems.
#[track_caller]
fn the_next_backup_holds(guest: &Guest, count: usize) {
    guest.comes_to_allow_backups();
    let freeze = guest.host_sends(Freeze);
    if guest.stage().scratch("gate").exists() {
        guest.hook_goes_on();
    }
    guest.succeeds(freeze);
    guest.comes_to_hold(count);
    guest.host_may(Thaw);
    guest.runs();
}

both_drivers! {
    fn a_thousand_mounts_are_all_judged_and_a_backup_with_them_is_made_in_time(stage: Stage) {
        let jails = (0..1000).map(|jail| line("devfs", &format!("/jails/{jail}/dev")));
        let guest = stage.limit(REAL_LIMIT).disk("data").disk("more").table(|table| table.extend(jails)).start();
        guest.host_may(Check);
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
        // It waits until the scripts are done; from then on the daemon is idle.
        guest.host_may(Check);
        let output = guest.vssctl(&["check"]);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("/jails/0/dev") && told.contains("/jails/999/dev"), "{output:?}");
    }

    fn a_thousand_vetoes_are_told_in_a_few_sentences_and_shown_one_by_one(stage: Stage) {
        let pools = (0..1000).map(|pool| line("zfs", &format!("/tank/{pool}")));
        let stage = stage.limit(REAL_LIMIT).disk("data").table(|table| table.extend(pools));
        let guest = stage.without_writers().start();
        let answered = guest.host_may_not(Check);
        assert!(answered.took < REAL_LIMIT, "by ourselves: {:?}", answered.took);
        guest.host_may_not(Freeze);
        let said = guest.daemon().says(&["CHECK answered FAIL", "/tank/0"]);
        assert!(said.len() < 2_200, "a line of {} bytes", said.len());
        let told = String::from_utf8_lossy(&guest.vssctl(&["check"]).stdout).into_owned();
        assert!(told.contains("/tank/0") && told.contains("/tank/999"), "{told}");
        let history = String::from_utf8_lossy(&guest.vssctl(&["history", "--json"]).stdout).into_owned();
        assert!(history.contains("more reasons") && history.len() < 60_000, "{} bytes of history", history.len());
    }

    fn a_filesystem_that_comes_between_plan_and_suspend_fails_the_freeze_and_is_in_the_next(stage: Stage) {
        let mut guest = with_a_disk_to_come(stage.disk("data").hook_that_waits()).start();
        let freeze = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        comes(&mut guest, "new");
        guest.hook_goes_on();
        guest.fails(freeze);
        guest.daemon().says(&["FREEZE answered FAIL", "/new", "was mounted"]);
        guest.runs();
        the_next_backup_holds(&guest, 2);
    }

    fn a_filesystem_that_comes_between_two_suspends_fails_the_freeze_and_is_in_the_next(stage: Stage) {
        let mut guest = with_a_disk_to_come(stage.disk("data").disk("more")).start();
        // The first mounted is suspended last.
        guest.goes_wrong("data", Moment::Suspend, Fault::DelayMs(400));
        let freeze = guest.host_sends(Freeze);
        guest.comes_to_hold(1);
        comes(&mut guest, "new");
        guest.fails(freeze);
        guest.runs();
        guest.goes_right("data", Moment::Suspend);
        the_next_backup_holds(&guest, 3);
    }

    fn a_filesystem_that_comes_while_the_others_are_held_fails_the_thaw_and_is_in_the_next(stage: Stage) {
        let mut guest = with_a_disk_to_come(stage.disk("data").hook("50-app", "")).start();
        guest.host_may(Freeze);
        comes(&mut guest, "new");
        guest.host_may_not(Thaw);
        guest.daemon().says(&["THAW answered FAIL", "/new", "was mounted"]);
        guest.runs();
        guest.scripts_ran_with(["50-app freeze ok", "50-app thaw aborted"]);
        // Asked again it is no better.
        guest.host_may_not(Thaw);
        the_next_backup_holds(&guest, 2);
    }

    fn a_filesystem_that_is_exempt_may_come_at_any_moment(stage: Stage) {
        let exempt = "[[filesystems.exempt]]\ntype = \"tmpfs\"\nreason = \"builds\"";
        let mut guest = stage.disk("data").hook_that_waits().configured(exempt).start();
        let freeze = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        guest.table_changes(|table| table.push(line("tmpfs", "/build/1")));
        guest.hook_goes_on();
        guest.succeeds(freeze);
        guest.table_changes(|table| table.push(line("tmpfs", "/build/2")));
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_filesystem_that_is_really_unmounted_between_plan_and_suspend_is_no_failure_of_the_others(stage: Stage) {
        let stage = stage.disk("data").disk("gone").hook_that_waits().without_writers();
        let mut guest = stage.start();
        let freeze = guest.host_sends(Freeze);
        guest.script_starts("50-app freeze");
        let done = Command::new("umount").arg(guest.disk("gone")).status();
        assert!(done.is_ok_and(|status| status.success()), "umount");
        goes(&mut guest, "gone");
        guest.hook_goes_on();
        guest.succeeds(freeze);
        guest.comes_to_hold(1);
        guest.host_may(Thaw);
        guest.holds_nothing();
        assert_eq!(guest.frozen_in_order(), ["data"]);
        the_next_backup_holds(&guest, 1);
    }

    fn a_filesystem_that_goes_between_two_suspends_is_no_failure_of_the_others(stage: Stage) {
        let mut guest = stage.disk("gone").disk("data").disk("more").start();
        guest.goes_wrong("data", Moment::Suspend, Fault::DelayMs(400));
        let freeze = guest.host_sends(Freeze);
        guest.comes_to_hold(1);
        goes(&mut guest, "gone");
        guest.succeeds(freeze);
        guest.host_may(Thaw);
        guest.runs();
    }
}

our_driver! {
    fn backups_that_race_with_a_disk_which_comes_and_goes_leave_nothing_out(stage: Stage) {
        const ROUNDS: u32 = 60;
        let mut guest = with_a_disk_to_come(stage.disk("data").disk("more")).without_writers().start();
        guest.host_may(Check);
        let new = guest.stage().table_line("new");
        let (mut seed, mut there) = (20_261_127_u32, false);
        let (mut good, mut refused, mut too_late) = (0, 0, 0);
        for round in 0..ROUNDS {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let freeze = guest.host_sends(Freeze);
            // A moment that only the seed knows: most often between plan and answer, now and then after it.
            std::thread::sleep(Duration::from_micros(u64::from(seed >> 16) % 90_000));
            if there { goes(&mut guest, "new") } else { comes(&mut guest, "new") }
            let changed = hv_vss_platform::clock::now();
            there = !there;
            let answered = guest.answer_within(freeze, Duration::from_secs(20)).expect("the host hears an answer");
            let held = guest.host().state().expect("the machine is there").suspended;
            let is_held = held.iter().any(|holding| holding.fsid == new.fsid);
            if answered.answer.is_ok() {
                let before = changed < Monotonic::from_ns(answered.at_ns);
                assert!(!there || is_held || !before, "round {round}: good, and {} was left out", new.on);
                if there && !is_held {
                    guest.host_may_not(Thaw);
                    too_late += 1;
                } else {
                    guest.host_may(Thaw);
                    good += 1;
                }
            } else {
                assert!(there, "round {round}: a disk that went made the others fail");
                guest.host_may(Thaw);
                refused += 1;
            }
            guest.holds_nothing();
        }
        println!("{good} were good, {refused} refused, {too_late} refused at the THAW");
        assert!(good >= ROUNDS / 4, "{good} were good, {refused} refused, {too_late} refused at the THAW");
    }
}
