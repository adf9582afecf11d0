//! MariaDB: a small server, its load, and the judgement of one that was started from a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::{Found, Load, Server, Session, directory_of, run, text};

/// Writers, each with a connection.
pub const WRITERS: u64 = 3;
/// Rows of one statement: half a statement would show.
const ROWS: u64 = 4;

/// As small as goes, and for both the new server and one from a copy.
const SETTINGS: &[&str] = &[
    "--no-defaults",
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=8M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
    "--innodb-autoextend-increment=1",
    "--innodb-undo-tablespaces=0",
];

/// Data, and where its server listens.
#[derive(Clone)]
pub struct Instance {
    /// The data directory.
    pub data: PathBuf,
    /// A directory of its own for the socket, which is not frozen.
    pub run: PathBuf,
}

impl Instance {
    /// A new one, in which root is known by the socket.
    #[must_use]
    #[track_caller]
    pub fn new(data: &Path, run_directory: &Path) -> Self {
        let instance = Self::at(data, run_directory);
        directory_of("mysql", data);
        let mut install = Command::new("mariadb-install-db");
        install.args(SETTINGS).args(["--user=mysql", "--auth-root-authentication-method=socket", "--skip-test-db"]);
        install.arg(format!("--datadir={}", text(data))).arg(format!("--tmpdir={}", text(run_directory)));
        run(&mut install);
        instance
    }

    /// One that is there already.
    #[must_use]
    #[track_caller]
    pub fn at(data: &Path, run: &Path) -> Self {
        directory_of("mysql", run);
        Self { data: data.to_owned(), run: run.to_owned() }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("socket")
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Panics
    /// When it doesn't get ready.
    #[track_caller]
    pub fn start(&self) -> Server {
        let mut words = vec!["mariadbd".to_owned()];
        words.extend(SETTINGS.iter().map(|setting| (*setting).to_owned()));
        words.extend([
            format!("--datadir={}", text(&self.data)),
            format!("--socket={}", text(&self.socket())),
            format!("--pid-file={}", text(&self.run.join("pid"))),
            // Two servers in one /tmp choose the same names.
            format!("--tmpdir={}", text(&self.run)),
            "--skip-networking".to_owned(),
            "--log-bin=binlog".to_owned(),
            "--innodb-use-native-aio=0".to_owned(),
        ]);
        let mut server = Server::start("mysql", &words, &self.run.join("log"), Signal::SIGKILL);
        server.says("ready for connections");
        server
    }

    /// A client, as root.
    #[must_use]
    #[track_caller]
    pub fn session(&self) -> Session {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-NB", "--unbuffered", "--skip-reconnect", "-S"]).arg(self.socket());
        Session::start(client, "select '@end';")
    }

    /// Makes the tables: one of InnoDB, one of Aria.
    #[track_caller]
    pub fn has_tables(&self) {
        let mut session = self.session();
        session.tell("create database d");
        session.tell("create table d.i (w int, n bigint, part int, primary key (w, n, part)) engine=innodb");
        session.tell("create table d.a (w int, n bigint, part int) engine=aria");
    }

    /// Each number is a statement of several rows in InnoDB, then one in Aria.
    #[must_use]
    pub fn load(&self) -> Load {
        let instance = self.clone();
        Load::start(WRITERS, move |writer| {
            let mut session = instance.session();
            Box::new(move |number| {
                let rows: Vec<String> = (0..ROWS).map(|part| format!("({writer}, {number}, {part})")).collect();
                for table in ["i", "a"] {
                    let said = session.ask(&format!("insert into d.{table} values {}", rows.join(", ")))?;
                    if !said.is_empty() {
                        return Err(format!("number {number}: {said:?}"));
                    }
                }
                Ok(())
            })
        })
    }
}

/// What the server holds of each writer in this table.
#[must_use]
#[track_caller]
pub fn found(session: &mut Session, table: &str) -> Vec<Found> {
    let numbers = |writer: u64| {
        let lines = session.tell(&format!("select distinct n from d.{table} where w = {writer}"));
        lines.iter().map(|line| line.parse().unwrap_or_else(|_| panic!("no number: {line}"))).collect()
    };
    (0..WRITERS).map(numbers).collect()
}

/// What is wrong with the tables: halves of statements, and what the server's own check finds.
#[must_use]
#[track_caller]
pub fn halves(session: &mut Session) -> Vec<String> {
    let mut wrong = Vec::new();
    for table in ["i", "a"] {
        wrong.extend(session.tell(&format!(
            "select concat('half a statement in {table}: ', w, ' ', n) from d.{table} group by w, n having count(*) <> {ROWS}"
        )));
    }
    let checked = session.tell("check table d.i, d.a");
    wrong.extend(checked.into_iter().filter(|line| !line.ends_with("OK")));
    wrong
}

/// What is wrong with the recovery that a started server's log tells of: something was rolled back, or left open.
#[must_use]
pub fn judge_recovery(log: &str) -> Vec<String> {
    let bad = ["must be rolled back", "Rolled back recovered", "crashed", "[ERROR]", "orrupt"];
    log.lines().filter(|line| bad.iter().any(|bad| line.contains(bad))).map(str::to_owned).collect()
}

/// What a copy's own binary logs hold of each writer: what a replica would be told.
#[must_use]
#[track_caller]
pub fn logged(data: &Path) -> Vec<Found> {
    let entries = fs::read_dir(data).unwrap_or_else(|error| panic!("{}: {error}", data.display()));
    let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    logs.retain(|path| path.file_stem().is_some_and(|stem| stem == "binlog"));
    logs.retain(|path| path.extension().is_some_and(|number| number.to_string_lossy().starts_with('0')));
    logs.sort();
    let text = run(Command::new("mariadb-binlog").arg("--no-defaults").args(&logs));
    let mut found = vec![Found::new(); usize::try_from(WRITERS).unwrap_or(0)];
    for line in text.lines().filter_map(|line| line.strip_prefix("insert into d.i values (")) {
        let mut numbers = line.split(", ").map(str::parse);
        if let (Some(Ok(writer)), Some(Ok(number))) = (numbers.next(), numbers.next()) {
            let writer: u64 = writer;
            usize::try_from(writer).ok().and_then(|at| found.get_mut(at)).into_iter().for_each(|set| {
                set.insert(number);
            });
        }
    }
    found
}
