//! A worker as the orchestrator sees it: a process at the other end of a socket, which may answer, babble, hang or die at any moment.
//! None of that may ever delay or surprise us: its messages are bounded, its calls have limits, and its death is an event like any other.

mod attend;
mod hearing;
mod process;
mod spawn;

use std::cell::Cell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;

use hv_vss_platform::clock::Monotonic;
use hv_vss_wire::{About, Answer, Call, Level, Phase, Progress};
use tokio::sync::{mpsc, oneshot};

#[doc(hidden)]
pub use hearing::{Heard, Hearing};
pub use process::{Played, PlayedProcess, Player, Programs, StartsFlush, StartsWorker};
pub(crate) use process::{Process, Waited, reap_orphans};
pub use spawn::{SpawnError, start};

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The worker program.
    pub program: PathBuf,
    /// The plugin it loads.
    pub file: PathBuf,
    /// The plugin's name in the configuration and in sentences.
    pub name: String,
    /// More options for the worker.
    pub options: Vec<OsString>,
}

/// What a worker tells without being asked.
#[derive(Debug)]
pub enum Said {
    /// It is loaded.
    Loaded(About),
    /// Its plugin can't be used.
    Unfit(String),
    /// A line for the log.
    Log(Level, String),
    /// A sub-step began or ended.
    Substep(String, Phase, Progress),
    /// A process was started for a sub-step; what marks it and its descendants.
    Process { script: String, phase: Phase, pid: i32, mark: String },
    /// It let go of everything by itself.
    LetGo,
    /// It broke the rules of the conversation and is killed: what it has done since, nobody will ever hear.
    Unheard,
    /// Its process is gone; how it ended, as the end of a sentence. Nothing comes after this.
    Gone(String),
}

/// The way to give a worker orders. Dropping the last one closes the socket, upon which the worker lets go of all it holds and ends.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    next_id: Rc<Cell<u64>>,
    /// Its process id.
    pub pid: i32,
}

/// A call that is under way.
#[derive(Debug)]
pub struct Pending {
    /// Its number, for [`Handle::cancel`].
    pub id: u64,
    answer: oneshot::Receiver<Answer>,
}

#[derive(Debug)]
enum Order {
    Call { id: u64, call: Call, limit: Option<Monotonic>, answer: oneshot::Sender<Answer> },
    Cancel { id: u64 },
    Kill(&'static str),
}

impl Handle {
    /// Sends a call. With a `limit` the worker is killed if it has not answered by then; without, whoever waits decides.
    #[must_use]
    pub fn call(&self, call: Call, limit: Option<Monotonic>) -> Pending {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let (answer, pending) = oneshot::channel();
        // If the worker is gone already, the answer's other end is dropped here, and the wait ends with "gone".
        let _ = self.orders.send(Order::Call { id, call, limit, answer });
        Pending { id, answer: pending }
    }

    /// Asks the worker to give up a call. It is still answered.
    pub fn cancel(&self, id: u64) {
        let _ = self.orders.send(Order::Cancel { id });
    }

    /// SIGKILL, and why, as the end of "was killed, since". [`Said::Gone`] follows once the process has really ended.
    pub fn kill(&self, why: &'static str) {
        let _ = self.orders.send(Order::Kill(why));
    }
}

impl Pending {
    /// The answer; `None` when the worker is gone without one.
    pub async fn answer(self) -> Option<Answer> {
        self.answer.await.ok()
    }
}
