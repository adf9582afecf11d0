//! One backup as the host takes it: FREEZE, the copies, THAW, while the load goes on; and what is counted of many.

use std::time::{Duration, Instant};

use hv_vss_stories::Guest;
use hv_vss_stories::Operation::{Check, Freeze, Thaw};

use crate::{Copy, Load, Span};

/// What came of a backup.
pub struct Backup {
    /// A copy of each disk, in the order in which they were named.
    pub copies: Vec<Copy>,
    /// How far the writers were right before the host let go: all that is acknowledged here has to be in the copy.
    pub spans: Vec<Span>,
    /// From the FREEZE to its answer.
    pub freezing: Duration,
    /// From the answer to the FREEZE to the answer to the THAW.
    pub held: Duration,
}

/// Takes a backup of these disks.
///
/// # Panics
/// When the host hears a failure, when a copy would have to be repaired, or when the writers don't go on afterwards.
#[track_caller]
pub fn backup(guest: &Guest, load: &Load, disks: &[&str]) -> Backup {
    load.gets_on();
    guest.host_may(Check);
    let began = Instant::now();
    guest.host_may(Freeze);
    let (freezing, frozen) = (began.elapsed(), Instant::now());
    let copies: Vec<Copy> = disks.iter().map(|disk| Copy::take(guest, disk, "copy")).collect();
    let spans = load.spans();
    guest.host_may(Thaw);
    let held = frozen.elapsed();
    load.gets_on();
    for copy in &copies {
        assert!(!copy.needs_recovery(), "the copied filesystem needs recovery");
        copy.is_clean();
    }
    Backup { copies, spans, freezing, held }
}

/// What a run of many backups amounts to, in one line.
pub struct Tally {
    database: &'static str,
    began: Instant,
    backups: u64,
    copies: usize,
    freezing: Vec<Duration>,
    held: Vec<Duration>,
}

impl Tally {
    /// Nothing so far.
    #[must_use]
    pub fn of(database: &'static str) -> Self {
        Self { database, began: Instant::now(), backups: 0, copies: 0, freezing: Vec::new(), held: Vec::new() }
    }

    /// A backup whose every copy was found good. Now and then it says how far it is, so that a run which is cut short has told something.
    pub fn good(&mut self, backup: &Backup, load: &Load) {
        self.backups += 1;
        self.copies += backup.copies.len();
        self.freezing.push(backup.freezing);
        self.held.push(backup.held);
        if self.backups.is_multiple_of(10) {
            self.tell("so far", load);
        }
    }

    /// Prints all of it.
    pub fn ends(mut self, load: &Load) {
        self.tell("in all", load);
    }

    fn tell(&mut self, when: &str, load: &Load) {
        self.freezing.sort_unstable();
        self.held.sort_unstable();
        println!(
            "tally {when}: {}: {} backups, {} copies, {} acknowledged writes, {} s; freeze median {} ms, longest {} ms; held median {} ms, longest {} ms",
            self.database,
            self.backups,
            self.copies,
            load.acknowledged(),
            self.began.elapsed().as_secs(),
            middle(&self.freezing).as_millis(),
            self.freezing.last().copied().unwrap_or_default().as_millis(),
            middle(&self.held).as_millis(),
            self.held.last().copied().unwrap_or_default().as_millis(),
        );
    }
}

fn middle(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
