//! MariaDB, with the sample in hooks.d.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use hv_vss_databases::mariadb::{Instance, found, halves, judge_recovery, logged};
use hv_vss_databases::{
    Backup, Copy, Load, Server, Session, Span, Tally, backup, becomes_true, judge, rounds, stage, with_a_roomy_disk,
};
use hv_vss_stories::Operation::{Freeze, Thaw};
use hv_vss_stories::{Guest, Stage};
use hv_vss_testbed::Need;
use nix::sys::signal::Signal;

const HOOK: &str = "30-mariadb.sample";

/// A stage with the sample put to use, with these options more.
fn with_the_sample(stage: Stage, options: &str) -> Stage {
    let socket = stage.scratch("mariadb").join("socket");
    let (state, options) = (stage.scratch("hook"), format!("{options} --socket={}", socket.display()));
    with_a_roomy_disk(stage, "data")
        .sample(HOOK, &[("STATE", &state.display().to_string()), ("OPTIONS", options.trim())])
}

fn instance_on(guest: &Guest) -> Instance {
    Instance::new(&guest.disk("data").join("mysql"), &guest.stage().scratch("mariadb"))
}

/// What is wrong with the server that was started from a copy, which may be doctored first: nothing, if the copy is good.
#[track_caller]
fn verdict(guest: &Guest, copy: &mut Copy, spans: &[Span], doctor: impl FnOnce(&mut Session)) -> Vec<String> {
    let restored = Instance::at(&copy.mounted().join("mysql"), &guest.stage().scratch("restored"));
    let logged = logged(&restored.data);
    let server = restored.start();
    let mut session = restored.session();
    doctor(&mut session);
    let found_in_innodb = found(&mut session, "i");
    let mut wrong = judge(spans, &found_in_innodb);
    if logged != found_in_innodb {
        wrong.push("the binary log and InnoDB do not agree".to_owned());
    }
    wrong.extend(judge(spans, &found(&mut session, "a")));
    wrong.extend(halves(&mut session));
    wrong.extend(judge_recovery(&server.said()));
    wrong
}

fn others(session: &mut Session) -> Vec<String> {
    session.tell("select concat(id, ' ', ifnull(info, '')) from information_schema.processlist where user = 'root' and id <> connection_id()")
}

/// A guest with the sample, and a server under load. None where this machine can't.
fn served() -> Option<(Guest, Instance, Server, Load)> {
    let guest = with_the_sample(stage(Need::Mariadb)?, "").start();
    let instance = instance_on(&guest);
    let server = instance.start();
    instance.has_tables();
    let load = instance.load();
    Some((guest, instance, server, load))
}

#[test]
fn every_mariadb_started_from_a_backup_has_all_that_was_acknowledged_and_nothing_to_roll_back() {
    let Some((guest, _instance, _server, load)) = served() else { return };

    let mut tally = Tally::of("mariadb");
    for round in 1..=rounds() {
        let mut backup = backup(&guest, &load, &["data"]);
        let wrong = verdict(&guest, &mut backup.copies[0], &backup.spans, |_| ());
        assert_eq!(wrong, [""; 0], "backup {round}");
        assert!(!guest.stage().scratch("hook").exists(), "the hook tidies up");
        tally.good(&backup, &load);
    }
    assert!(!guest.daemon().log().iter().any(|line| line.contains(" ERROR ")), "{:#?}", guest.daemon().log());
    tally.ends(&load);
}

#[test]
fn a_copy_that_was_taken_without_the_daemon_is_told_from_a_backup() {
    let Some((guest, _instance, _server, load)) = served() else { return };
    load.gets_on();
    assert!(Copy::take(&guest, "data", "unfrozen").needs_recovery(), "its filesystem was in use");
}

