//! A directory of the test's own for a pool, and another program that reads and writes it.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(unreachable_pub, reason = "this is a module of each of them")]
#![allow(clippy::unwrap_used, reason = "a test's own set-up may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hv_vss_kvp_pool::{Pool, PoolFile, Until};

/// Removed at its end.
pub struct Stage(pub PathBuf);

impl Stage {
    #[track_caller]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hv_vss-pool-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let ground = std::env::temp_dir().join(name);
        fs::create_dir(&ground).unwrap();
        Self(ground)
    }

    pub fn pool(&self) -> PoolFile {
        PoolFile::new(&self.0, Pool::Guest)
    }

    pub fn file(&self) -> PathBuf {
        self.pool().path().to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A ground that is a disk of its own can't be removed while it is mounted.
        #[cfg(target_os = "linux")]
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Long enough for a busy machine.
pub fn soon() -> Until {
    Until(Instant::now() + Duration::from_secs(20))
}

/// The other program, compiled once for each test program.
pub fn hammer() -> &'static Path {
    static HAMMER: OnceLock<PathBuf> = OnceLock::new();
    HAMMER.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let name = format!("{}-hammer", test.file_stem().unwrap().display());
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hammer.c");
        let mut compile = Command::new("cc");
        compile.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"]).arg(&program).arg(source);
        assert!(compile.status().expect("a C compiler, as cc").success(), "the other program does not compile");
        program
    })
}

/// Another program sets a pair.
#[track_caller]
pub fn set(file: &Path, key: &str, value: &str) {
    let status = Command::new(hammer()).arg("set").arg(file).args([key, value]).status().unwrap();
    assert!(status.success(), "{key}");
}

/// The pool as the other program reads it.
#[track_caller]
pub fn list(file: &Path) -> Vec<(String, String)> {
    let output = Command::new(hammer()).arg("list").arg(file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let pair = |line: &str| line.split_once('\t').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
    said.lines().map(pair).collect()
}
