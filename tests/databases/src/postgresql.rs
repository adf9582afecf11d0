//! PostgreSQL: a small cluster, its load, and the judgement of a server that was started from a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::server::as_user;
use crate::{Found, Load, Server, Session, directory_of, run, text};

/// Where Debian keeps the server's programs.
const BIN: &str = "/usr/lib/postgresql/15/bin";
/// Writers, each with a connection.
pub const WRITERS: u64 = 3;

/// As small as goes. Of checkpoints there is only who asks for one: no timer and no amount of log makes one within a test.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "max_connections=16",
    "shared_buffers=4MB",
    "min_wal_size=2MB",
    "max_wal_size=64MB",
    "checkpoint_timeout=1h",
    "autovacuum=off",
    "log_checkpoints=on",
];

/// A cluster: its data, and where its server listens.
#[derive(Clone)]
pub struct Cluster {
    /// The data directory.
    pub data: PathBuf,
    /// The directory of its socket, which is not frozen.
    pub sockets: PathBuf,
}

/// A position in the write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(u64);

impl Lsn {
    /// From PostgreSQL's own notation, such as 0/15D7A28.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (high, low) = text.trim().split_once('/')?;
        Some(Self(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?))
    }
}

impl Cluster {
    /// A new, empty one. `more` are arguments for initdb.
    #[must_use]
    #[track_caller]
    pub fn new(data: &Path, sockets: &Path, more: &[String]) -> Self {
        directory_of("postgres", data);
        let mut initdb = as_user("postgres");
        initdb.arg(format!("{BIN}/initdb")).args([
            "-A",
            "trust",
            "--data-checksums",
            "--wal-segsize=1",
            "-N",
            "--locale=C",
            "-E",
            "UTF8",
        ]);
        run(initdb.args(more).arg("-D").arg(data));
        Self::at(data, sockets)
    }

    /// One that is there already.
    #[must_use]
    #[track_caller]
    pub fn at(data: &Path, sockets: &Path) -> Self {
        directory_of("postgres", sockets);
        Self { data: data.to_owned(), sockets: sockets.to_owned() }
    }

    /// One in a copy. Its server's process of back then means nothing here.
    #[must_use]
    #[track_caller]
    pub fn in_a_copy(data: &Path, sockets: &Path) -> Self {
        let pid = data.join("postmaster.pid");
        fs::remove_file(&pid).unwrap_or_else(|error| panic!("{}: {error}", pid.display()));
        Self::at(data, sockets)
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Panics
    /// When it doesn't get ready.
    #[track_caller]
    pub fn start(&self, more: &[&str]) -> Server {
        let mut words =
            vec![format!("{BIN}/postgres"), "-D".into(), text(&self.data), "-k".into(), text(&self.sockets)];
        for setting in SETTINGS.iter().chain(more) {
            words.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        let mut server = Server::start("postgres", &words, &self.sockets.join("log"), Signal::SIGQUIT);
        server.says("ready to accept");
        server
    }

    /// A client.
    #[must_use]
    #[track_caller]
    pub fn session(&self) -> Session {
        Session::start(self.psql(), "\\echo @end")
    }

    /// A synchronous standby of this cluster, in that directory.
    #[must_use]
    #[track_caller]
    pub fn standby(&self, data: &Path, sockets: &Path) -> Self {
        directory_of("postgres", data);
        run(Command::new("chmod").arg("0700").arg(data));
        let mut base = as_user("postgres");
        base.arg(format!("{BIN}/pg_basebackup")).args(["-c", "fast", "-R", "-U", "postgres", "-h"]);
        run(base.arg(&self.sockets).arg("-D").arg(data));
        Self::at(data, sockets)
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-qAtXw", "-F", " ", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h"]);
        psql.arg(&self.sockets);
        psql
    }

    /// Makes the tables; `tablespace` is where the larger one goes.
    #[track_caller]
    pub fn has_tables(&self, tablespace: &str) {
        let mut session = self.session();
        session.tell(&format!("create table t (w int, n bigint, primary key (w, n)) {tablespace}"));
        session.tell("create table last (w int primary key, n bigint)");
        session.tell(&format!("insert into last select w, 0 from generate_series(0, {}) w", WRITERS - 1));
    }

    /// Each number is a transaction over two tables.
    #[must_use]
    pub fn load(&self) -> Load {
        let cluster = self.clone();
        Load::start(WRITERS, move |writer| {
            let mut session = cluster.session();
            Box::new(move |number| {
                let text = format!(
                    "begin; insert into t values ({writer}, {number}); update last set n = {number} where w = {writer}; commit"
                );
                let said = session.ask(&text)?;
                if said.is_empty() { Ok(()) } else { Err(format!("number {number}: {said:?}")) }
            })
        })
    }

    /// Where the next record of the write-ahead log goes.
    #[must_use]
    #[track_caller]
    pub fn log_position(&self) -> Lsn {
        let said = self.session().tell("select pg_current_wal_insert_lsn()");
        Lsn::read(&said[0]).unwrap_or_else(|| panic!("no position: {said:?}"))
    }
}

/// What the server holds of each writer.
#[must_use]
#[track_caller]
pub fn found(session: &mut Session) -> Vec<Found> {
    // Not by the index: what the table itself holds.
    session.tell("set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off");
    let numbers = |writer: u64| {
        let lines = session.tell(&format!("select n from t where w = {writer}"));
        lines.iter().map(|line| line.parse().unwrap_or_else(|_| panic!("no number: {line}"))).collect()
    };
    (0..WRITERS).map(numbers).collect()
}

/// What is wrong with the tables: halves of transactions, and what the index and the table don't agree on.
#[must_use]
#[track_caller]
pub fn halves(session: &mut Session) -> Vec<String> {
    session.tell("reset all");
    session.tell("select 'writer ' || w || ' is at ' || n || ' in one table only' from last where n <> (select coalesce(max(n), 0) from t where t.w = last.w)")
}

/// What is wrong with the recovery that a started server's log tells of: it must begin at a checkpoint that was begun after `after`.
#[must_use]
pub fn judge_recovery(log: &str, after: Lsn) -> Vec<String> {
    let mut wrong = Vec::new();
    let mark = "redo starts at ";
    match log.split_once(mark).and_then(|(_, rest)| rest.lines().next()).and_then(Lsn::read) {
        None => wrong.push("the log tells of no redo".to_owned()),
        Some(began) if began < after => {
            wrong.push(format!("redo starts at {began:x?}, before the freeze was asked for at {after:x?}"));
        }
        Some(_) => {}
    }
    for line in log.lines().filter(|line| ["PANIC:", "FATAL:", "ERROR:"].iter().any(|grave| line.contains(grave))) {
        wrong.push(line.to_owned());
    }
    wrong
}
