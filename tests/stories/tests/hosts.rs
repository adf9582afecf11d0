//! Hosts that crash, hang, lie and stutter.

use std::time::Duration;

use hv_vss_sim::script;
use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Stage, Switches, both_drivers, ic, our_driver};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Plays a script and tells what the host heard at each step that waited: "ok", "fail" or "nothing".
#[track_caller]
fn plays(guest: &Guest, text: &str) -> Vec<&'static str> {
    let steps = script::read(text).expect("the script is right");
    let outcomes = script::play(guest.host(), &steps, |_| ()).expect("the machine is there");
    let heard = outcomes.iter().map(|outcome| match &outcome.answered {
        None => "nothing",
        Some(answered) if answered.answer.is_ok() => "ok",
        Some(_) => "fail",
    });
    heard.collect()
}

both_drivers! {
    fn a_host_that_crashes_after_its_freeze_finds_a_running_guest_when_it_is_back(stage: Stage) {
        let guest = stage.disk("data").time("max_frozen", "500ms").hook("50-app", "").start();
        assert_eq!(plays(&guest, "negotiate\ncheck\nfreeze\n"), ["ok", "ok", "ok"]);
        guest.is_frozen();
        guest.runs();
        // It starts over, as after a reboot of the host.
        assert_eq!(plays(&guest, "negotiate\ncheck\nfreeze\nthaw\n"), ["ok", "ok", "ok", "ok"]);
        guest.runs();
        guest.scripts_ran(["50-app freeze", "50-app thaw", "50-app freeze", "50-app thaw"]);
    }

    fn a_host_that_thaws_what_was_never_frozen_hears_what_is_true(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        assert_eq!(plays(&guest, "thaw\ncheck\nthaw\n"), ["fail", "ok", "fail"]);
        guest.scripts_ran([]);
        assert_eq!(plays(&guest, "freeze\nthaw\nthaw\ncheck\nthaw\n"), ["ok"; 5]);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        guest.runs();
    }

    fn a_host_that_checks_all_the_time_gets_its_answer_each_time(stage: Stage) {
        let guest = stage.disk("data").start();
        let heard = plays(&guest, &"check\n".repeat(25));
        assert_eq!(heard, ["ok"; 25]);
        assert!(guest.children_of_the_daemon().len() <= 4, "{:?}", guest.children_of_the_daemon());
        guest.runs();
    }

    fn a_host_that_says_everything_twice_gets_two_answers(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "").start();
        let heard = plays(&guest, "check\ncheck\nfreeze\nfreeze\nthaw\nthaw\n");
        assert_eq!(heard, ["ok", "ok", "ok", "fail", "ok", "ok"]);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
        guest.runs();
    }

    fn a_negotiation_while_frozen_changes_nothing(stage: Stage) {
        let guest = stage.disk("data").start();
        assert_eq!(plays(&guest, "check\nfreeze\nnegotiate\ndm-info\n"), ["ok", "ok", "ok", "ok"]);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    fn a_host_whose_clock_is_an_hour_off_gets_the_same_answers(stage: Stage) {
        let guest = stage.disk("data").start();
        for shift_ms in [3_600_000, -3_600_000, 10_000, -10_000, 1_000, -1_000] {
            guest.machine(Switches { clock_shift_ms: Some(shift_ms), ..Switches::default() });
            guest.host_may(Check);
            guest.host_may(Freeze);
            guest.is_frozen();
            guest.host_may(Thaw);
            guest.runs();
        }
    }

    fn a_thaw_that_comes_right_after_the_freezes_answer_is_obeyed(stage: Stage) {
        let guest = stage.disk("data").disk("more").hook("50-app", "").start();
        for _ in 0..4 {
            assert_eq!(plays(&guest, "freeze\nthaw\n"), ["ok", "ok"]);
        }
        guest.runs();
    }

    fn a_host_that_holds_the_guest_as_long_as_it_may_hears_success(stage: Stage) {
        let guest = stage.disk("data").time("max_frozen", "1500ms").start();
        assert_eq!(plays(&guest, "freeze\nsleep 1000\nthaw\n"), ["ok", "ok"]);
        guest.runs();
    }

    fn a_host_that_freezes_without_a_check_is_served(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Freeze);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }
}

our_driver! {
    fn garbage_is_answered_or_dropped_and_the_guest_goes_on(stage: Stage) {
        let guest = stage.disk("data").start();
        guest.host_may(Freeze);
        let short = ic::to_hex(&ic::request(ic::FREEZE, 1)[..30]);
        let unknown = ic::to_hex(&ic::request(99, 2));
        let script = format!("patience 300\nraw 00\nraw {short}\nraw {unknown}\nraw {}\n", "ff".repeat(200));
        let heard = plays(&guest, &script);
        assert_eq!(heard[0], "nothing", "a runt has not even an id to answer to");
        assert!(!heard.contains(&"ok"), "{heard:?}");
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.runs();
    }

    fn two_freezes_at_once_are_one_freeze_and_one_failure(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "[ $phase = freeze ] && sleep 0.5; exit 0").start();
        let (first, second) = (guest.host_sends(Freeze), guest.host_sends(Freeze));
        guest.fails(second);
        guest.succeeds(first);
        guest.is_frozen();
        guest.host_may(Thaw);
        guest.scripts_ran(["50-app freeze", "50-app thaw"]);
    }

    fn an_application_beside_the_daemon_is_frozen_first_and_thawed_last(stage: Stage) {
        let guest = stage.disk("data").start();
        let mut app = guest.process();
        app.says("open hv_appvss_dev rw", "fd 3");
        let freeze = guest.host_sends(Freeze);
        let (opt, msgid) = app.takes_a_request(3);
        assert_eq!(opt, 2);
        guest.runs();
        app.says(&format!("write 3 2 0 {msgid}"), "ok");
        guest.succeeds(freeze);
        guest.is_frozen();
        let thaw = guest.host_sends(Thaw);
        let (opt, msgid) = app.takes_a_request(3);
        assert_eq!(opt, 3);
        guest.runs();
        app.says(&format!("write 3 3 0 {msgid}"), "ok");
        guest.succeeds(thaw);
    }

    fn time_an_application_used_up_is_not_planned_with_again(stage: Stage) {
        let guest = stage.disk("data").hook("50-app", "[ $phase = freeze ] && sleep 60; exit 0").start();
        let mut app = guest.process();
        app.says("open hv_appvss_dev rw", "fd 3");
        let freeze = guest.host_sends(Freeze);
        let (_, msgid) = app.takes_a_request(3);
        std::thread::sleep(MS(1500));
        app.says(&format!("write 3 2 0 {msgid}"), "ok");
        let answered = guest.fails(freeze);
        assert!(answered.took < hv_vss_stories::LIMIT - MS(100), "by the daemon, in time: {:?}", answered.took);
        guest.runs();
    }
}
