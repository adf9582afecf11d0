//! Who takes part in a freeze, and how each stands. Bookkeeping only: what follows from it is decided in `freezing` and `releasing`.

use std::collections::BTreeMap;

/// A worker, as the engine numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub usize);

/// One that is brought to rest: an application plugin, or one filesystem. Its place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(pub usize);

/// A plan's shape: all that the state machine needs to know of it. The applications in the order of their numbers, then the filesystems in
/// freeze order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape(pub Vec<Holder>);

/// One that will be brought to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Whose process does it.
    pub worker: WorkerId,
    /// What it is.
    pub kind: Kind,
}

/// The two kinds of holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An application: those with the same number are asked at once, lower numbers first.
    App {
        /// 0 to 99.
        number: u8,
    },
    /// A filesystem, one at a time.
    Filesystem {
        /// It stays suspended when its worker dies (FIFREEZE): only a thaw call releases it.
        survives_exit: bool,
    },
}

/// How one holder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Not asked yet.
    Untouched,
    /// Asked to come to rest; it has not answered.
    Freezing,
    /// At rest.
    Held,
    /// It was asked to freeze, and that failed or its process died: it has a thaw coming. How many thaws were tried already.
    Owed(u8),
    /// Asked to let go, for the n-th time, counted from 0.
    Thawing(u8),
    /// Nothing is owed any more.
    Released,
}

/// How a worker stands, as far as this cycle has to care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    Alive,
    /// SIGKILL was sent; it may be stuck in the kernel.
    Dying,
    Dead,
    /// It could not be started; it is tried again when [`Timer::Revive`](super::Timer::Revive) fires.
    Resting,
    /// Asked to start anew.
    Reviving,
}

/// A holder's thaw is tried this often; then it is given up, loudly.
pub(super) const THAW_TRIES: u8 = 2;
/// A worker that alone can release something is started so often before it is given a pause.
const TRIES_AT_ONCE: u8 = 3;

/// All holders of one cycle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    holders: Vec<(Holder, Hold)>,
    workers: BTreeMap<WorkerId, Life>,
    /// How often a worker was started for this cycle; more than [`TRIES_AT_ONCE`] is not counted.
    revived: BTreeMap<WorkerId, u8>,
    /// Log lines are kept in memory, since a filesystem is held.
    pub(super) log_is_held: bool,
}

impl Run {
    /// Nobody takes part (yet).
    pub(super) fn empty() -> Self {
        Self { holders: Vec::new(), workers: BTreeMap::new(), revived: BTreeMap::new(), log_is_held: false }
    }

    pub(super) fn new(shape: Shape) -> Self {
        let workers = shape.0.iter().map(|holder| (holder.worker, Life::Alive)).collect();
        Self {
            holders: shape.0.into_iter().map(|holder| (holder, Hold::Untouched)).collect(),
            workers,
            revived: BTreeMap::new(),
            log_is_held: false,
        }
    }

    /// How one holder stands; `None` for a holder of another plan.
    #[must_use]
    pub fn hold(&self, id: HolderId) -> Option<Hold> {
        self.holders.get(id.0).map(|(_, hold)| *hold)
    }

    pub(super) fn set(&mut self, id: HolderId, hold: Hold) {
        if let Some((_, current)) = self.holders.get_mut(id.0) {
            *current = hold;
        }
    }

    pub(super) fn worker_of(&self, id: HolderId) -> Option<WorkerId> {
        self.holders.get(id.0).map(|(holder, _)| holder.worker)
    }

    pub(super) fn life(&self, worker: WorkerId) -> Life {
        self.workers.get(&worker).copied().unwrap_or(Life::Dead)
    }

    pub(super) fn set_life(&mut self, worker: WorkerId, life: Life) {
        if let Some(current) = self.workers.get_mut(&worker) {
            *current = life;
        }
    }

    pub(super) fn is_filesystem(&self, id: HolderId) -> bool {
        self.holders.get(id.0).is_some_and(|(holder, _)| holder.is_filesystem())
    }

    /// Is a suspension of its not released yet that outlives its process?
    #[must_use]
    pub fn alone_can_release(&self, worker: WorkerId) -> bool {
        self.each().any(|(_, holder, hold)| {
            holder.worker == worker && holder.survives_exit() && !matches!(hold, Hold::Untouched | Hold::Released)
        })
    }

    /// Was it started often enough at once? Then it dies of what it is asked, and needs a pause.
    pub(super) fn is_tired(&self, worker: WorkerId) -> bool {
        self.revived.get(&worker).is_some_and(|times| *times >= TRIES_AT_ONCE)
    }

    pub(super) fn count_revival(&mut self, worker: WorkerId) {
        let times = self.revived.entry(worker).or_default();
        *times = times.saturating_add(1).min(TRIES_AT_ONCE);
    }

    /// Workers that had a pause may be started once more.
    pub(super) fn wake(&mut self) {
        for (worker, life) in self.workers.iter_mut().filter(|(_, life)| **life == Life::Resting) {
            *life = Life::Dead;
            self.revived.insert(*worker, TRIES_AT_ONCE - 1);
        }
    }

    /// Does this worker take part?
    pub(super) fn involves(&self, worker: WorkerId) -> bool {
        self.workers.contains_key(&worker)
    }

    /// Every holder with what it is and how it stands, in freeze order.
    pub fn each(&self) -> impl DoubleEndedIterator<Item = (HolderId, Holder, Hold)> {
        self.holders.iter().enumerate().map(|(at, (holder, hold))| (HolderId(at), *holder, *hold))
    }

    /// The applications' numbers, lowest first, each once.
    pub(super) fn app_numbers(&self) -> Vec<u8> {
        let mut numbers: Vec<u8> = self.each().filter_map(|(_, holder, _)| holder.number()).collect();
        numbers.dedup();
        numbers
    }

    /// The applications with this number.
    pub(super) fn apps_with(&self, number: u8) -> Vec<HolderId> {
        self.each().filter(|(_, holder, _)| holder.number() == Some(number)).map(|(id, ..)| id).collect()
    }

    /// Is a filesystem suspended, or may it be?
    #[must_use]
    pub fn filesystem_held(&self) -> bool {
        self.each().any(|(_, holder, hold)| holder.is_filesystem() && !matches!(hold, Hold::Untouched | Hold::Released))
    }

    /// Is anything held, or owed a thaw?
    #[must_use]
    pub fn anything_held(&self) -> bool {
        self.each().any(|(_, _, hold)| !matches!(hold, Hold::Untouched | Hold::Released))
    }
}

impl Holder {
    pub(super) fn is_filesystem(self) -> bool {
        matches!(self.kind, Kind::Filesystem { .. })
    }

    pub(super) fn survives_exit(self) -> bool {
        matches!(self.kind, Kind::Filesystem { survives_exit: true })
    }

    fn number(self) -> Option<u8> {
        match self.kind {
            Kind::App { number } => Some(number),
            Kind::Filesystem { .. } => None,
        }
    }
}
