//! PostgreSQL, with the sample in hooks.d.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use hv_vss_databases::postgresql::{Cluster, Lsn, found, halves, judge_recovery};
use hv_vss_databases::{
    Backup, Copy, Load, Server, Session, Span, Tally, backup, judge, rounds, stage, with_a_roomy_disk,
};
use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::{Guest, Stage};
use hv_vss_testbed::Need;

const HOOK: &str = "20-postgresql.pre-freeze.sample";

/// A stage with the sample put to use, its server's sockets in a directory that is never frozen.
fn with_the_sample(stage: Stage) -> Stage {
    let sockets = stage.scratch("sockets").display().to_string();
    let user = "[plugin.exec_hook.hook.\"20-postgresql.pre-freeze\"]\nuser = \"postgres\"";
    with_a_roomy_disk(stage, "data").sample(HOOK, &[("HOST", &sockets)]).configured(user)
}

fn cluster_on(guest: &Guest) -> Cluster {
    Cluster::new(&guest.disk("data").join("pg"), &guest.stage().scratch("sockets"), &[])
}

/// What is wrong with the server that was started from a copy, which may be doctored first: nothing, if the copy is good.
#[track_caller]
fn verdict(
    guest: &Guest,
    copy: &mut Copy,
    spans: &[Span],
    after: Lsn,
    doctor: impl FnOnce(&mut Session),
) -> Vec<String> {
    let restored = Cluster::in_a_copy(&copy.mounted().join("pg"), &guest.stage().scratch("restored"));
    let server = restored.start(&[]);
    let mut session = restored.session();
    doctor(&mut session);
    let mut wrong = judge(spans, &found(&mut session));
    wrong.extend(halves(&mut session));
    wrong.extend(judge_recovery(&server.said(), after));
    wrong
}

fn immediate_checkpoints(log: &str) -> usize {
    log.matches("checkpoint starting: immediate force wait").count()
}

/// A guest with the sample, and a server under load. None where this machine can't.
fn served() -> Option<(Guest, Cluster, Server, Load)> {
    let guest = with_the_sample(stage(Need::Postgresql)?).start();
    let cluster = cluster_on(&guest);
    let server = cluster.start(&[]);
    cluster.has_tables("");
    let load = cluster.load();
    Some((guest, cluster, server, load))
}

#[test]
fn every_postgresql_started_from_a_backup_has_all_that_was_acknowledged_and_begins_at_the_hooks_checkpoint() {
    let Some((guest, cluster, server, load)) = served() else { return };

    let mut tally = Tally::of("postgresql");
    for round in 1..=rounds() {
        let (after, checkpoints) = (cluster.log_position(), immediate_checkpoints(&server.said()));
        let mut backup = backup(&guest, &load, &["data"]);
        assert_eq!(immediate_checkpoints(&server.said()), checkpoints + 1, "the hook's checkpoint, and no other");
        let wrong = verdict(&guest, &mut backup.copies[0], &backup.spans, after, |_| ());
        assert_eq!(wrong, [""; 0], "backup {round}");
        tally.good(&backup, &load);
    }
    tally.ends(&load);
}

#[test]
fn a_copy_that_was_taken_without_the_daemon_is_told_from_a_backup() {
    let Some((guest, _cluster, _server, load)) = served() else { return };
    load.gets_on();
    assert!(Copy::take(&guest, "data", "unfrozen").needs_recovery(), "its filesystem was in use");
}

#[test]
fn a_backup_without_the_hook_is_told_from_one_with_it() {
    let Some(stage) = stage(Need::Postgresql) else { return };
    let guest = stage.disk("data").start();
    let cluster = cluster_on(&guest);
    let _server = cluster.start(&[]);
    cluster.has_tables("");
    let load = cluster.load();
    let after = cluster.log_position();
    let Backup { mut copies, spans, .. } = backup(&guest, &load, &["data"]);
    // Nothing is lost without it, there is only more to replay.
    let wrong = verdict(&guest, &mut copies[0], &spans, after, |_| ());
    assert!(wrong.len() == 1 && wrong[0].starts_with("redo starts at "), "{wrong:?}");
}

