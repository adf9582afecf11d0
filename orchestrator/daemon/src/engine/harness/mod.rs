//! A harness for the engine: the real [`Engine`](super::Engine) with its real event loop and its real conversation with workers, while
//! the rest of the world is played. No process is started, no disk written, no clock read; an hour passes when the test says so.
//!
//! ```ignore
//! let mut harness = Harness::new(Cast::default());          // plugins, mounts, driver
//! harness.happens(Happening::Asks(Operation::Freeze));       // one thing happens, and all that follows at once from it is done
//! harness.all_answer();                                      // plugins, flush and disk do what they are asked, one happening each
//! harness.happens(Happening::Sleeps { ms: 3_600_000, counted: true });
//! harness.happens(Happening::Asks(Operation::Thaw));
//! harness.all_answer();
//! harness.invariants();                                      // panics with the whole story if something that must hold does not
//! assert_eq!(harness.heard(), [Heard::Success, Heard::Fail]);
//! ```
//!
//! What is real: the engine, the cycle, the roster, the survey, the attending to each worker over a socketpair in the frames of `hv_vss_wire`.
//! What is played ([`Outside`](super::Outside)): both clocks (set by hand), the driver (it answers a request itself once its limit is over, and
//! then takes no other answer), every child process, the disk. A few small files lie in a directory of its own: the mount table, and one file for
//! each plugin, since the engine looks at those.
//!
//! [`Happening`] is the alphabet: [`Happening::of`] makes one of any three bytes, so that a fuzzer's input is a story. [`Harness::invariants`]
//! judges from outside: from what the driver, the plugins and the disk saw, and from what `vssctl status` would show. After each happening it may
//! be called, and should. Two runs of the same happenings are the same: everything is on one thread, and nothing waits for real time.
//!
//! For tests only. It never judges sentences; the stories in tests/stories do.

mod claims;
#[cfg(test)]
mod found;
mod happening;
mod player;
mod stage;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hv_vss_device::{Driver, Message, Operation};
use hv_vss_platform::clock::{HandSet, Monotonic};
use hv_vss_service::{Journal, Sink};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet, yield_now};

use super::{Engine, Event, Order, Outside, Read};
use crate::child::{Played, Programs};
use crate::port::{PlayedDriver, Port};
use crate::scribe::Scribe;
use hv_vss_core::config::Config;
use hv_vss_core::control::{Question, Reply, Status};
use stage::Stage;

pub use happening::{Change, Happening, Reaction, Trouble, Wish};
pub use player::Part;
pub use stage::{Called, Heard};

/// Who takes part, and what is mounted at the beginning.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Which driver the host speaks to.
    pub driver: Driver,
    /// The plugins.
    pub parts: Vec<Part>,
    /// How many filesystems of type `ufs` are mounted, writable, at the beginning: `/disk0`, `/disk1` and so on.
    pub disks: u8,
    /// More lines for the configuration.
    pub configuration: String,
    /// The driver's limit for a FREEZE, where it is another one than for the rest.
    pub freeze_limit: Option<Duration>,
}

impl Default for Cast {
    /// Two applications with different numbers, one filesystem plugin, two filesystems: the smallest that has every kind of step.
    fn default() -> Self {
        let parts = vec![Part::app("app", 20), Part::scripts("exec_hook", 50, &["10-first", "20-second"]), Part::ufs()];
        Self { driver: Driver::Ours, parts, disks: 2, configuration: String::new(), freeze_limit: None }
    }
}

/// The engine in a world that is played.
pub struct Harness {
    // Dropped in this order: the tasks while their runtime is still there.
    local: LocalSet,
    runtime: Runtime,
    served: Option<JoinHandle<()>>,
    stage: Rc<RefCell<Stage>>,
    hand: HandSet,
    events: mpsc::UnboundedSender<Event>,
    questions: Vec<(Question, oneshot::Receiver<Reply>)>,
    replies: Vec<(Question, Reply)>,
    directory: PathBuf,
    story: Vec<Happening>,
}

/// An ordinary day; any would do. 2026-11-27 12:00:00 UTC.
const BEGINNING_WALL_NS: u64 = 1_795_780_800_000_000_000;
/// Long enough after the machine's start that the hour before it exists.
const BEGINNING: Monotonic = Monotonic::from_ns(100_000 * 1_000_000_000);
/// In so many rounds, each of which runs all tasks that are ready and looks at all sockets, whatever was going on shows itself to the players.
const QUIET_ROUNDS: u32 = 3;

