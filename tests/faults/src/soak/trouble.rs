//! The troubles of the soak: what happens in a cycle besides a backup, and what the host must hear then.

use hv_vss_stories::Operation::{Check, Freeze, Thaw};
use hv_vss_stories::Signal;

use super::{asks, backup, freeze, hears};
use crate::guest::{Bench, HOOKS, PLUGINS, SOON};
use crate::inject::processes::{comes_true, signal};
use crate::matrix::named;
use crate::rng::Rng;

named! {
    /// What a cycle is like.
    Trouble {
        /// A backup.
        None = "plain backups",
        /// A CHECK before the backup, as a Windows host does.
        Checked = "backups after a CHECK",
        /// A script refuses.
        Refusal = "refusing scripts",
        /// A host dies while everything is held.
        DeathWhileHeld = "hosts killed while all was held",
        /// A host dies while nothing is in work.
        DeathWhileIdle = "hosts killed while idle",
        /// The host of the machine thaws too late.
        LateThaw = "late thaws",
        /// The application dies and comes back.
        Application = "deaths of the application",
        /// Requests out of place.
        OutOfPlace = "requests out of place",
        /// An operator thaws.
        Operator = "operators' thaws",
        /// The configuration is read again.
        Reload = "reloads",
    }
}

impl Trouble {
    /// By chance: most cycles are backups, and what takes long is rare.
    pub(super) fn drawn(rng: &mut Rng) -> Self {
        match rng.below(200) {
            0..120 => Self::None,
            120..160 => Self::Checked,
            160..168 => Self::Refusal,
            168..174 => Self::DeathWhileHeld,
            174..180 => Self::DeathWhileIdle,
            180..182 => Self::LateThaw,
            182..188 => Self::Application,
            188..194 => Self::OutOfPlace,
            194..198 => Self::Operator,
            _ => Self::Reload,
        }
    }

    /// One cycle. The error says what the host heard that it should not have.
    pub(super) fn cycle(self, bench: &mut Bench, rng: &mut Rng) -> Result<(), String> {
        match self {
            Self::None => backup(bench),
            Self::Checked => {
                hears(bench, Check, true)?;
                backup(bench)
            }
            Self::Refusal => refusal(bench, one_of(rng, &HOOKS)),
            Self::DeathWhileHeld => {
                // zfs_veto and claimer hold nothing: their deaths spoil nothing.
                let plugin = one_of(rng, &PLUGINS);
                let spoils = !matches!(plugin, "zfs_veto.so" | "claimer.so");
                freeze(bench)?;
                kill(bench, plugin);
                if spoils {
                    is_let_go(bench)?;
                }
                hears(bench, Thaw, !spoils)?;
                recovers(bench)
            }
            Self::DeathWhileIdle => {
                kill(bench, one_of(rng, &PLUGINS));
                recovers(bench)
            }
            Self::LateThaw => {
                freeze(bench)?;
                is_let_go(bench)?;
                hears(bench, Thaw, false)?;
                recovers(bench)
            }
            Self::Application => {
                if let Some(pid) = bench.application() {
                    signal(pid, Signal::SIGKILL);
                }
                bench.application_starts();
                backup(bench)
            }
            Self::OutOfPlace => {
                freeze(bench)?;
                hears(bench, Check, false)?;
                hears(bench, Freeze, false)?;
                hears(bench, Thaw, true)?;
                hears(bench, Thaw, true)
            }
            Self::Operator => {
                freeze(bench)?;
                bench.guest.daemon().signal(Signal::SIGUSR1);
                is_let_go(bench)?;
                hears(bench, Thaw, false)?;
                recovers(bench)
            }
            Self::Reload => {
                bench.guest.daemon().signal(Signal::SIGHUP);
                backup(bench)
            }
        }
    }
}

fn refusal(bench: &Bench, hook: &str) -> Result<(), String> {
    let refuse = bench.directory().join(format!("refuse-{hook}-freeze"));
    std::fs::write(&refuse, "").map_err(|error| format!("{}: {error}", refuse.display()))?;
    let heard = hears(bench, Freeze, false);
    std::fs::remove_file(&refuse).map_err(|error| format!("{}: {error}", refuse.display()))?;
    heard?;
    hears(bench, Thaw, true)
}

fn kill(bench: &Bench, plugin: &str) {
    if let Some(pid) = bench.guest.find_worker(plugin) {
        signal(pid, Signal::SIGKILL);
        comes_true(SOON, || !crate::inject::processes::is_alive(pid));
    }
}

/// Without the host having asked for it, the disks can be written to again.
fn is_let_go(bench: &Bench) -> Result<(), String> {
    let now = hv_vss_platform::clock::now();
    let written = comes_true(2 * SOON, || bench.first_writes_after(now).iter().all(|(_, at)| at.is_some()));
    if written { Ok(()) } else { Err("the disks stay frozen".to_owned()) }
}

/// A CHECK succeeds again.
fn recovers(bench: &Bench) -> Result<(), String> {
    if comes_true(SOON, || asks(bench, Check) == Some(true)) {
        Ok(())
    } else {
        Err("no backup is allowed any more".to_owned())
    }
}

fn one_of<T: Copy>(rng: &mut Rng, these: &[T]) -> T {
    let at = rng.below(these.len() as u64);
    these[usize::try_from(at).unwrap_or(0)]
}
