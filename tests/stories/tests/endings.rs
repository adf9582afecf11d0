//! Each way in which a backup can end, on every surface that tells of it: host, log, status, history, show, timeline, metrics,
//! key-value pairs. No surface may say "ok" where something was not (docs/endings.md has the table).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Signal, Stage, both_drivers, line, our_driver, pool};

/// How long something that comes by itself may take.
const SOON: Duration = Duration::from_secs(10);

/// What the surfaces have to show of the latest backup.
struct Expected {
    /// The result, as the history has it in its column.
    column: &'static str,
    /// A piece of the sentence that qualifies it; none: there is nothing to say.
    says: Option<&'static str>,
    /// `vssctl status` exits with 1, and `hv_vss_trouble` is 1.
    trouble: bool,
    /// The host's key `HvVssLastResult`.
    key: &'static str,
}

/// A stage that reports to the host, with a pool that is never frozen.
fn reporting(stage: Stage) -> Stage {
    let table = format!("[plugin.kvp_report]\nenabled = true\ndirectory = \"{}\"", pool_of(&stage).display());
    stage.disk("data").configured(&table)
}

fn pool_of(stage: &Stage) -> PathBuf {
    stage.scratch("hyperv-pool")
}

fn key(directory: &Path, key: &str) -> String {
    let pairs = pool::as_the_host_sees_it(directory);
    pairs.into_iter().find(|(have, _)| have == key).map(|(_, value)| value).unwrap_or_default()
}