impl Harness {
    /// The engine is up, and its plugins are loaded.
    ///
    /// # Panics
    /// When this machine has no room for a few small files.
    #[must_use]
    pub fn new(cast: Cast) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // In memory where there is such a place: some thousands of these are made in a test.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let directory = place.join(format!("hv_vss-harness-{}-{number}", std::process::id()));
        for name in ["plugins", "state"] {
            fs::create_dir_all(directory.join(name)).expect("the harness can make its directory");
        }
        for part in &cast.parts {
            let file = directory.join("plugins").join(&part.name).with_extension("so");
            fs::write(file, part.name.as_bytes()).expect("the harness can write its files");
        }
        let hand = HandSet::at(BEGINNING, BEGINNING_WALL_NS);
        let mut config = configuration(&directory, &cast);
        if let Some(longer) = cast.freeze_limit {
            config.limits.freeze_limit = longer;
        }
        let stage = Rc::new(RefCell::new(Stage::set(&cast, &config, hand.clone(), directory.join("mounts"))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("there is a runtime");
        let local = LocalSet::new();
        let (events, heard) = mpsc::unbounded_channel();
        let outside = outside(&stage, cast.driver, &hand, directory.join("state"));
        let null = fs::OpenOptions::new().write(true).open("/dev/null").expect("there is /dev/null");
        let journal = Journal::new(Sink::of_pipe(null.into(), "hv_vss_daemon"), tracing::Level::ERROR);
        let engine = Engine::new(config, journal, outside, (events.clone(), heard));
        let served = {
            let _entered = runtime.enter();
            local.spawn_local(engine.serve(|_| {}))
        };
        let mut harness = Self {
            local,
            runtime,
            served: Some(served),
            stage,
            hand,
            events,
            questions: Vec::new(),
            replies: Vec::new(),
            directory,
            story: Vec::new(),
        };
        harness.settle();
        harness
    }

    /// This happens, and all that follows from it at once.
    pub fn happens(&mut self, happening: Happening) {
        self.begins(happening);
        self.settle();
    }

    /// All of these happen, in their order, before the engine takes notice of the first: such as a request that comes, then lies in the queue while
    /// the machine sleeps, and plugins that wake before the daemon does.
    pub fn happen_at_once(&mut self, happenings: impl IntoIterator<Item = Happening>) {
        for happening in happenings {
            self.begins(happening);
        }
        self.settle();
    }

    /// The next thing that would happen by itself if everybody does as he is asked; none: all wait for the host, or for time to pass.
    #[must_use]
    pub fn next_by_itself(&self) -> Option<Happening> {
        self.stage.borrow().next_by_itself()
    }

    /// Everybody does as he is asked until nobody is asked for anything any more.
    pub fn all_answer(&mut self) {
        while let Some(next) = self.next_by_itself() {
            self.happens(next);
        }
    }

    /// What the host heard to its requests, in the order in which it asked.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.stage.borrow().heard()
    }

    /// Every call that the plugins got so far, those of their start left out.
    #[must_use]
    pub fn calls(&self) -> Vec<Called> {
        self.stage.borrow().calls.clone()
    }

    /// The answers to an operator's questions so far.
    #[must_use]
    pub fn replies(&self) -> &[(Question, Reply)] {
        &self.replies
    }

    /// What `vssctl status` would show; none: the daemon has ended.
    #[must_use]
    pub fn status(&mut self) -> Option<Status> {
        let (ask, mut answer) = oneshot::channel();
        if self.has_ended() || self.events.send(Event::Control(Question::Status, ask)).is_err() {
            return None;
        }
        self.settle();
        match answer.try_recv() {
            Ok(Reply::Status(status)) => Some(*status),
            _ => None,
        }
    }

    /// Has the engine ended?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.served.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Everything that has happened so far.
    #[must_use]
    pub fn story(&self) -> &[Happening] {
        &self.story
    }