#[test]
fn a_backup_that_lacks_an_acknowledged_transaction_or_half_of_one_is_told_from_a_good_one() {
    let Some((guest, cluster, _server, load)) = served() else { return };
    let after = cluster.log_position();
    let Backup { mut copies, spans, .. } = backup(&guest, &load, &["data"]);

    let wrong = verdict(&guest, &mut copies[0], &spans, after, |session| {
        session.tell("delete from t where w = 0 and n = 2");
        session.tell("delete from t where w = 1 and n = (select max(n) from t where w = 1)");
    });
    assert!(wrong.contains(&"writer 0: 1 acknowledged numbers are lost, [2] first".to_owned()), "{wrong:?}");
    assert!(wrong.iter().any(|line| line.starts_with("writer 1 is at ")), "{wrong:?}");
}

/// Load and server of a cluster on three disks: data, a tablespace, and the write-ahead log.
fn on_three_disks(guest: &Guest) -> (Cluster, impl Sized, Load) {
    let log = format!("--waldir={}", guest.disk("wal").join("pg_wal").display());
    // initdb makes the directory itself, as the database's user.
    for disk in ["wal", "space"] {
        chown(guest.disk(disk), Some(postgres_user()), None).unwrap();
    }
    let cluster = Cluster::new(&guest.disk("data").join("pg"), &guest.stage().scratch("sockets"), &[log]);
    let server = cluster.start(&[]);
    let space = guest.disk("space").join("t");
    fs::create_dir(&space).unwrap();
    chown(&space, Some(postgres_user()), None).unwrap();
    cluster.session().tell(&format!("create tablespace space location '{}'", space.display()));
    cluster.has_tables("tablespace space");
    let load = cluster.load();
    (cluster, server, load)
}

fn postgres_user() -> u32 {
    nix::unistd::User::from_name("postgres").unwrap().unwrap().uid.as_raw()
}

#[test]
fn a_tablespace_and_a_write_ahead_log_on_filesystems_of_their_own_are_backed_up_with_the_data() {
    let Some(stage) = stage(Need::Postgresql) else { return };
    let guest = with_the_sample(stage.disk("space")).disk("wal").start();
    let (cluster, _server, load) = on_three_disks(&guest);
    for _ in 0..2 {
        let after = cluster.log_position();
        let Backup { mut copies, spans, .. } = backup(&guest, &load, &["data", "space", "wal"]);
        let directories: Vec<_> = copies.iter_mut().map(Copy::mounted).collect();
        let data = directories[0].join("pg");
        for link in fs::read_dir(data.join("pg_tblspc")).unwrap().flatten() {
            hv_vss_databases::relink(&link.path(), &directories[1].join("t"));
        }
        hv_vss_databases::relink(&data.join("pg_wal"), &directories[2].join("pg_wal"));
        assert_eq!(verdict(&guest, &mut copies[0], &spans, after, |_| ()), [""; 0]);
    }
}

#[test]
fn a_standby_is_backed_up_with_all_that_its_primary_has_acknowledged() {
    let Some(stage) = stage(Need::Postgresql) else { return };
    let guest = with_the_sample(stage).disk("elsewhere").start();
    // The primary is another machine's: its disk is not the one that is copied, and nobody tells it of the backup.
    let elsewhere = guest.stage().scratch("primary-sockets");
    let primary = Cluster::new(&guest.stage().scratch("primary"), &elsewhere, &[]);
    let _primary = primary.start(&["synchronous_standby_names=*", "synchronous_commit=remote_apply"]);
    let standby = primary.standby(&guest.disk("data").join("pg"), &guest.stage().scratch("sockets"));
    let server = standby.start(&[]);
    primary.has_tables("");
    let load = primary.load();
    // A restartpoint is made of a checkpoint of the primary's.
    primary.session().tell("checkpoint");

    let Backup { mut copies, spans, .. } = backup(&guest, &load, &["data"]);
    assert!(server.said().contains("restartpoint starting: immediate wait"), "{}", server.said());
    let data = copies[0].mounted().join("pg");
    fs::remove_file(data.join("standby.signal")).unwrap();
    let restored = Cluster::in_a_copy(&data, &guest.stage().scratch("restored"));
    let _restored = restored.start(&[]);
    let mut session = restored.session();
    assert_eq!(judge(&spans, &found(&mut session)), [""; 0]);
    assert_eq!(halves(&mut session), [""; 0]);
}

