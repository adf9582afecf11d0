//! The conversation on the control socket, as documented in docs/control.md: frames as on the way to workers (a four-byte little-endian length, then
//! JSON), one question from the client, answers from the daemon. Fields are only ever added.

use hv_vss_types::Mount;
use serde::{Deserialize, Serialize};

use crate::record::{Ending, Record};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// How do you stand? Answered with [`Reply::Status`].
    Status,
    /// Would a backup work now? Answered with [`Reply::Outlook`], when the plugins have been asked; refused while a cycle is in work.
    Check,
    /// Let everything go now. Answered with [`Reply::Done`] at once; what it led to, `status` tells.
    Thaw,
    /// The latest cycles, the oldest first. Answered with [`Reply::Records`].
    History {
        /// How many at the most.
        last: usize,
    },
    /// One cycle, also the one in work. Answered with [`Reply::Records`] of one.
    Show {
        /// Its id; none: the one in work, or else the latest that was more than a CHECK.
        cycle: Option<String>,
    },
    /// A cycle without a host. Answered with [`Reply::Records`] of one once it has ended; refused while a cycle is in work.
    Rehearse {
        /// How long everything is held, in milliseconds.
        hold_ms: u64,
        /// Filesystems are frozen, too.
        freeze: bool,
        /// Only this script of hooks.d runs, and no other plugin's application step.
        only: Option<String>,
    },
    /// Write off a thaw that is still owed. Answered with [`Reply::Done`], or refused.
    Forgive {
        /// The plugin that owes it.
        plugin: String,
    },
    /// Read the configuration again. Answered with [`Reply::Done`], or refused with the error; the old one then stays in force.
    Reload,
    /// Everything counted since the daemon began. Answered with [`Reply::Metrics`].
    Metrics,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Question::Status`].
    Status(Box<Status>),
    /// To [`Question::Check`].
    Outlook(Outlook),
    /// To [`Question::History`], [`Question::Show`], [`Question::Rehearse`].
    Records {
        /// The records, the oldest first.
        records: Vec<Record>,
        /// What could not be read of the history, as a sentence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        damage: Option<String>,
    },
    /// It is done, or under way.
    Done,
    /// To [`Question::Metrics`]: OpenMetrics text.
    Metrics {
        /// The text.
        text: String,
    },
    /// It can't be done: a sentence.
    Refused {
        /// The sentence.
        reason: String,
    },
}

/// How the daemon stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// `idle`, `checking`, `freezing: ...`, `frozen`, `releasing`.
    pub state: String,
    /// For how long it has been in this state, in milliseconds.
    pub since_ms: u64,
    /// The cycle in work.
    pub cycle: Option<String>,
    /// Which driver: `base` or `hv_vss_broker`.
    pub driver: String,
    /// The limit for one request, in milliseconds.
    pub limit_ms: u64,
    /// What is held or owed a thaw, by name, with how it stands.
    pub held: Vec<HeldOne>,
    /// The latest cycle that was more than a CHECK.
    pub last_backup: Option<Brief>,
    /// The latest CHECK.
    pub last_check: Option<Brief>,
    /// Why the last cycle, of any kind, makes the daemon unwell: `vssctl status` then exits with 1.
    pub trouble: Option<String>,
    /// Thaws that have not run, and are tried again.
    #[serde(default)]
    pub debts: Vec<DebtStatus>,
    /// The plugins.
    pub plugins: Vec<PluginStatus>,
    /// Counters since the daemon began.
    pub counters: Counters,
}

/// One holder that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOne {
    /// A plugin or a mount point.
    pub name: String,
    /// `freezing`, `held`, `owed a thaw`, `thawing`.
    pub stands: String,
}

/// A thaw that has not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebtStatus {
    /// The plugin that owes it.
    pub plugin: String,
    /// Of which cycle.
    pub cycle: String,
    /// The scripts that are left, if it runs scripts.
    pub parts: Vec<String>,
    /// Why it has not run.
    pub why: String,
    /// In how many milliseconds it is tried again; none: it is at work.
    pub next_ms: Option<u64>,
    /// No freeze begins before it has run.
    pub required: bool,
}

/// A cycle in one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// Its id.
    pub cycle: String,
    /// When it began, in milliseconds since 1970 (UTC).
    pub began_ms: u64,
    /// How it ended, and what came after.
    #[serde(flatten)]
    pub ending: Ending,
}

impl Brief {
    /// A record without its steps.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self { cycle: record.cycle.clone(), began_ms: record.began_ms, ending: record.ending.clone() }
    }
}

/// How a plugin stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// Its version, once it was loaded.
    pub version: Option<String>,
    /// What it is in one line.
    pub description: Option<String>,
    /// Its place in the order.
    pub number: u8,
    /// Its process.
    pub pid: Option<i32>,
    /// It suspends filesystems.
    pub filesystem: bool,
    /// It brings an application to rest.
    pub application: bool,
    /// It is told how cycles ended, and no backup waits for it.
    #[serde(default)]
    pub observer: bool,
    /// Why it does not run, if it doesn't.
    pub trouble: Option<String>,
    /// How often it had to be started again.
    pub restarts: u64,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// CHECKs answered with success and with failure.
    pub checks_ok: u64,
    /// CHECKs answered with failure.
    pub checks_failed: u64,
    /// Backups by result.
    pub backups_ok: u64,
    /// Refused before anything was touched.
    pub backups_refused: u64,
    /// Failed.
    pub backups_failed: u64,
    /// Let go before the host asked.
    pub backups_expired: u64,
    /// The daemon ended in the hold.
    pub backups_died: u64,
    /// Cycles with an aftermath.
    pub aftermaths: u64,
    /// Requests that were refused for being out of place.
    pub out_of_place: u64,
    /// Rehearsals.
    pub rehearsals: u64,
    /// Plugin processes that had to be started again.
    pub plugin_restarts: u64,
    /// Scripts that failed.
    pub hook_failures: u64,
    /// Answers that the driver found too late.
    pub late_answers: u64,
}

/// Would a backup work now?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    /// It would.
    pub would_work: bool,
    /// Every reason why not.
    pub reasons: Vec<String>,
    /// Every mount with its verdict, in mount order.
    pub mounts: Vec<MountOutlook>,
    /// The filesystems in freeze order, by mount point.
    pub freeze_order: Vec<String>,
    /// The application plugins in the order they are asked, with their numbers.
    pub applications: Vec<(u8, String)>,
    /// How long asking took, in milliseconds.
    pub took_ms: u64,
    /// The limit for one request, in milliseconds.
    pub limit_ms: u64,
}

/// A mount and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountOutlook {
    /// The mount.
    pub mount: Mount,
    /// `freeze`, `ignore` or `veto`.
    pub verdict: String,
    /// Which plugin says so, or `configuration`.
    pub by: String,
    /// Why; for a veto also what to do.
    pub reason: String,
}