    /// The cycles that were written to the history, the oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<hv_vss_core::record::Record> {
        self.stage.borrow().history.clone()
    }

    fn begins(&mut self, happening: Happening) {
        self.story.push(happening.clone());
        match happening {
            Happening::Asks(operation) => self.host_asks(operation, 0, 0),
            Happening::AskedAgo { operation, ms, stepped_ms } => self.host_asks(operation, ms, stepped_ms),
            Happening::Passes { ms } => self.time_passes(Duration::from_millis(ms.into())),
            Happening::Sleeps { ms, counted } => {
                if counted {
                    self.hand.monotonic_goes_on(Duration::from_millis(ms.into()));
                }
                self.hand.wall_steps_by_ms(ms.into());
            }
            Happening::WallClockStepsBy { ms } => self.hand.wall_steps_by_ms(ms.into()),
            Happening::MonotonicJumps { ms } => self.hand.monotonic_goes_on(Duration::from_millis(ms.into())),
            Happening::Operator(wish) => self.operator_wants(wish),
            Happening::NodeGoes => {
                self.tells_engine(Event::Device(
                    hv_vss_device::Event::Gone("the node is gone".to_owned()),
                    self.read(),
                ));
            }
            Happening::FileIsReplaced { plugin } => self.file_is_replaced(plugin.into()),
            played => self.stage.borrow_mut().happens(&played),
        }
        self.stage.borrow_mut().time_has_come();
    }

    fn tells_engine(&self, event: Event) {
        // Refused only once it has ended.
        let _ = self.events.send(event);
    }

    fn read(&self) -> Read {
        Read::now(&self.hand.clock())
    }

    fn host_asks(&mut self, operation: Operation, ms_ago: u32, stepped_ms: i32) {
        if self.has_ended() {
            return;
        }
        let message: Message = self.stage.borrow_mut().host_asks(operation, ms_ago, stepped_ms);
        self.tells_engine(Event::Device(hv_vss_device::Event::Request(message), self.read()));
    }

    fn operator_wants(&mut self, wish: Wish) {
        let order = match wish {
            Wish::Thaw => Some(Order::Thaw),
            Wish::Stop => Some(Order::Stop),
            Wish::Reload => Some(Order::Reload),
            Wish::Check | Wish::Rehearse { .. } | Wish::Status => None,
        };
        if let Some(order) = order {
            return self.tells_engine(Event::Operator(order));
        }
        let question = match wish {
            Wish::Rehearse { hold_ms, freeze } => Question::Rehearse { hold_ms: hold_ms.into(), freeze, only: None },
            Wish::Check => Question::Check,
            _ => Question::Status,
        };
        let (ask, answer) = oneshot::channel();
        self.tells_engine(Event::Control(question.clone(), ask));
        self.questions.push((question, answer));
    }

    /// Time as it passes when nobody sleeps: whatever is due on the way is done when it is due.
    fn time_passes(&mut self, span: Duration) {
        let end = self.hand.clock().now() + span;
        self.settle();
        loop {
            let due = self.stage.borrow().next_due(&self.hand);
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.goes_on_to(due);
        }
        self.goes_on_to(end);
    }

    fn goes_on_to(&mut self, at: Monotonic) {
        self.hand.goes_on(self.hand.clock().now().until(at));
        self.stage.borrow_mut().time_has_come();
        self.settle();
        self.stage.borrow_mut().expiries_come();
        self.settle();
    }

    /// An upgrade: the same name, another file.
    fn file_is_replaced(&self, plugin: usize) {
        let stage = self.stage.borrow();
        let Some(name) = stage.name(plugin) else { return };
        let file = self.directory.join("plugins").join(name).with_extension("so");
        let mut bytes = fs::read(&file).unwrap_or_default();
        bytes.push(b'+');
        fs::write(file, bytes).expect("the harness can write its files");
    }

    /// Runs all tasks until nothing moves any more.
    fn settle(&mut self) {
        let stage = Rc::clone(&self.stage);
        let rounds = async {
            let mut quiet = 0;
            while quiet < QUIET_ROUNDS {
                yield_now().await;
                quiet = if stage.borrow_mut().look() { 0 } else { quiet + 1 };
            }
        };
        self.runtime.block_on(self.local.run_until(rounds));
        if let Some(served) = self.served.take_if(|served| served.is_finished())
            && let Err(error) = self.runtime.block_on(served)
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        for (question, mut answer) in std::mem::take(&mut self.questions) {
            match answer.try_recv() {
                Ok(reply) => self.replies.push((question, reply)),
                Err(oneshot::error::TryRecvError::Empty) => self.questions.push((question, answer)),
                // The engine has ended, and nobody answers any more.
                Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        // Nothing in it matters to anybody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn configuration(directory: &Path, cast: &Cast) -> Config {
    let at = directory.display();
    let text = format!(
        "[device]\nmount_table = \"{at}/mounts\"\n[paths]\nplugins = \"{at}/plugins\"\nstate = \"{at}/state\"\n{}\n",
        cast.configuration
    );
    let path = directory.join("hv_vss.toml");
    fs::write(&path, &text).expect("the harness can write its files");
    Config::parse(&path, &text).unwrap_or_else(|error| panic!("{error}"))
}

fn outside(stage: &Rc<RefCell<Stage>>, driver: Driver, hand: &HandSet, state: PathBuf) -> Outside {
    let [answers, workers, flushes, jobs] = [(); 4].map(|()| Rc::clone(stage));
    Outside {
        clock: hand.clock(),
        port: Port::Played(Rc::new(PlayedDriver {
            driver,
            answer: Box::new(move |request, verdict| answers.borrow_mut().engine_answers(request, verdict)),
        })),
        programs: Programs::Played(Rc::new(Played {
            worker: Box::new(move |launch| workers.borrow_mut().worker_is_started(launch)),
            flush: Box::new(move || flushes.borrow_mut().flush_is_started()),
        })),
        scribe: Scribe::played(Box::new(move |job| jobs.borrow_mut().is_to_be_written(job))),
        state: Some(state),
    }
}
