//! What can happen to an engine in the harness, one thing at a time. Small enough that a fuzzer makes stories of bytes.

use hv_vss_device::Operation;

/// One thing that happens. Where it makes no sense (a plugin answers that was not asked), nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The host asks, now.
    Asks(Operation),
    /// A request comes up that the driver took from the host a while ago: an application had it first.
    AskedAgo {
        /// What is asked.
        operation: Operation,
        /// When, in milliseconds before now.
        ms: u32,
        /// By how much the wall clock was set meanwhile, in milliseconds.
        stepped_ms: i32,
    },
    /// A plugin answers the oldest of its calls.
    Answers(u8, Reaction),
    /// A plugin does something that it was not asked for.
    Misbehaves(u8, Trouble),
    /// The first flush that still runs ends.
    FlushEnds,
    /// The disk under the state directory stalls: nothing is written until it goes on.
    DiskStalls,
    /// It goes on, and writes what has piled up.
    DiskGoesOn,
    /// The next starts of this plugin's process end so.
    NextStarts(u8, Reaction),
    /// No process can be started, for want of memory or descriptors; or they can again.
    NoProcesses(bool),
    /// The mount table changes.
    Mounts(Change),
    /// An upgrade puts another file in a plugin's place.
    FileIsReplaced {
        /// Which.
        plugin: u8,
    },
    /// An operator, or a signal.
    Operator(Wish),
    /// The device's node goes away.
    NodeGoes,
    /// Time passes, on both clocks, and what is due on the way is done when it is due.
    Passes {
        /// For so long.
        ms: u32,
    },
    /// The machine sleeps: nobody gets to run until it is over. The wall clock is put right afterwards; the monotonic clock may have counted it.
    Sleeps {
        /// For so long.
        ms: u32,
        /// The monotonic clock went on meanwhile.
        counted: bool,
    },
    /// The wall clock is set.
    WallClockStepsBy {
        /// By so much.
        ms: i32,
    },
    /// The monotonic clock jumps, and the wall clock does not: it had been put right before.
    MonotonicJumps {
        /// By so much.
        ms: u32,
    },
}

/// How a plugin answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// As it should: it does what it is asked, and says how that went. It can't suspend what is not mounted.
    Well,
    /// It refuses, with a sentence.
    Refuses,
    /// It is broken, and says so.
    IsBroken,
    /// It says that it is done, and does nothing; to a claim it answers with one too few.
    Lies,
}

/// What a plugin does without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It dies. What it suspended the kernel resumes, unless that outlives it.
    Dies,
    /// It is killed with SIGSEGV while it holds; the same to the engine but for the word.
    Crashes,
    /// It closes its socket and lives on.
    ClosesItsSocket,
    /// It sends bytes that are no message.
    Babbles,
    /// It answers a call that it never got.
    AnswersNobody,
    /// It writes to the log.
    Logs,
    /// Its time has expired, and it lets go of all it holds by itself. Before its time nothing happens.
    LetsGo,
    /// It can't be killed from now on: it is stuck in the kernel.
    GetsStuck,
    /// It is free again, and a SIGKILL that it got meanwhile takes effect.
    ComesFree,
    /// It says that a script was started, and that one ended.
    TellsOfScripts,
}

/// How the mount table changes. Disks are numbered; a disk that was never there is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is mounted, writable.
    Mounted(u8),
    /// It is unmounted.
    Unmounted(u8),
    /// Its unmount begins: until that has ended (`Unmounted`) or failed (`Mounted`) it is written to and not listed.
    Unmounting(u8),
    /// It becomes read-only.
    ReadOnly(u8),
    /// It becomes writable.
    Writable(u8),
    /// The table can't be read (no descriptor is left), or can be again.
    Unreadable(bool),
}

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGUSR1, or `vssctl thaw`.
    Thaw,
    /// SIGTERM.
    Stop,
    /// SIGHUP.
    Reload,
    /// `vssctl check`.
    Check,
    /// `vssctl status`.
    Status,
    /// `vssctl rehearse`.
    Rehearse {
        /// For how long everything is held.
        hold_ms: u32,
        /// With the filesystems.
        freeze: bool,
    },
}

impl Happening {
    /// The happening that these bytes stand for. Every three bytes stand for one, and the common ones have most of the bytes.
    #[must_use]
    pub fn of([what, which, how]: [u8; 3]) -> Self {
        let ms = u32::from(which) * 256 + u32::from(how);
        match what % 32 {
            0..=3 => Self::Asks(operation(which)),
            4 => Self::AskedAgo {
                operation: operation(which),
                ms: u32::from(how) * 100,
                stepped_ms: [0, 0, 3_600_000, -3_600_000][usize::from(which / 16 % 4)],
            },
            5..=14 => Self::Answers(which % 8, reaction(how)),
            15..=17 => Self::Misbehaves(which % 8, trouble(how)),
            18..=19 => Self::FlushEnds,
            20 if which.is_multiple_of(2) => Self::DiskStalls,
            20 => Self::DiskGoesOn,
            21 => Self::NextStarts(which % 8, reaction(how)),
            22 => Self::NoProcesses(which.is_multiple_of(2)),
            23..=24 => Self::Mounts(change(which, how)),
            25 => Self::FileIsReplaced { plugin: which % 8 },
            26..=27 => Self::Operator(wish(which, how)),
            28 if which == 0 => Self::NodeGoes,
            28..=29 => Self::Passes { ms },
            30 => Self::Sleeps { ms: ms * 60, counted: how.is_multiple_of(2) },
            _ if which.is_multiple_of(2) => Self::MonotonicJumps { ms: u32::from(how) * 20_000 },
            _ => Self::WallClockStepsBy { ms: (i32::from(how) - 128) * 30_000 },
        }
    }
}

fn operation(byte: u8) -> Operation {
    match byte % 16 {
        0..=3 => Operation::Check,
        4..=9 => Operation::Freeze,
        10..=14 => Operation::Thaw,
        _ => Operation::Unknown(9),
    }
}

fn reaction(byte: u8) -> Reaction {
    match byte % 16 {
        13 => Reaction::Refuses,
        14 => Reaction::IsBroken,
        15 => Reaction::Lies,
        _ => Reaction::Well,
    }
}

fn trouble(byte: u8) -> Trouble {
    match byte % 10 {
        0 => Trouble::Dies,
        1 => Trouble::Crashes,
        2 => Trouble::ClosesItsSocket,
        3 => Trouble::Babbles,
        4 => Trouble::AnswersNobody,
        5 => Trouble::Logs,
        6 => Trouble::LetsGo,
        7 => Trouble::GetsStuck,
        8 => Trouble::ComesFree,
        _ => Trouble::TellsOfScripts,
    }
}

fn change(which: u8, how: u8) -> Change {
    match how % 9 {
        0 | 1 => Change::Mounted(which % 8),
        2 | 3 => Change::Unmounted(which % 8),
        8 => Change::Unmounting(which % 8),
        4 => Change::ReadOnly(which % 8),
        5 => Change::Writable(which % 8),
        6 => Change::Unreadable(true),
        _ => Change::Unreadable(false),
    }
}

fn wish(which: u8, how: u8) -> Wish {
    match which % 16 {
        0..=2 => Wish::Thaw,
        3 => Wish::Stop,
        4..=5 => Wish::Reload,
        6..=7 => Wish::Check,
        8..=9 => Wish::Status,
        _ => Wish::Rehearse { hold_ms: u32::from(how) * 10, freeze: !which.is_multiple_of(2) },
    }
}
