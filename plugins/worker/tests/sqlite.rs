//! The header's example in C: a real SQLite database in WAL mode, with an application busy writing to it, comes to rest and goes on.

mod stage;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hv_vss_testbed::needs;
use hv_vss_wire::{Answer, Call, Event};
use hv_vss_worker::conformance::subject::Ended;
use hv_vss_worker::conformance::{Trial, Verdict, run};
use stage::*;

#[track_caller]
fn compiled(source: &str, name: &str, options: &[&str]) -> Scratch {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = Scratch::new(name);
    let status = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"])
        .args(options)
        .arg("-I")
        .arg(directory.join("../api/include"))
        // Where FreeBSD's packages are.
        .args(["-I", "/usr/local/include", "-L", "/usr/local/lib", "-o"])
        .arg(&file.0)
        .arg(directory.join(source))
        .arg("-lsqlite3")
        .status()
        .expect("a C compiler, as cc");
    assert!(status.success(), "{source} does not compile: is SQLite installed, with its header?");
    file
}

fn plugin() -> Scratch {
    compiled("../api/examples/sqlite.c", "sqlite.so", &["-shared", "-fPIC"])
}

/// A database in a directory of its own.
struct Database(PathBuf);

impl Database {
    fn new(test: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sqlite-{test}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }

    fn file(&self) -> PathBuf {
        self.0.join("app.db")
    }

    fn setting(&self) -> serde_json::Map<String, serde_json::Value> {
        [("database".to_owned(), self.file().display().to_string().into())].into_iter().collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An application that writes and writes.
struct Application {
    child: Child,
    program: Scratch,
    stdin: Option<ChildStdin>,
    /// The last row it knows to be committed.
    committed: Arc<AtomicU64>,
}

impl Application {
    fn busy_on(database: &Database) -> Self {
        let program = compiled("tests/plugins/sqlite_writer.c", "sqlite_writer", &["-D_POSIX_C_SOURCE=200809L"]);
        let mut child = Command::new(&program.0)
            .arg(database.file())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the application starts");
        let committed = Arc::new(AtomicU64::new(0));
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let told = Arc::clone(&committed);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                told.store(line.parse().expect("a number"), Ordering::SeqCst);
            }
        });
        let application = Self { stdin: child.stdin.take(), child, program, committed };
        becomes_true("the application has written a hundred rows", || application.committed() >= 100);
        application
    }

    fn committed(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }

    /// The integrity check's word and the highest number in a copy of the database.
    #[track_caller]
    fn look_into(&self, copy: &Path) -> (String, u64) {
        let output = Command::new(&self.program.0).arg(copy).arg("count").output().expect("the application starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let (integrity, rows) = text.trim_end().split_once('\n').unwrap_or_else(|| panic!("it said {output:?}"));
        (integrity.to_owned(), rows.parse().expect("a number"))
    }

    fn ends_well(mut self) -> bool {
        drop(self.stdin.take());
        self.child.wait().expect("it can be waited for").success()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // Does nothing to one that has ended; the others belong to tests that failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn while_frozen_nobody_writes_and_the_database_file_alone_holds_every_committed_row() {
    needs!(Sqlite);
    let database = Database::new("rest");
    let application = Application::busy_on(&database);
    let plugin = plugin();
    let mut stage = Stage::around(&plugin.0, &[]);
    stage.loaded();
    assert_eq!(stage.worker.call(Call::Open { config: database.setting() }, SOON), done());
    assert_eq!(stage.check(), done());

    assert_eq!(stage.freeze(), done());
    let copy = database.0.join("copy.db");
    fs::copy(database.file(), &copy).expect("a copy, without its WAL");
    let (integrity, at_rest) = application.look_into(&copy);
    assert_eq!(integrity, "ok");
    becomes_true("the copy has what the application has committed", || application.committed() == at_rest);
    // Long enough for hundreds of rows, were it not at rest.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(application.committed(), at_rest, "a row was committed while frozen");
    let says_so = |event: &Event| matches!(event, Event::Log { text, .. } if text.starts_with("at rest; "));
    assert!(stage.worker.said.iter().any(says_so), "{:?}", stage.worker.said);

    assert_eq!(stage.thaw(), done());
    becomes_true("the application goes on after the thaw", || application.committed() > at_rest + 10);
    assert!(application.ends_well());
    assert_eq!(stage.worker.call(Call::Close, SOON), done());
}

#[test]
fn a_killed_worker_holds_nothing_back() {
    needs!(Sqlite);
    let database = Database::new("killed");
    let application = Application::busy_on(&database);
    let plugin = plugin();
    let mut stage = Stage::around(&plugin.0, &[]);
    stage.loaded();
    assert_eq!(stage.worker.call(Call::Open { config: database.setting() }, SOON), done());
    assert_eq!(stage.freeze(), done());
    stage.worker.kill();
    let before = application.committed();
    becomes_true("the application goes on after the worker's death", || application.committed() > before + 10);
    assert!(application.ends_well());
}

#[test]
fn a_missing_database_or_setting_is_a_sentence() {
    needs!(Sqlite);
    let plugin = plugin();
    let open = |key: &str, value: &str| {
        let mut stage = Stage::around(&plugin.0, &[]);
        stage.loaded();
        let config = [(key.to_owned(), value.into())].into_iter().collect();
        match stage.worker.call(Call::Open { config }, SOON) {
            Ended::Answered(Answer::Refused { reason }) => reason,
            other => panic!("expected a refusal, got {other:?}"),
        }
    };
    assert_eq!(
        open("database", "/nonexistent/app.db"),
        "the database /nonexistent/app.db: can't open it: unable to open database file"
    );
    assert_eq!(open("databsae", "/x"), "unknown setting databsae: there is database");
}

#[test]
fn a_database_that_is_not_in_wal_mode_fails_the_check_with_the_remedy() {
    needs!(Sqlite);
    let database = Database::new("journal");
    // An empty file is an empty database, in the default mode.
    fs::write(database.file(), "").expect("a file");
    let plugin = plugin();
    let mut stage = Stage::around(&plugin.0, &[]);
    stage.loaded();
    assert_eq!(stage.worker.call(Call::Open { config: database.setting() }, SOON), done());
    let Ended::Answered(Answer::Refused { reason }) = stage.check() else { panic!("not refused") };
    assert!(reason.contains("is not in WAL mode: set it once with PRAGMA journal_mode=WAL"), "{reason}");
}

#[test]
fn it_keeps_every_promise_beside_a_busy_application() {
    needs!(Sqlite);
    let database = Database::new("promises");
    let application = Application::busy_on(&database);
    let plugin = plugin();
    let report = run(&Trial {
        program: Path::new(env!("CARGO_BIN_EXE_hv_vss_worker")).into(),
        file: plugin.0.clone(),
        options: vec![],
        config: database.setting(),
        mounts: vec![mount("/data", 1)],
        freezable: None,
        patience: SOON,
    });
    assert!(report.findings.iter().all(|finding| finding.verdict == Verdict::Kept), "{report}");
    assert!(application.ends_well());
}
