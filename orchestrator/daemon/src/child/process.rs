//! A child's process: a real one, or, in the harness, one that a test plays. It ends when it ends; a kill asks for that and does not wait.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;

use hv_vss_platform::reaper;
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::Launch;

/// How children are started.
#[derive(Clone)]
pub enum Programs {
    /// As processes.
    Processes,
    /// They are played.
    Played(Rc<Played>),
}

/// Plays every child.
pub struct Played {
    /// A worker is started: its process, and the other end of its socket.
    pub worker: StartsWorker,
    /// A flush is started.
    pub flush: StartsFlush,
}

/// Starts a worker that is played.
pub type StartsWorker = Box<dyn Fn(&Launch) -> io::Result<(PlayedProcess, StdStream)>>;
/// Starts a flush that is played.
pub type StartsFlush = Box<dyn Fn() -> io::Result<PlayedProcess>>;

thread_local! {
    /// The processes that the event loop itself waits for.
    static WAITED_FOR: RefCell<BTreeSet<i32>> = const { RefCell::new(BTreeSet::new()) };
}

/// Reaps what became this process's child by its worker's death, and has ended. Nothing waits, and no process is touched that the event loop waits for.
pub(crate) fn reap_orphans() {
    let own: Vec<Pid> = WAITED_FOR.with_borrow(|pids| pids.iter().copied().map(Pid::from_raw).collect());
    if let Err(error) = reaper::reap_orphans(&own) {
        tracing::debug!("{error}");
    }
}

/// A child that the event loop waits for.
pub(crate) struct Waited {
    child: Child,
    pid: i32,
}

impl Waited {
    pub(crate) fn new(child: Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        WAITED_FOR.with_borrow_mut(|pids| pids.insert(pid));
        Self { child, pid }
    }
}

impl Drop for Waited {
    fn drop(&mut self) {
        WAITED_FOR.with_borrow_mut(|pids| pids.remove(&self.pid));
    }
}

/// A process as its parent sees it.
pub(crate) enum Process {
    Real(Waited),
    Played(PlayedProcess),
}

/// The parent's end of a process that is played.
pub struct PlayedProcess {
    pid: i32,
    killed: Rc<Cell<bool>>,
    ended: oneshot::Receiver<ExitStatus>,
}

/// The player's end of one.
#[derive(Debug)]
pub struct Player {
    killed: Rc<Cell<bool>>,
    end: oneshot::Sender<ExitStatus>,
}

impl PlayedProcess {
    /// A process with this number, and whoever plays it.
    #[must_use]
    pub fn new(pid: i32) -> (Self, Player) {
        let (end, ended) = oneshot::channel();
        let killed = Rc::new(Cell::new(false));
        (Self { pid, killed: Rc::clone(&killed), ended }, Player { killed, end })
    }
}

impl Player {
    /// Was it sent a SIGKILL?
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.get()
    }

    /// It ends: with this wait status (a signal's number, or an exit code shifted by eight).
    pub fn ends(self, status: i32) {
        // A parent that has ended itself does not mind.
        let _ = self.end.send(ExitStatus::from_raw(status));
    }
}

impl Process {
    /// Starts the program that flushes.
    pub(crate) fn flush(programs: &Programs, program: &Path) -> io::Result<Self> {
        match programs {
            Programs::Processes => {
                // Judged each time, and used by the path that was judged.
                let trusted = hv_vss_trust::regular_file(program, Some(Path::new("/"))).map_err(io::Error::other)?;
                let mut command = Command::new(trusted);
                command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().map(Waited::new).map(Self::Real)
            }
            Programs::Played(played) => (played.flush)().map(Self::Played),
        }
    }

    pub(crate) fn id(&self) -> i32 {
        match self {
            Self::Real(waited) => waited.pid,
            Self::Played(played) => played.pid,
        }
    }

    /// Waits for its end. May be dropped and called again until it has ended.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Real(waited) => waited.child.wait().await,
            Self::Played(played) => {
                (&mut played.ended).await.map_err(|_| io::Error::other("whoever played it is gone"))
            }
        }
    }

    /// SIGKILL. It may have ended by itself in this very moment; then its end is on its way to whoever waits.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Real(waited) => drop(waited.child.start_kill()),
            Self::Played(played) => played.killed.set(true),
        }
    }
}
