//! hv_kvp_daemon beside hv_vss_daemon: the host's requests answered in time, and no THAW delayed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hv_vss_sim::kvp::message::{self, Answer, HV_S_CONT};
use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Answered, Guest, Kind, Signal, Stage, both_drivers, ic, pool, wait_for};

/// How long any answer may take.
const IN_TIME: Duration = Duration::from_secs(4);
/// No answer is to come sooner.
const LEAST: Duration = Duration::from_millis(2);

/// A guest whose pools lie on a disk that is frozen, and their directory.
fn with_pools(stage: Stage) -> (Guest, PathBuf) {
    let stage = stage.disk("data");
    let directory = stage.scratch("data").join("hyperv/pool");
    let mut guest = stage.start();
    guest.kvp_starts(&directory, &[]);
    (guest, directory)
}

#[track_caller]
fn in_time(answered: &Answered) -> Answer {
    assert!(answered.took >= LEAST && answered.took < IN_TIME, "answered after {:?}", answered.took);
    message::read(&answered.bytes)
}

#[track_caller]
fn asks(guest: &Guest, bytes: &[u8]) -> Answer {
    in_time(&guest.kvp_answers(bytes))
}

#[track_caller]
fn has(guest: &Guest, pool: u8, key: &str, value: &str) {
    let answer = asks(guest, &message::get(pool, key));
    assert_eq!((answer.status, answer.value.as_str()), (0, value), "{key}");
}

fn written(directory: &Path, pool: u8) -> Vec<u8> {
    fs::read(directory.join(format!(".kvp_pool_{pool}"))).unwrap_or_default()
}

