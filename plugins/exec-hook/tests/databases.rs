//! The samples in hooks.d, on real servers: under load the hook is run, the disk is frozen and copied, everything is let go; then a server is started from
//! the copy, and must have all that was acknowledged before the freeze.
//!
//! The orchestrator is not here: the test freezes the disk itself. Needs root, loop devices, and the servers from Debian's packages postgresql-15,
//! mariadb-server and redis-server; each listens on a socket in a directory of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

mod disk;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use disk::{Disk, is_clean, needs_recovery, own_mounts, run, text};
use serde_json::json;
use stage::{Stage, becomes_true, done, mode, refusal};

/// A process that is ended with the test.
struct Server(Child);

impl Server {
    #[track_caller]
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM ends all three kinds of server, with the processes they have started.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// A writer that notes each number only after the server has acknowledged it.
struct Load {
    shell: Child,
    acknowledged: PathBuf,
}

impl Load {
    /// `write` writes the number `$i` and succeeds when it was acknowledged.
    fn start(disk: &Disk, write: &str) -> Self {
        let acknowledged = disk.beside("acknowledged");
        let text = format!("i=0; while :; do i=$((i + 1)); {write} && echo $i >>{}; done", acknowledged.display());
        let shell = Command::new("sh").args(["-c", &text]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        Self { shell, acknowledged }
    }

    fn numbers(&self) -> Vec<u64> {
        let text = fs::read_to_string(&self.acknowledged).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    #[track_caller]
    fn gets_on(&self) {
        let before = self.numbers().len();
        becomes_true("the writer gets on", || self.numbers().len() > before + 5);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A backup as the host takes it: what was acknowledged before the freeze, and the copy.
#[track_caller]
fn backup(stage: &mut Stage, disk: &Disk, load: &Load, while_at_rest: impl FnOnce()) -> (Vec<u64>, PathBuf) {
    load.gets_on();
    assert_eq!(stage.freeze(), done(), "{:#?}", stage.logged(hv_vss_wire::Level::Info));
    while_at_rest();
    let acknowledged = load.numbers();
    disk.freeze();
    let copy = disk.copy("copy");
    disk.thaw();
    assert_eq!(stage.thaw(), done());
    let failed: Vec<_> = stage.reported().into_iter().filter(|line| line.ends_with("failed")).collect();
    assert_eq!(failed, [""; 0], "{:#?}", stage.logged(hv_vss_wire::Level::Info));
    load.gets_on();
    assert!(!needs_recovery(&copy), "the copied filesystem needs recovery");
    assert!(is_clean(&copy), "the copied filesystem is damaged");
    // The same without a freeze does need it: this test can fail.
    assert!(needs_recovery(&disk.copy("unfrozen")));
    (acknowledged, copy)
}

#[track_caller]
fn all_are_there(acknowledged: &[u64], found: &str) {
    let found: std::collections::HashSet<u64> = found.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|number| !found.contains(number)).collect();
    assert!(
        acknowledged.len() > 5 && lost.is_empty(),
        "of {} acknowledged writes these are lost: {lost:?}",
        acknowledged.len()
    );
}

/// None when a server is not installed; in CI that is no excuse.
fn stage_with(programs: &[&str]) -> Option<(Stage, Disk)> {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| {
            !Command::new("sh").args(["-c", "command -v $0 >/dev/null", program]).status().unwrap().success()
        })
        .collect();
    assert!(
        missing.is_empty() || std::env::var_os("CI").is_none(),
        "{missing:?} not installed, and in CI nothing is skipped"
    );
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed");
        return None;
    }
    own_mounts();
    let stage = Stage::new()?;
    let disk = Disk::new(&stage.ground);
    Some((stage, disk))
}

const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";

fn as_postgres(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", program]).args(arguments);
    command
}

#[track_caller]
fn start_postgres(data: &Path, sockets: &Path, log: &Path) -> Server {
    fs::create_dir_all(sockets).unwrap();
    mode(sockets, 0o777);
    let (data, sockets) = (text(data), text(sockets));
    let arguments = ["-D", &data, "-k", &sockets, "-c", "listen_addresses="];
    let server = Server::start(&mut as_postgres(POSTGRES, &arguments), log);
    becomes_true("the server accepts connections", || {
        as_postgres("psql", &["-qXwh", &sockets, "-d", "postgres", "-c", "select 1"]).output().unwrap().status.success()
    });
    server
}

#[track_caller]
fn psql(sockets: &Path, sql: &str) -> String {
    let output = as_postgres("psql", &["-qAtXwh", &text(sockets), "-d", "postgres", "-c", sql]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn postgres_cluster(disk: &Disk) -> PathBuf {
    let data = disk.data.join("pg");
    fs::create_dir(&data).unwrap();
    run("chown", &["postgres:", &text(&data)]);
    let initdb = "/usr/lib/postgresql/15/bin/initdb";
    let output = as_postgres(initdb, &["-A", "trust", "--wal-segsize=1", "-N", "-D", &text(&data)]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    data
}

#[test]
fn postgresql_starts_from_the_backup_at_the_hooks_checkpoint_with_everything_acknowledged() {
    let Some((mut stage, mut disk)) = stage_with(&[POSTGRES, "psql"]) else { return };
    let (data, sockets) = (postgres_cluster(&disk), stage.path("pg-sockets"));
    let _server = start_postgres(&data, &sockets, &stage.path("pg-log"));
    psql(&sockets, "create table t (n bigint primary key)");

    stage.sample("20-postgresql.pre-freeze.sample", &[("HOST", &text(&sockets))]);
    stage.open_with(&[("hook", json!({ "20-postgresql.pre-freeze": { "user": "postgres" } }))]);
    let load = Load::start(
        &disk,
        &format!("psql -qXwh {} -U postgres -d postgres -c \"insert into t values ($i)\"", sockets.display()),
    );
    let mut checkpoint = String::new();
    let (acknowledged, copy) = backup(&mut stage, &disk, &load, || {
        checkpoint = psql(&sockets, "select redo_lsn from pg_control_checkpoint()");
    });

    let restored = disk.mount(&copy).join("pg");
    fs::remove_file(restored.join("postmaster.pid")).unwrap();
    let (sockets, log) = (stage.path("pg-sockets-restored"), stage.path("pg-log-restored"));
    let _restored = start_postgres(&restored, &sockets, &log);
    all_are_there(&acknowledged, &psql(&sockets, "select n from t"));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains(&format!("redo starts at {checkpoint}")), "the hook's checkpoint is {checkpoint}: {log}");
}

#[test]
fn a_postgresql_that_is_not_running_fails_the_freeze_with_what_psql_said() {
    let Some((mut stage, _disk)) = stage_with(&["psql"]) else { return };
    stage.sample("20-postgresql.pre-freeze.sample", &[("HOST", &text(&stage.path("nowhere")))]);
    stage.open();
    let reason = refusal(stage.freeze());
    assert!(reason.starts_with("20-postgresql.pre-freeze freeze failed with exit status 2"), "{reason}");
    stage.logs(hv_vss_wire::Level::Warn, "connection to server on socket");
}

#[test]
fn the_checkpoint_of_a_jailed_postgresql_is_done_inside_its_jail() {
    let Some((mut stage, disk)) = stage_with(&[POSTGRES, "psql"]) else { return };
    let (data, sockets) = (postgres_cluster(&disk), stage.path("pg-sockets"));
    let _server = start_postgres(&data, &sockets, &stage.path("pg-log"));
    // Stand-ins that keep to the manual's usage and note how they were called; the jail is this machine.
    let bin = stage.path("bin");
    fs::create_dir(&bin).unwrap();
    let note = stage.path("called");
    let stand_ins = [
        ("jls", "[ $# = 3 ] && [ \"$1\" = -j ] && [ \"$2\" = db1 ] && [ \"$3\" = jid ] && echo 7"),
        (
            "jexec",
            "[ \"$1 $2 $3 $4\" = '-l -U postgres db1' ] || exit 64\nshift 4\nexec env -i setpriv --reuid=postgres --regid=postgres --init-groups \"$@\"",
        ),
    ];
    for (name, body) in stand_ins {
        fs::write(bin.join(name), format!("#!/bin/sh\necho {name} \"$@\" >>{}\n{body}\n", note.display())).unwrap();
        mode(&bin.join(name), 0o755);
    }
    let settings = [("JAIL", "db1"), ("PSQL", "/usr/bin/psql"), ("HOST", &text(&sockets))];
    stage.sample("25-jailed-postgresql.pre-freeze.sample", &settings);
    let hook = stage.hooks().join("25-jailed-postgresql.pre-freeze");
    let script = fs::read_to_string(&hook).unwrap();
    fs::write(&hook, script.replacen("set -u\n", &format!("set -u\nPATH={}:$PATH\n", bin.display()), 1)).unwrap();
    stage.open();

    let before = psql(&sockets, "create table t (n int); select checkpoint_lsn from pg_control_checkpoint()");
    assert_eq!(stage.freeze(), done(), "{:#?}", stage.logged(hv_vss_wire::Level::Info));
    let after = psql(&sockets, "select checkpoint_lsn from pg_control_checkpoint()");
    assert_ne!(before, after, "there was no checkpoint");
    let called = fs::read_to_string(&note).unwrap();
    assert!(called.starts_with("jls -j db1 jid\njexec -l -U postgres db1 /usr/bin/env PGOPTIONS="), "{called}");

    // A jail that isn't up has no database that would have to be told.
    fs::write(bin.join("jls"), "#!/bin/sh\nexit 1\n").unwrap();
    assert_eq!(stage.thaw(), done());
    assert_eq!(stage.freeze(), done());
    stage.logs(hv_vss_wire::Level::Info, "the jail db1 is not running");
}

#[track_caller]
fn start_mariadb(data: &Path, socket: &Path, log: &Path) -> Server {
    let arguments = [
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        format!("--socket={}", socket.display()),
        format!("--pid-file={}.pid", socket.display()),
        "--skip-networking".to_owned(),
        // Two servers in one /tmp choose the same names.
        format!("--tmpdir={}", socket.parent().unwrap().display()),
        "--user=mysql".to_owned(),
        "--innodb-log-file-size=8M".to_owned(),
        "--innodb-buffer-pool-size=32M".to_owned(),
        "--log-bin".to_owned(),
    ];
    let server = Server::start(Command::new("mariadbd").args(arguments), log);
    becomes_true("the server accepts connections", || {
        Command::new("mariadb").arg("-S").arg(socket).args(["-e", "select 1"]).output().unwrap().status.success()
    });
    server
}

#[track_caller]
fn mariadb(socket: &Path, sql: &str) -> String {
    run("mariadb", &["-NBS", &text(socket), "-e", sql])
}

/// A new server, its data on the disk, its socket beside it, and the sample put to use for it.
#[track_caller]
fn mariadb_with_hook(stage: &mut Stage, disk: &Disk) -> (Server, PathBuf) {
    let (data, sockets) = (disk.data.join("mysql"), stage.path("sockets"));
    for directory in [&data, &sockets] {
        fs::create_dir(directory).unwrap();
        run("chown", &["mysql:", &text(directory)]);
    }
    let socket = sockets.join("mariadb");
    run(
        "mariadb-install-db",
        &[
            "--no-defaults",
            "--user=mysql",
            &format!("--datadir={}", text(&data)),
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
            &format!("--tmpdir={}", text(&sockets)),
            "--innodb-log-file-size=8M",
        ],
    );
    let server = start_mariadb(&data, &socket, &stage.path("mariadb-log"));
    mariadb(
        &socket,
        "create database d; create table d.i (n bigint primary key) engine=innodb; create table d.a (n bigint) engine=aria",
    );

    let (state, options) = (text(&stage.path("state")), format!("--socket={}", socket.display()));
    stage.sample("30-mariadb.sample", &[("STATE", &state), ("OPTIONS", &options)]);
    stage.open();
    (server, socket)
}

#[test]
fn a_mariadb_lock_that_was_lost_before_the_thaw_is_shouted_about() {
    let Some((mut stage, disk)) = stage_with(&["mariadbd", "mariadb", "mariadb-install-db"]) else { return };
    let (_server, socket) = mariadb_with_hook(&mut stage, &disk);
    assert_eq!(stage.freeze(), done());
    let others = "select id from information_schema.processlist where id <> connection_id() and user = 'root'";
    mariadb(&socket, &format!("kill {}", mariadb(&socket, others).trim()));
    assert_eq!(stage.thaw(), done());
    stage.logs(hv_vss_wire::Level::Error, "30-mariadb thaw failed with exit status 1");
    stage.logs(hv_vss_wire::Level::Error, "its last words: the lock was lost before the thaw");
    assert!(!stage.path("state").exists());
}

#[test]
fn a_mariadb_hook_that_waits_too_long_for_its_lock_is_killed_and_writers_go_on() {
    let Some((mut stage, disk)) = stage_with(&["mariadbd", "mariadb", "mariadb-install-db"]) else { return };
    let (_server, socket) = mariadb_with_hook(&mut stage, &disk);
    let busy = Command::new("mariadb").arg("-S").arg(&socket).args(["-e", "insert into d.a select sleep(600)"]).spawn();
    let mut busy = busy.unwrap();
    becomes_true("the statement runs", || mariadb(&socket, "show processlist").contains("sleep(600)"));
    let reason = refusal(stage.freeze_within(std::time::Duration::from_secs(3)));
    assert!(reason.contains("30-mariadb freeze did not end within "), "{reason}");
    assert_eq!(stage.thaw(), done());
    mariadb(&socket, "insert into d.i values (1)");
    busy.kill().unwrap();
    busy.wait().unwrap();
}

#[test]
fn mariadb_starts_from_the_backup_with_everything_acknowledged_and_nothing_to_roll_back() {
    let Some((mut stage, mut disk)) = stage_with(&["mariadbd", "mariadb", "mariadb-install-db"]) else { return };
    let (_server, socket) = mariadb_with_hook(&mut stage, &disk);
    let write =
        format!("mariadb -S {} -e \"insert into d.i values ($i); insert into d.a values ($i)\"", socket.display());
    let load = Load::start(&disk, &write);
    let (acknowledged, copy) = backup(&mut stage, &disk, &load, || {
        // The lock holds writers, and nobody else.
        becomes_true("the writer waits", || mariadb(&socket, "show processlist").contains("Waiting for backup lock"));
        let before = load.numbers().len();
        assert!(!mariadb(&socket, "select count(*) from d.i").is_empty());
        assert_eq!(load.numbers().len(), before);
    });
    assert!(!stage.path("state").exists(), "the hook tidies up");
    drop(load);

    let restored = disk.mount(&copy).join("mysql");
    let (socket, log) = (stage.path("sockets").join("restored"), stage.path("mariadb-log-restored"));
    let _restored = start_mariadb(&restored, &socket, &log);
    all_are_there(&acknowledged, &mariadb(&socket, "select n from d.i"));
    all_are_there(&acknowledged, &mariadb(&socket, "select n from d.a"));
    assert!(mariadb(&socket, "check table d.i, d.a").lines().all(|line| line.ends_with("OK")));
    let log = fs::read_to_string(log).unwrap();
    // InnoDB says so when it finds a transaction that was not committed, Aria when a table was left open.
    for bad in ["must be rolled back", "rollback of recovered", "crashed"] {
        assert!(!log.contains(bad), "{log}");
    }
}

#[track_caller]
fn start_redis(data: &Path, socket: &Path, log: &Path, appendonly: &str) -> Server {
    let arguments = [
        "--port",
        "0",
        "--unixsocket",
        &text(socket),
        "--dir",
        &text(data),
        "--appendonly",
        appendonly,
        "--appendfsync",
        "everysec",
        "--aof-load-truncated",
        "no",
        "--save",
        "3600 1",
    ];
    let server = Server::start(Command::new("redis-server").args(arguments), log);
    becomes_true("the server accepts connections", || redis(socket, &["PING"]) == "PONG");
    server
}

fn redis(socket: &Path, words: &[&str]) -> String {
    let output = Command::new("redis-cli").arg("-s").arg(socket).args(words).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// With the append-only file or with dumps: what is in the copy, and the log of the server that was started from it.
#[track_caller]
fn redis_backup(appendonly: &str) -> Option<String> {
    let (mut stage, mut disk) = stage_with(&["redis-server", "redis-cli"])?;
    let (data, socket) = (disk.data.join("redis"), stage.path("redis"));
    fs::create_dir(&data).unwrap();
    let _server = start_redis(&data, &socket, &stage.path("redis-log"), appendonly);
    stage.sample("40-redis.sample", &[("OPTIONS", &format!("-s {}", socket.display()))]);
    stage.open();
    let load = Load::start(&disk, &format!("[ \"$(redis-cli -s {} SADD numbers $i)\" = 1 ]", socket.display()));
    let (acknowledged, copy) = backup(&mut stage, &disk, &load, || {
        disk.freeze();
        // A frozen disk, and readers are served all the same.
        assert_ne!(redis(&socket, &["SCARD", "numbers"]), "");
        disk.thaw();
    });
    drop(load);

    let restored = disk.mount(&copy).join("redis");
    let (socket, log) = (stage.path("redis-restored"), stage.path("redis-log-restored"));
    let _restored = start_redis(&restored, &socket, &log, appendonly);
    all_are_there(&acknowledged, &redis(&socket, &["SMEMBERS", "numbers"]));
    Some(fs::read_to_string(log).unwrap())
}

#[test]
fn redis_starts_from_the_backup_with_an_append_only_file_that_is_whole() {
    let Some(log) = redis_backup("yes") else { return };
    assert!(log.contains("DB loaded from append only file"), "{log}");
    assert!(!log.to_lowercase().contains("truncat"), "{log}");
}

#[test]
fn redis_without_an_append_only_file_starts_from_the_hooks_dump() {
    let Some(log) = redis_backup("no") else { return };
    assert!(log.contains("DB loaded from disk"), "{log}");
}
