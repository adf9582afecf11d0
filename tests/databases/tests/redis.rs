//! Redis, with the sample in hooks.d.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hv_vss_databases::redis::{Client, Instance, Keeps, found, halves, judge_loading};
use hv_vss_databases::{Backup, Copy, Load, Server, Span, Tally, backup, becomes_true, judge, rounds, stage};
use hv_vss_stories::Operation::{Freeze, Thaw};
use hv_vss_stories::{Guest, Stage};
use hv_vss_testbed::Need;

const HOOK: &str = "40-redis.sample";
/// Dumps only now and then, by the server itself.
const SAVE: &[&str] = &["--save", "3600 1"];

/// A stage with the sample put to use, with these settings more.
fn with_the_sample(stage: Stage, more: &[(&str, &str)]) -> Stage {
    let options = format!("-s {}", stage.scratch("redis").join("socket").display());
    let settings: Vec<_> = [("OPTIONS", options.as_str())].into_iter().chain(more.iter().copied()).collect();
    stage.disk("data").sample(HOOK, &settings)
}

fn instance_on(guest: &Guest, keeps: Keeps) -> Instance {
    Instance::at(&guest.disk("data").join("redis"), &guest.stage().scratch("redis"), keeps)
}

/// What is wrong with the server that was started from a copy, which may be doctored before or after: nothing, if the copy is good.
#[track_caller]
fn verdict(
    guest: &Guest,
    copy: &mut Copy,
    keeps: Keeps,
    spans: &[Span],
    doctor: impl FnOnce(&mut Client),
) -> Vec<String> {
    let restored = Instance::at(&copy.mounted().join("redis"), &guest.stage().scratch("restored"), keeps);
    let server = restored.start(SAVE);
    let mut client = restored.session();
    doctor(&mut client);
    let found = found(&mut client);
    let mut wrong = judge(spans, &found);
    wrong.extend(halves(&mut client, &found));
    wrong.extend(judge_loading(&server.said(), keeps));
    wrong
}

/// A guest with the sample, and a server under load that keeps its data so. None where this machine can't.
fn served(keeps: Keeps) -> Option<(Guest, Instance, Server, Load)> {
    let guest = with_the_sample(stage(Need::Redis)?, &[]).start();
    let instance = instance_on(&guest, keeps);
    let server = instance.start(SAVE);
    let load = instance.load();
    Some((guest, instance, server, load))
}

#[track_caller]
fn every_backup_is_good(keeps: Keeps, database: &'static str, rounds: u64) {
    let Some((guest, _instance, _server, load)) = served(keeps) else { return };

    let mut tally = Tally::of(database);
    for round in 1..=rounds {
        let mut backup = backup(&guest, &load, &["data"]);
        let wrong = verdict(&guest, &mut backup.copies[0], keeps, &backup.spans, |_| ());
        assert_eq!(wrong, [""; 0], "backup {round}");
        tally.good(&backup, &load);
    }
    assert!(!guest.daemon().log().iter().any(|line| line.contains(" ERROR ")), "{:#?}", guest.daemon().log());
    tally.ends(&load);
}

#[test]
fn every_redis_started_from_a_backup_loads_an_append_only_file_that_is_whole_with_all_that_was_acknowledged() {
    every_backup_is_good(Keeps::Appending, "redis with an append-only file", rounds());
}

#[test]
fn every_redis_without_an_append_only_file_starts_from_the_hooks_dump_with_all_that_was_acknowledged() {
    every_backup_is_good(Keeps::Dumps, "redis with dumps", rounds());
}

#[test]
fn a_copy_that_was_taken_without_the_daemon_is_told_from_a_backup() {
    let Some((guest, _instance, _server, load)) = served(Keeps::Appending) else { return };
    load.gets_on();
    assert!(Copy::take(&guest, "data", "unfrozen").needs_recovery(), "its filesystem was in use");
}

#[test]
fn a_backup_with_a_torn_append_only_file_and_one_that_lacks_something_are_told_from_a_good_one() {
    let Some((guest, instance, _server, load)) = served(Keeps::Appending) else { return };
    let Backup { mut copies, spans, .. } = backup(&guest, &load, &["data"]);

    // Its last three bytes had not reached the disk, say.
    let copied = Instance { data: copies[0].mounted().join("redis"), ..instance.clone() };
    let file = fs::OpenOptions::new().write(true).open(copied.append_only_file()).unwrap();
    file.set_len(file.metadata().unwrap().len() - 3).unwrap();
    let wrong = verdict(&guest, &mut copies[0], Keeps::Appending, &spans, |client| {
        client.tell(&["SREM", "set:1", "2"]);
        client.tell(&["SET", "last:2", "1"]);
    });
    // The torn end may be the last number of any of them.
    assert!(wrong.iter().any(|line| line.starts_with("writer 1: ") && line.contains(" lost, [2")), "{wrong:?}");
    assert!(wrong.iter().any(|line| line.starts_with("writer 2 is at 1 in one key")), "{wrong:?}");
    assert!(wrong.iter().any(|line| line.contains("runcat")), "{wrong:?}");
}

