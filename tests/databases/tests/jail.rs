//! A PostgreSQL in a jail, with the sample in hooks.d. Linux has no jails: stand-ins for jls(8) and jexec(8) keep to their manuals and note how they were
//! called, and the jail is this machine.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hv_vss_databases::postgresql::{Cluster, found, halves, judge_recovery};
use hv_vss_databases::{Backup, backup, judge, stage};
use hv_vss_stories::Operation::{Freeze, Thaw};
use hv_vss_stories::{Guest, Stage};
use hv_vss_testbed::Need;

const RUNNING: &str = "[ $# = 3 ] && [ \"$1\" = -j ] && [ \"$2\" = db1 ] && [ \"$3\" = jid ] && echo 7";
const NOT_RUNNING: &str = "echo 'jls: jail \"db1\" not found' >&2; exit 1";

fn stand_in(guest: &Guest, name: &str, body: &str) {
    let path = guest.stage().scratch("bin").join(name);
    let note = guest.stage().scratch("called");
    fs::write(&path, format!("#!/bin/sh\necho {name} \"$@\" >>{}\n{body}\n", note.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn with_the_sample(stage: Stage) -> Guest {
    let sockets = stage.scratch("sockets").display().to_string();
    let settings = [("JAIL", "db1"), ("PSQL", "/usr/bin/psql"), ("HOST", sockets.as_str())];
    let stage = stage.disk("data").sample("25-jailed-postgresql.pre-freeze.sample", &settings);
    let script = stage.home().join("hooks.d/25-jailed-postgresql.pre-freeze");
    let bin = stage.scratch("bin");
    fs::create_dir(&bin).unwrap();
    // The one line that is not an administrator's: where the stand-ins are. (A JRE brings another program that is named jexec.)
    let first = format!("set -u\nPATH={}:$PATH\n", bin.display());
    fs::write(&script, fs::read_to_string(&script).unwrap().replacen("set -u\n", &first, 1)).unwrap();
    let guest = stage.start();
    stand_in(&guest, "jls", RUNNING);
    let inside = "setpriv --reuid=postgres --regid=postgres --init-groups";
    stand_in(
        &guest,
        "jexec",
        &format!("[ \"$1 $2 $3 $4\" = '-l -U postgres db1' ] || exit 64\nshift 4\nexec env -i {inside} \"$@\""),
    );
    guest
}

#[test]
fn a_postgresql_in_a_jail_is_backed_up_at_the_checkpoint_that_was_made_inside() {
    let Some(stage) = stage(Need::Postgresql) else { return };
    let guest = with_the_sample(stage);
    let cluster = Cluster::new(&guest.disk("data").join("pg"), &guest.stage().scratch("sockets"), &[]);
    let _server = cluster.start(&[]);
    cluster.has_tables("");
    let load = cluster.load();
    let after = cluster.log_position();
    let Backup { mut copies, spans, .. } = backup(&guest, &load, &["data"]);
    let called = fs::read_to_string(guest.stage().scratch("called")).unwrap();
    let expected = "jls -j db1 jid\njexec -l -U postgres db1 /usr/bin/env PGOPTIONS=-c statement_timeout=";
    assert!(called.starts_with(expected), "{called}");

    let restored = Cluster::in_a_copy(&copies[0].mounted().join("pg"), &guest.stage().scratch("restored"));
    let server = restored.start(&[]);
    let mut session = restored.session();
    assert_eq!(judge(&spans, &found(&mut session)), [""; 0]);
    assert_eq!(halves(&mut session), [""; 0]);
    assert_eq!(judge_recovery(&server.said(), after), [""; 0]);
}

#[test]
fn a_jail_that_is_not_running_needs_nothing_and_one_that_cannot_be_asked_for_fails_the_backup() {
    let Some(stage) = stage(Need::Postgresql) else { return };
    let guest = with_the_sample(stage);
    for not_running in [NOT_RUNNING, "echo 'jls: jail \"db1\" is dying' >&2; exit 1"] {
        stand_in(&guest, "jls", not_running);
        guest.host_may(Freeze);
        guest.host_may(Thaw);
        guest.daemon().says(&["the jail db1 is not running"]);
    }
    let called = fs::read_to_string(guest.stage().scratch("called")).unwrap();
    assert!(!called.contains("jexec"), "nothing was executed: {called}");

    stand_in(&guest, "jls", "echo 'jls: jail_get: Operation not permitted' >&2; exit 1");
    guest.host_may_not(Freeze);
    guest
        .daemon()
        .says(&["FREEZE answered FAIL", "can't ask for the jail db1: jls: jail_get: Operation not permitted"]);
}

#[test]
fn a_database_that_does_not_answer_inside_its_jail_fails_the_backup_with_what_psql_said() {
    let Some(stage) = stage(Need::Postgresql) else { return };
    let guest = with_the_sample(stage);
    guest.host_may_not(Freeze);
    guest.daemon().says(&[
        "FREEZE answered FAIL",
        "PostgreSQL in the jail db1 made no checkpoint: psql: error: connection to server",
    ]);
}