#[test]
fn a_backup_that_lacks_something_and_one_with_something_to_roll_back_are_told_from_a_good_one() {
    let Some((guest, instance, _server, load)) = served() else { return };
    // No lock can wait for what a client does next in its own transaction: it is in the backup as what it is, not committed.
    let mut thinking = instance.session();
    thinking.tell("start transaction");
    thinking.tell("insert into d.i values (0, 1000000, 0), (0, 1000000, 1)");
    let Backup { mut copies, spans, .. } = backup(&guest, &load, &["data"]);
    thinking.tell("commit");

    let wrong = verdict(&guest, &mut copies[0], &spans, |session| {
        session.tell("delete from d.i where w = 0 and n = 2");
        session.tell("delete from d.a where w = 1 and n = 3 and part = 1");
    });
    assert!(wrong.contains(&"writer 0: 1 acknowledged numbers are lost, [2] first".to_owned()), "{wrong:?}");
    assert!(wrong.contains(&"the binary log and InnoDB do not agree".to_owned()), "{wrong:?}");
    assert!(wrong.contains(&"half a statement in a: 1 3".to_owned()), "{wrong:?}");
    assert!(wrong.iter().any(|line| line.contains("must be rolled back")), "{wrong:?}");
    assert!(!wrong.iter().any(|line| line.contains("1000000")), "what was not committed is gone: {wrong:?}");
}

#[test]
fn while_the_lock_is_held_writers_wait_and_readers_do_not() {
    let Some((guest, instance, _server, load)) = served() else { return };
    let mut reader = instance.session();
    guest.host_may(Freeze);
    let waiting = "select count(*) from information_schema.processlist where state = 'Waiting for backup lock'";
    becomes_true("every writer waits", || instance.session().tell(waiting) == [load.spans().len().to_string()]);
    let before = load.spans();
    reader.tell("select count(*) from d.i");
    assert_eq!(load.spans(), before);
    guest.host_may(Thaw);
    load.gets_on();
}

#[test]
fn a_lock_that_was_lost_before_the_thaw_is_shouted_about() {
    let Some(stage) = stage(Need::Mariadb) else { return };
    let guest = with_the_sample(stage, "").start();
    let instance = instance_on(&guest);
    let _server = instance.start();
    let mut session = instance.session();
    guest.host_may(Freeze);
    let holder = others(&mut session).concat();
    session.tell(&format!("kill {holder}"));
    // The sample says so with exit status 79: the copy may hold what was written meanwhile.
    guest.host_may_not(Thaw);
    guest.daemon().says(&["ERROR", "30-mariadb", "not at rest for the whole hold (exit status 79)"]);
    assert!(!guest.stage().scratch("hook").exists());
}

#[test]
fn a_lock_that_cannot_be_had_in_time_is_refused_by_a_sentence_and_nothing_stays_locked() {
    let Some(stage) = stage(Need::Mariadb) else { return };
    let guest = with_the_sample(stage, "").exec_hook("limit = \"4s\"").start();
    let instance = instance_on(&guest);
    let _server = instance.start();
    instance.has_tables();
    let load = instance.load();
    load.gets_on();
    let (mut slow, mut session) = (instance.session(), instance.session());
    slow.begin("insert into d.a select 9, sleep(600), 0");
    becomes_true("the statement runs", || instance.session().tell("show processlist").concat().contains("sleep(600)"));

    guest.host_may_not(Freeze);
    let said = guest.daemon().says(&["FREEZE answered FAIL", "30-mariadb freeze failed with exit status 1"]);
    assert!(
        said.contains("MariaDB did not give the lock: statements were in the way for more than 2 s: connection "),
        "{said}"
    );
    assert!(said.contains(" of root ("), "{said}");
    assert!(!said.contains("sleep(600)"), "what others execute is nobody's business: {said}");
    load.gets_on();
    assert!(!others(&mut session).concat().contains("FLUSH"), "{:?}", others(&mut session));
}

/// A guest whose script waits for the lock for a minute, and a server with a statement that takes so many seconds; its session, and another.
fn with_a_statement_in_the_way(stage: Stage, seconds: u32) -> (Guest, Instance, Server, Session, Session) {
    let script = stage.home().join("hooks.d/30-mariadb");
    let patient = fs::read_to_string(&script).unwrap().replace("\nWAIT=5\n", "\nWAIT=60\n");
    fs::write(&script, patient).unwrap();
    let guest = stage.start();
    let instance = instance_on(&guest);
    let server = instance.start();
    instance.has_tables();
    let (mut slow, mut session) = (instance.session(), instance.session());
    slow.begin(&format!("insert into d.a select 9, sleep({seconds}), 0"));
    becomes_true("the statement runs", || session.tell("show processlist").concat().contains("sleep("));
    (guest, instance, server, slow, session)
}