#[test]
fn while_the_disk_is_frozen_writers_wait_and_readers_are_served() {
    let Some((guest, instance, _server, load)) = served(Keeps::Appending) else { return };
    load.gets_on();
    guest.host_may(Freeze);
    let mut reader = instance.session();
    becomes_true("every writer waits", || instance.session().info("blocked_clients") == load.spans().len().to_string());
    let before = load.spans();
    for _ in 0..100 {
        reader.tell(&["SCARD", "set:0"]);
    }
    assert_eq!(load.spans(), before);
    guest.host_may(Thaw);
    load.gets_on();
}

#[test]
fn a_backup_in_the_middle_of_a_rewrite_of_the_append_only_file_is_as_good() {
    let Some(stage) = stage(Need::Redis) else { return };
    let guest = with_the_sample(stage, &[]).start();
    let instance = instance_on(&guest, Keeps::Appending);
    let _server = instance.start(SAVE);
    let mut client = instance.session();
    client.tell(&["BGREWRITEAOF"]);
    becomes_true("it has been rewritten once", || instance.session().info("aof_last_rewrite_time_sec") != "-1");
    let load = instance.load();
    load.gets_on();
    // With so many keys, and a server that takes its time for each, it goes on throughout.
    client.tell(&["EVAL", "for i = 1, 2000 do redis.call('SET', 'filler:' .. i, i) end", "0"]);
    client.tell(&["CONFIG", "SET", "rdb-key-save-delay", "30000"]);
    client.tell(&["BGREWRITEAOF"]);
    becomes_true("the rewrite is under way", || instance.session().info("aof_rewrite_in_progress") == "1");
    let Backup { mut copies, spans, .. } = backup(&guest, &load, &["data"]);
    assert_eq!(client.info("aof_rewrite_in_progress"), "1");
    assert_eq!(verdict(&guest, &mut copies[0], Keeps::Appending, &spans, |_| ()), [""; 0]);
}

/// A server whose append-only file is switched on while it holds data: until the first rewrite has ended, nothing is in it.
#[test]
fn an_append_only_file_that_was_switched_on_a_moment_ago_is_waited_for() {
    let Some((guest, instance, _server, load)) = served(Keeps::Dumps) else { return };
    load.gets_on();
    let mut client = instance.session();
    client.tell(&["EVAL", "for i = 1, 200 do redis.call('SET', 'filler:' .. i, i) end", "0"]);
    client.tell(&["CONFIG", "SET", "rdb-key-save-delay", "10000"]);
    client.tell(&["CONFIG", "SET", "appendonly", "yes"]);
    assert_eq!(client.info("aof_rewrite_in_progress"), "1");
    let Backup { mut copies, spans, .. } = backup(&guest, &load, &["data"]);
    assert_eq!(verdict(&guest, &mut copies[0], Keeps::Appending, &spans, |_| ()), [""; 0]);
}

#[test]
fn what_takes_too_long_is_refused_by_a_sentence_and_writers_go_on() {
    let Some(stage) = stage(Need::Redis) else { return };
    let guest = with_the_sample(stage, &[]).exec_hook("limit = \"3s\"").start();
    let instance = instance_on(&guest, Keeps::Dumps);
    let _server = instance.start(SAVE);
    let load = instance.load();
    load.gets_on();
    let mut client = instance.session();
    client.tell(&["EVAL", "for i = 1, 2000 do redis.call('SET', 'filler:' .. i, i) end", "0"]);
    client.tell(&["CONFIG", "SET", "rdb-key-save-delay", "30000"]);
    guest.host_may_not(Freeze);
    guest.daemon().says(&["FREEZE answered FAIL", "40-redis freeze failed", "redis: the dump did not end in time"]);
    load.gets_on();
}