#[test]
fn a_checkpoint_that_does_not_end_in_time_fails_the_backup_in_postgresqls_own_words() {
    let Some(stage) = stage(Need::Postgresql) else { return };
    let guest = with_the_sample(stage).exec_hook("limit = \"4s\"").start();
    let cluster = cluster_on(&guest);
    let _server = cluster.start(&[]);
    let checkpointer = cluster.session().tell("select pid from pg_stat_activity where backend_type = 'checkpointer'");
    let checkpointer = nix::unistd::Pid::from_raw(checkpointer[0].parse().unwrap());
    nix::sys::signal::kill(checkpointer, nix::sys::signal::Signal::SIGSTOP).unwrap();
    guest.host_may_not(Freeze);
    guest.daemon().says(&[
        "20-postgresql.pre-freeze freeze failed",
        "PostgreSQL made no checkpoint: ERROR: canceling statement due to statement timeout",
    ]);
    nix::sys::signal::kill(checkpointer, nix::sys::signal::Signal::SIGCONT).unwrap();
    guest.host_may(Freeze);
    guest.host_may(Thaw);
}

#[test]
fn a_postgresql_that_is_not_running_fails_the_backup_with_what_psql_said() {
    let Some(stage) = stage(Need::Postgresql) else { return };
    let guest = with_the_sample(stage).start();
    guest.host_may(Check);
    guest.host_may_not(Freeze);
    guest.daemon().says(&[
        "20-postgresql.pre-freeze freeze failed with exit status 2",
        "PostgreSQL made no checkpoint: psql: error: connection to server on socket",
    ]);
}

#[test]
fn a_password_in_a_file_of_the_hooks_user_is_used_and_one_that_cannot_be_read_is_told() {
    let Some(stage) = stage(Need::Postgresql) else { return };
    let (sockets, file) = (stage.scratch("sockets").display().to_string(), stage.scratch("passfile"));
    let settings = [("HOST", sockets.as_str()), ("ROLE", "hv_vss"), ("PASSFILE", file.to_str().unwrap())];
    let user = "[plugin.exec_hook.hook.\"20-postgresql.pre-freeze\"]\nuser = \"postgres\"";
    let guest = stage.disk("data").sample(HOOK, &settings).configured(user).start();
    let cluster = cluster_on(&guest);
    let rules = cluster.data.join("pg_hba.conf");
    let others = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("local all hv_vss scram-sha-256\n{others}")).unwrap();
    let _server = cluster.start(&[]);
    // No superuser: it may log in, and make checkpoints.
    cluster.session().tell("create role hv_vss login password 'secret word' in role pg_checkpoint");

    guest.host_may_not(Freeze);
    guest.daemon().says(&["FREEZE answered FAIL", "PostgreSQL: the password file", "can't be read"]);
    let password = |password: &str| {
        fs::write(&file, format!("*:*:*:hv_vss:{password}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(postgres_user()), None).unwrap();
    };
    password("another");
    guest.host_may_not(Freeze);
    guest.daemon().says(&[
        "FREEZE answered FAIL",
        "made no checkpoint",
        "password authentication failed for user \"hv_vss\"",
    ]);
    password("secret word");
    guest.host_may(Freeze);
    guest.host_may(Thaw);
    assert!(!guest.daemon().log().iter().any(|line| line.contains("secret word")));
}