/// Text without line breaks, so that a sentence is found wherever it was wrapped.
fn flat(text: &[u8]) -> String {
    String::from_utf8_lossy(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Claims that every surface of the machine shows this ending of the latest backup, the log of the running daemon included.
#[track_caller]
fn shows(guest: &Guest, expected: &Expected) {
    shows_beside_the_log(guest, expected);
    if let (true, Some(says)) = (expected.trouble, expected.says) {
        let log = guest.daemon().log().join("\n");
        assert!(log.contains(says), "the log does not say '{says}'");
    }
}

/// The same where another daemon wrote the log.
#[track_caller]
fn shows_beside_the_log(guest: &Guest, expected: &Expected) {
    let deadline = Instant::now() + SOON;
    let status = loop {
        let status = guest.vssctl(&["status"]);
        let text = flat(&status.stdout);
        if text.contains("State idle") && !text.contains("Last backup none") {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not come to rest: {text}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let history = guest.vssctl(&["history"]);
    let of_the_backup = guest.vssctl(&["history", "--json"]);
    let cycle = latest_backup(&String::from_utf8_lossy(&of_the_backup.stdout).split_whitespace().collect::<String>());
    let surfaces = [
        ("status", flat(&status.stdout), format!("Last backup {}, ", expected.column)),
        ("history", flat(&history.stdout), format!("{cycle} backup {} ", expected.column)),
        ("show", flat(&guest.vssctl(&["show", &cycle]).stdout), format!("backup {cycle}: {}", expected.column)),
        ("timeline", flat(&guest.vssctl(&["timeline", &cycle]).stdout), format!("Backup {cycle}: {}", expected.column)),
    ];
    for (surface, text, column) in &surfaces {
        assert!(text.contains(column.as_str()), "{surface} has no '{column}': {text}");
        if let Some(says) = expected.says {
            assert!(text.contains(says), "{surface} does not say '{says}': {text}");
        }
    }
    assert_eq!(status.status.code(), Some(i32::from(expected.trouble)), "exit status of `vssctl status`: {surfaces:?}");
    let metrics = flat(&guest.vssctl(&["metrics"]).stdout);
    assert!(metrics.contains(&format!("hv_vss_trouble {}", u8::from(expected.trouble))), "{metrics}");

    let directory = pool_of(guest.stage());
    while key(&directory, "HvVssLastCycle") != cycle || key(&directory, "HvVssLastResult") != expected.key {
        assert!(Instant::now() < deadline, "the host reads {:?}", pool::as_the_host_sees_it(&directory));
        std::thread::sleep(Duration::from_millis(10));
    }
    if let Some(says) = expected.says {
        let told = [key(&directory, "HvVssLastReason"), key(&directory, "HvVssLastTrouble")].join(" ");
        assert!(told.contains(says), "the host does not read '{says}': {told}");
    }
}

/// The id of the latest backup in a history as JSON without white space.
#[track_caller]
fn latest_backup(history: &str) -> String {
    let at = history.rfind("\"kind\":\"backup\"").expect("a backup");
    let before = &history[..at];
    let (_, id) = before.rsplit_once("\"cycle\":\"").expect("its id");
    id.split('"').next().expect("its id").to_owned()
}

/// The host's FREEZE and THAW, both answered with success.
#[track_caller]
fn the_worker_hears_success(guest: &Guest) {
    guest.host_may(Freeze);
    guest.host_may(Thaw);
}

both_drivers! {
    /// Row 32.
    fn a_thaw_script_failed(stage: Stage) {
        let guest = reporting(stage).hook("10-db", "[ $phase = freeze ] || exit 5").start();
        the_worker_hears_success(&guest);
        shows(&guest, &Expected { column: "ok, but", says: Some("10-db"), trouble: true, key: "trouble" });
    }

    /// Row 32.
    fn a_thaw_script_was_ended_at_its_limit(stage: Stage) {
        let guest = reporting(stage)
            .exec_hook("limit = \"300ms\"")
            .hook("10-db", "[ $phase = freeze ] || sleep 60")
            .start();
        the_worker_hears_success(&guest);
        shows(&guest, &Expected { column: "ok, but", says: Some("10-db"), trouble: true, key: "trouble" });
    }

    fn a_script_failed_before_the_freeze(stage: Stage) {
        let guest = reporting(stage).hook("10-db", "[ $phase = thaw ]").start();
        guest.host_may_not(Freeze);
        shows(&guest, &Expected { column: "failed", says: Some("10-db"), trouble: true, key: "failed" });
    }

    fn a_filesystem_was_vetoed(stage: Stage) {
        let guest = reporting(stage).mounted(line("zfs", "/tank")).start();
        guest.host_may_not(Freeze);
        shows(&guest, &Expected { column: "refused", says: Some("/tank"), trouble: true, key: "refused" });
    }

    fn the_host_did_not_thaw_in_time(stage: Stage) {
        let guest = reporting(stage).time("max_frozen", "1s").start();
        guest.host_may(Freeze);
        guest.comes_to_hold(0);
        shows(&guest, &Expected { column: "expired", says: Some("did not thaw in time"), trouble: true, key: "expired" });
        // Its late THAW is answered with the truth, and that has a line of its own.
        guest.host_may_not(Thaw);
        let history = flat(&guest.vssctl(&["history"]).stdout);
        assert!(history.contains("THAW refused: the host did not thaw in time"), "{history}");
    }

    fn an_operator_thawed(stage: Stage) {
        let guest = reporting(stage).start();
        guest.host_may(Freeze);
        guest.daemon().signal(Signal::SIGUSR1);
        guest.comes_to_hold(0);
        shows(&guest, &Expected { column: "failed", says: Some("an operator thawed"), trouble: true, key: "failed" });
    }

    /// Row 33.
    fn the_daemon_was_killed_in_the_hold(stage: Stage) {
        let mut guest = reporting(stage).hook("10-db", "").start();
        the_worker_hears_success(&guest);
        guest.host_may(Freeze);
        guest.daemon_is_killed();
        guest.comes_to_hold(0);
        guest.daemon_starts();
        shows(&guest, &Expected { column: "died", says: Some("the daemon ended"), trouble: true, key: "died" });
    }

    /// Row 35.
    fn the_daemon_was_stopped_in_the_hold(stage: Stage) {
        let mut guest = reporting(stage).hook("10-db", "").start();
        guest.host_may(Freeze);
        guest.daemon().signal(Signal::SIGTERM);
        assert_eq!(guest.daemon_ends(), Some(0));
        guest.daemon_starts();
        shows_beside_the_log(&guest, &Expected { column: "failed", says: Some("being stopped"), trouble: true, key: "failed" });
        guest.scripts_ran_with(["10-db freeze ok", "10-db thaw aborted"]);
    }

}

our_driver! {
    // With UFSSUSPEND a process that hides what it maps is a remark, and this machine may have one.
    fn all_went_well(stage: Stage) {
        let guest = reporting(stage).hook("10-db", "").start();
        the_worker_hears_success(&guest);
        shows(&guest, &Expected { column: "ok", says: None, trouble: false, key: "ok" });
    }

    fn requests_out_of_place_have_a_line_each_and_change_no_result(stage: Stage) {
        let guest = reporting(stage).start();
        guest.host_may(Freeze);
        guest.host_may_not(Freeze);
        guest.host_may_not(Check);
        guest.host_may(Thaw);
        shows(&guest, &Expected { column: "ok", says: None, trouble: false, key: "ok" });
        let history = flat(&guest.vssctl(&["history"]).stdout);
        for request in ["FREEZE", "CHECK"] {
            assert!(history.contains(&format!("{request} refused: cycle ")), "{history}");
        }
        let metrics = flat(&guest.vssctl(&["metrics"]).stdout);
        assert!(metrics.contains("hv_vss_out_of_place_total 2"), "{metrics}");
    }

    /// Row 46.
    fn nothing_was_at_rest(stage: Stage) {
        let exempt = "[[filesystems.exempt]]\ntype = \"ufs\"\nreason = \"a try\"\n";
        let directory = pool_of(&stage);
        let table = format!("{exempt}[plugin.kvp_report]\nenabled = true\ndirectory = \"{}\"", directory.display());
        let guest = stage.disk("data").without_writers().configured(&table).start();
        the_worker_hears_success(&guest);
        shows(&guest, &Expected { column: "ok, but", says: Some("no filesystem was frozen"), trouble: false, key: "ok" });
    }

    fn the_newest_row_is_shown_where_no_cycle_is_named(stage: Stage) {
        let mut guest = reporting(stage).start();
        the_worker_hears_success(&guest);
        guest.table_changes(|table| table.push(line("zfs", "/tank")));
        guest.host_may_not(Check);
        for command in ["show", "timeline"] {
            let shown = flat(&guest.vssctl(&[command]).stdout);
            assert!(shown.contains("CHECK") && shown.contains("refused") && shown.contains("/tank"), "{command}: {shown}");
        }
    }

    fn a_rehearsal_whose_thaw_failed_is_no_success(stage: Stage) {
        let guest = reporting(stage).hook("10-db", "[ $phase = freeze ] || exit 5").start();
        let rehearsed = guest.vssctl(&["rehearse", "--hold", "10ms"]);
        assert_eq!(rehearsed.status.code(), Some(1), "{}", flat(&rehearsed.stdout));
        assert!(flat(&rehearsed.stdout).contains("ok, but"), "{}", flat(&rehearsed.stdout));
    }

    fn a_rehearsal_hides_no_backup_that_failed(stage: Stage) {
        let mended = stage.scratch("mended");
        let guest =
            reporting(stage).hook("10-db", &format!("[ $phase = thaw ] || [ -e {} ]", mended.display())).start();
        guest.host_may_not(Freeze);
        fs::write(&mended, "").expect("a file");
        // The host is answered before everything is thawed; a rehearsal is refused until then.
        shows(&guest, &Expected { column: "failed", says: Some("10-db"), trouble: true, key: "failed" });
        assert_eq!(guest.vssctl(&["rehearse", "--hold", "10ms"]).status.code(), Some(0));
        shows(&guest, &Expected { column: "failed", says: Some("10-db"), trouble: true, key: "failed" });
    }
}