both_drivers! {
    fn kvp_requests_during_a_freeze_are_answered_from_memory_and_delay_no_thaw(stage: Stage) {
        let (guest, directory) = with_pools(stage);
        asks(&guest, &message::set(0, "Before", "kept"));
        guest.host_may(Freeze);
        guest.is_frozen();
        let before = written(&directory, 0);
        assert!(!before.is_empty());
        for round in 0..10 {
            let key = format!("Key{round}");
            assert_eq!(asks(&guest, &message::set(0, &key, "set while frozen")).status, 0);
            has(&guest, 0, &key, "set while frozen");
        }
        assert_eq!(asks(&guest, &message::delete(0, "Before")).status, 0);
        assert_eq!(asks(&guest, &message::enumerate(2, 5)).key, "OSName");
        assert!(written(&directory, 0) == before, "the pool was written while its disk was frozen");
        // The host asks once more, and thaws in the same moment.
        let sent = guest.kvp_sends(&message::set(0, "Last", "of all"));
        let thawed = guest.host_may(Thaw);
        println!("{:?}: THAW beside a KVP request took {:?}", guest.stage().driver(), thawed.took);
        assert!(thawed.took < Duration::from_secs(1), "the THAW took {:?}", thawed.took);
        in_time(&guest.answer_within(sent, IN_TIME).expect("an answer"));
        guest.runs();
        wait_for("what was set to be written", || {
            let bytes = written(&directory, 0);
            let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            has(b"Key0\0") && has(b"Key9\0") && has(b"Last\0") && !has(b"Before\0")
        });
        guest.holds_no_panic();
    }

    fn a_hostile_host_is_answered_whatever_it_asks(stage: Stage) {
        let (guest, _) = with_pools(stage);
        let fields = [0_u8, 1, 0x7f, 0xff];
        for operation in (0..=7).chain([127, 255]) {
            for pool in [0, 1, 2, 3, 4, 5, 6, 255] {
                for fill in fields {
                    let mut bytes = message::empty(operation, pool);
                    bytes[ic::HEADER + 2..].fill(fill);
                    let answered = guest.kvp_answers(&bytes);
                    assert!(answered.took < IN_TIME, "{operation} {pool} {fill}: {:?}", answered.took);
                }
            }
        }
        // Requests without an answer do not exist: the driver gives up on none of these.
        for length in [0, 1, 253, 254, 255] {
            let key = "k".repeat(length);
            let expected = if length == 0 { ic::HV_E_FAIL } else { 0 };
            assert_eq!(asks(&guest, &message::set(1, &key, &"v".repeat(4 * length))).status, expected, "{length}");
        }
        // A negotiation may come again at any time.
        let offer = guest.kvp_sends(&ic::negotiation(&[(1, 0), (3, 0)], &[(3, 0), (4, 0)], 9));
        assert!(guest.answer_within(offer, IN_TIME).expect("an answer").answer.is_ok());
        asks(&guest, &message::set(1, "Host", "a"));
        asks(&guest, &message::set(1, "HostName", "b"));
        has(&guest, 1, "Host", "a");
        assert_eq!(asks(&guest, &message::get(1, "HostN")).status, HV_S_CONT);
        assert_eq!(asks(&guest, &message::set_ip("lo", "10.0.0.2; reboot", "255.0.0.0")).status, ic::HV_ERROR_NOT_SUPPORTED);
        guest.holds_no_panic();
    }

    fn a_daemon_that_is_killed_is_followed_by_one_that_knows_all_and_a_second_one_is_told_why_not(stage: Stage) {
        let (mut guest, directory) = with_pools(stage);
        asks(&guest, &message::set(0, "Kept", "value"));
        guest.kvp().signal(Signal::SIGKILL);
        guest.kvp_is_gone();
        guest.kvp_starts(&directory, &[]);
        has(&guest, 0, "Kept", "value");
        // What another program writes is seen by the next request.
        let mut record = [0; 2560];
        record[..5].copy_from_slice(b"Other");
        record[512..517].copy_from_slice(b"value");
        fs::write(directory.join(".kvp_pool_1"), record).expect("the pool");
        has(&guest, 1, "Other", "value");
        let pairs = pool::as_the_host_sees_it(&directory);
        assert_eq!(pairs, [("Other".to_owned(), "value".to_owned())]);
        let second = guest.kvp_refuses_to_start(&directory);
        assert!(second.contains("hv_kvp_daemon is already running as process"), "{second}");
        guest.kvp().signal(Signal::SIGTERM);
        assert_eq!(guest.kvp_ends(), Some(0));
        guest.holds_no_panic();
    }

    fn after_a_crash_of_hv_vss_in_the_hold_nothing_is_written_for_as_long_as_a_freeze_can_last(stage: Stage) {
        let stage = stage.disk("data");
        let directory = stage.scratch("data").join("hyperv/pool");
        let mut guest = stage.start();
        guest.kvp_starts(&directory, &["--max-frozen", "3"]);
        guest.host_may(Freeze);
        guest.is_frozen();
        assert_eq!(asks(&guest, &message::set(0, "Key", "promised")).status, 0);
        let told = Instant::now();
        guest.daemon_is_killed();
        guest.holds_nothing();
        while told.elapsed() < Duration::from_millis(2200) {
            assert!(written(&directory, 0).is_empty(), "written {:?} after the latest sign", told.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        wait_for("what was promised to be written", || !written(&directory, 0).is_empty());
        has(&guest, 0, "Key", "promised");
    }
}

/// What a backup pays for a daemon that writes before it answers, as FreeBSD's does: its THAW waits
/// behind the request, on the thread that the drivers in base share.
#[test]
fn a_kvp_daemon_that_blocks_delays_a_thaw_by_five_seconds_with_the_drivers_in_base() {
    let Some(stage) = Stage::take(Kind::Base) else { return };
    let stage = stage.disk("data").time("max_frozen", "20s");
    let file = stage.scratch("data").join("pool");
    let mut guest = stage.start();
    guest.kvp_that_blocks_starts(&file);
    guest.host_may(Check);
    guest.host_may(Freeze);
    guest.is_frozen();
    let sent = guest.kvp_sends(&message::set(0, "Key", "value"));
    let thawed = guest.host_may(Thaw);
    println!("THAW behind a daemon that blocks took {:?}", thawed.took);
    assert!(thawed.took > Duration::from_secs(4), "the THAW took {:?} only", thawed.took);
    let failed = guest.answer_within(sent, IN_TIME).expect("the driver answers in its place");
    assert_eq!(failed.answer.status, ic::HV_E_FAIL);
    guest.runs();
}