#[test]
fn a_redis_that_keeps_nothing_on_disk_is_told_and_the_backup_goes_on() {
    let Some(stage) = stage(Need::Redis) else { return };
    let guest = with_the_sample(stage, &[]).start();
    let instance = instance_on(&guest, Keeps::Dumps);
    let _server = instance.start(&["--save", ""]);
    let load = instance.load();
    let Backup { mut copies, .. } = backup(&guest, &load, &["data"]);
    guest.daemon().says(&["redis keeps nothing on disk", "nothing of it will be in the backup"]);
    assert_eq!(fs::read_dir(copies[0].mounted().join("redis")).unwrap().count(), 0);
}

#[test]
fn a_redis_that_may_not_be_asked_what_it_keeps_is_no_redis_that_keeps_nothing() {
    let Some(stage) = stage(Need::Redis) else { return };
    let guest = with_the_sample(stage, &[]).start();
    let instance = instance_on(&guest, Keeps::Dumps);
    let _server = instance.start(&["--rename-command", "CONFIG", ""]);
    let load = instance.load();
    load.gets_on();
    guest.host_may_not(Freeze);
    guest.daemon().says(&["FREEZE answered FAIL", "redis: CONFIG GET save: ERR unknown command"]);
    load.gets_on();
}

#[test]
fn an_append_only_file_that_cannot_be_written_is_refused_by_a_sentence() {
    let Some(stage) = stage(Need::Redis) else { return };
    let guest = with_the_sample(stage, &[]).start();
    let instance = instance_on(&guest, Keeps::Appending);
    let _server = instance.start(SAVE);
    let mut client = instance.session();
    // The disk is full, root's reserve included.
    let mut full = fs::File::create(guest.disk("data").join("full")).unwrap();
    assert!(std::io::copy(&mut std::io::repeat(0), &mut full).is_err());
    let large = "x".repeat(1 << 20);
    let _ = client.ask(&["SET", "large", &large]);
    becomes_true("the server has noticed", || instance.session().info("aof_last_write_status") == "err");
    guest.host_may_not(Freeze);
    guest.daemon().says(&["FREEZE answered FAIL", "redis: writing the append-only file fails"]);
}

#[test]
fn a_password_in_a_file_of_roots_is_used_and_a_wrong_one_is_told() {
    let Some(stage) = stage(Need::Redis) else { return };
    let file = stage.scratch("password");
    let guest = with_the_sample(stage, &[("PASSWORD_FILE", &file.display().to_string())]).start();
    let instance = instance_on(&guest, Keeps::Appending);
    let _server = instance.start(&["--requirepass", "secret word"]);
    guest.host_may_not(Freeze);
    guest.daemon().says(&["FREEZE answered FAIL", "password", "No such file or directory"]);
    let password = |password: &str| {
        fs::write(&file, format!("{password}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    password("another");
    guest.host_may_not(Freeze);
    guest.daemon().says(&["FREEZE answered FAIL", "redis: CLIENT PAUSE", "NOAUTH"]);
    password("secret word");
    guest.host_may(Freeze);
    guest.host_may(Thaw);
    assert!(!guest.daemon().log().iter().any(|line| line.contains("secret word")));
}

#[test]
fn a_user_with_the_four_commands_that_the_readme_names_is_enough() {
    let Some(stage) = stage(Need::Redis) else { return };
    let file = stage.scratch("password");
    fs::write(&file, "secret word\n").unwrap();
    let options = format!("-s {} --user hv_vss", stage.scratch("redis").join("socket").display());
    let settings = [("OPTIONS", options.as_str()), ("PASSWORD_FILE", file.to_str().unwrap())];
    let guest = stage.disk("data").sample(HOOK, &settings).start();
    for keeps in [Keeps::Appending, Keeps::Dumps] {
        let instance = instance_on(&guest, keeps);
        let _server = instance.start(SAVE);
        let rules = ["on", ">secret word", "+client", "+info", "+config|get", "+bgsave"];
        instance.session().tell(&[&["ACL", "SETUSER", "hv_vss"][..], &rules].concat());
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        fs::remove_file(instance.socket()).unwrap();
    }
    assert!(!guest.daemon().log().iter().any(|line| line.contains(" ERROR ")), "{:#?}", guest.daemon().log());
}

#[test]
fn a_redis_that_is_not_running_fails_the_backup_with_what_its_client_said() {
    let Some(stage) = stage(Need::Redis) else { return };
    let guest = with_the_sample(stage, &[]).start();
    guest.host_may_not(Freeze);
    guest.daemon().says(&["FREEZE answered FAIL", "redis: CLIENT PAUSE", "Could not connect to Redis"]);
}