#[test]
fn a_hook_that_is_killed_while_it_waits_for_the_lock_leaves_nobody_waiting_behind_it() {
    let Some(stage) = stage(Need::Mariadb) else { return };
    let enough = stage.scratch("enough");
    // Another script of the same number fails meanwhile: the backup is over, and ours is killed.
    let other = format!("[ $phase = thaw ] || {{ until [ -e {} ]; do sleep 0.05; done; exit 1; }}", enough.display());
    let stage = with_the_sample(stage, "").exec_hook("limit = \"14s\"").hook("30-other", &other);
    let (guest, instance, _server, _slow, mut session) = with_a_statement_in_the_way(stage, 600);

    let began = Instant::now();
    let sent = guest.host_sends(Freeze);
    becomes_true("the lock is waited for", || others(&mut instance.session()).concat().contains("FLUSH TABLES"));
    fs::write(&enough, "").unwrap();
    guest.fails(sent);
    // It waits behind the lock as long as that is waited for.
    session.tell("insert into d.i values (9, 9, 9)");
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    becomes_true("the hook tidies up", || !guest.stage().scratch("hook").exists());
}

#[test]
fn a_lock_that_comes_after_the_process_that_wanted_it_was_killed_is_given_back_at_once() {
    let Some(stage) = stage(Need::Mariadb) else { return };
    let stage = with_the_sample(stage, "").exec_hook("limit = \"14s\"");
    let (guest, instance, _server, _slow, mut session) = with_a_statement_in_the_way(stage, 6);
    let before = others(&mut session).len();
    let sent = guest.host_sends(Freeze);
    becomes_true("the lock is waited for", || others(&mut instance.session()).concat().contains("FLUSH TABLES"));
    guest.worker_gets("exec_hook.so", Signal::SIGKILL);
    guest.fails(sent);
    becomes_true("its thaw has run", || !guest.stage().scratch("hook").exists());
    assert!(others(&mut session).concat().contains("FLUSH TABLES"), "the client is nobody's child by now, and waits");
    // It gets the lock when the statement has ended.
    becomes_true("it has gone", || others(&mut session).len() == before);
    session.tell("insert into d.i values (9, 9, 9)");
}

#[test]
fn a_password_in_a_file_of_roots_is_used_and_a_wrong_one_is_told() {
    let Some(stage) = stage(Need::Mariadb) else { return };
    let file = stage.scratch("credentials");
    let guest = with_the_sample(stage, &format!("--defaults-extra-file={}", file.display())).start();
    let instance = instance_on(&guest);
    let _server = instance.start();
    let grant = "grant reload, process on *.* to hv_vss@localhost identified by 'pass word'";
    instance.session().tell(grant);
    let password = |password: &str| {
        fs::write(&file, format!("[client]\nuser=hv_vss\npassword=\"{password}\"\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    password("another");
    guest.host_may_not(Freeze);
    guest.daemon().says(&["MariaDB did not give the lock: ERROR 1045 (28000): Access denied for user 'hv_vss'"]);
    password("pass word");
    guest.host_may(Freeze);
    let held = others(&mut instance.session());
    assert_eq!(held, [""; 0], "root holds nothing");
    guest.host_may(Thaw);
    assert!(!guest.daemon().log().iter().any(|line| line.contains("pass word")));
}

#[test]
fn a_mariadb_that_is_not_running_fails_the_backup_with_what_its_client_said() {
    let Some(stage) = stage(Need::Mariadb) else { return };
    let guest = with_the_sample(stage, "").start();
    guest.host_may_not(Freeze);
    guest
        .daemon()
        .says(&["FREEZE answered FAIL", "MariaDB did not give the lock: ERROR 2002 (HY000): Can't connect to local"]);
}
