//! What would a freeze do? From the mount table and the plugins' verdicts to the steps in their order, or to every reason why not.
//!
//! Pure: the engine asks the plugins and hands in what they said. Nothing here talks to anyone.

mod hangs;
mod order;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use hv_vss_types::{FsId, Mount, Table};
use hv_vss_wire::Claim;

use crate::cycle::{Holder, Kind, Shape, WorkerId};

/// A filesystem that the administrator has declared to need no freezing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// The filesystem's type, such as `zfs`.
    pub fstype: String,
    /// The whole path it is mounted on; none: wherever one of this type is.
    pub mount: Option<String>,
    /// Why that is right, for whoever reads the log of a restore.
    pub reason: String,
}

/// What becomes of one mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The mount.
    pub mount: Mount,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a mount in a freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This plugin freezes it.
    Freeze(WorkerId),
    /// It needs no freezing.
    Ignore {
        /// Who says so: a plugin's name, or `configuration`.
        by: String,
        /// Why.
        reason: String,
    },
    /// A backup now would be wrong.
    Veto {
        /// Who says so.
        by: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// Mounts on their way to a verdict: the plugins are asked one after the other, each for what the earlier ones left.
#[derive(Debug)]
pub struct Judging {
    mounts: Vec<(Mount, Option<Verdict>)>,
}

/// A plan: what a freeze does, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The applications, lowest number first.
    pub apps: Vec<App>,
    /// The filesystems, in freeze order.
    pub filesystems: Vec<Filesystem>,
    /// Every mount with its verdict, in mount order.
    pub judged: Vec<Judged>,
    /// Filesystems that were unmounted before their turn. Who is back under such an id was not frozen.
    gone: HashSet<FsId>,
}

/// An application step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its worker.
    pub worker: WorkerId,
    /// Its number.
    pub number: u8,
}

/// A filesystem step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// The worker that suspends it.
    pub worker: WorkerId,
    /// What is suspended.
    pub mount: Mount,
    /// It stays suspended when that worker dies.
    pub survives_exit: bool,
    /// Its resume throws away what was stored to shared mappings of its files (UFSSUSPEND).
    pub drops_mapped: bool,
}

/// What would be frozen, first to last, whether or not something vetoes.
#[must_use]
pub fn freeze_order(judged: &[Judged]) -> Vec<Mount> {
    order::freeze_order(judged).into_iter().map(|(_, mount)| mount.clone()).collect()
}

impl Exemption {
    fn covers(&self, mount: &Mount) -> bool {
        self.fstype == mount.fstype && self.mount.as_ref().is_none_or(|on| *on == mount.on)
    }
}

impl Judging {
    /// Begins with the configuration's exemptions.
    #[must_use]
    pub fn begin(mounts: Vec<Mount>, exemptions: &[Exemption]) -> Self {
        let judge = |mount: &Mount| {
            exemptions.iter().find(|exemption| exemption.covers(mount)).map(|exemption| Verdict::Ignore {
                by: "configuration".to_owned(),
                reason: format!("exempt by the configuration: {}", exemption.reason),
            })
        };
        let mounts = mounts.into_iter().map(|mount| {
            let verdict = judge(&mount);
            (mount, verdict)
        });
        Self { mounts: mounts.collect() }
    }

    /// The mounts nobody has decided on, in mount order.
    #[must_use]
    pub fn undecided(&self) -> Vec<Mount> {
        self.mounts.iter().filter(|(_, verdict)| verdict.is_none()).map(|(mount, _)| mount.clone()).collect()
    }

    /// What plugin `name` said to [`undecided`](Self::undecided).
    ///
    /// # Errors
    /// A sentence, when it did not say as much as it was asked.
    pub fn said(&mut self, worker: WorkerId, name: &str, claims: Vec<Claim>) -> Result<(), String> {
        let open: Vec<_> = self.mounts.iter_mut().filter(|(_, verdict)| verdict.is_none()).collect();
        if open.len() != claims.len() {
            return Err(format!(
                "plugin {name} was asked about {} mounts and answered about {}",
                open.len(),
                claims.len()
            ));
        }
        for ((_, verdict), claim) in open.into_iter().zip(claims) {
            *verdict = match claim {
                Claim::Freeze => Some(Verdict::Freeze(worker)),
                Claim::Ignore { reason } => Some(Verdict::Ignore { by: name.to_owned(), reason }),
                Claim::Veto { reason } => Some(Verdict::Veto { by: name.to_owned(), reason }),
                Claim::NotMine => None,
            };
        }
        Ok(())
    }

    /// All plugins were asked: a writable mount that nobody wants is a veto.
    #[must_use]
    pub fn end(self) -> Vec<Judged> {
        let unclaimed = |mount: &Mount| {
            let (on, fstype) = (&mount.on, &mount.fstype);
            if mount.read_only {
                Verdict::Ignore { by: "orchestrator".to_owned(), reason: "mounted read-only".to_owned() }
            } else {
                Verdict::Veto {
                    by: "orchestrator".to_owned(),
                    reason: format!(
                        "no plugin knows what to do with {on} ({fstype}): install one that does, unmount it, or exempt it with \
                         [[filesystems.exempt]] type = \"{fstype}\", mount = \"{on}\" and a reason"
                    ),
                }
            }
        };
        let judge = |(mount, verdict): (Mount, Option<Verdict>)| {
            let verdict = verdict.unwrap_or_else(|| unclaimed(&mount));
            Judged { mount, verdict }
        };
        self.mounts.into_iter().map(judge).collect()
    }
}

impl Plan {
    /// The plan for these verdicts, or every veto as a sentence.
    ///
    /// # Errors
    /// The sentences of all vetoes.
    pub fn make(
        mut apps: Vec<App>,
        judged: Vec<Judged>,
        survives_exit: impl Fn(WorkerId) -> bool,
    ) -> Result<Self, Vec<String>> {
        let mut vetoes: Vec<String> = judged.iter().filter_map(Judged::veto).collect();
        vetoes.extend(hangs::reasons(&judged));
        if !vetoes.is_empty() {
            return Err(vetoes);
        }
        apps.sort_by_key(|app| app.number);
        let filesystems = order::freeze_order(&judged)
            .into_iter()
            .map(|(worker, mount)| Filesystem {
                worker,
                mount: mount.clone(),
                survives_exit: survives_exit(worker),
                drops_mapped: false,
            })
            .collect();
        Ok(Self { apps, filesystems, judged, gone: HashSet::new() })
    }

    /// What the state machine needs to know of it.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let apps = self.apps.iter().map(|app| Holder { worker: app.worker, kind: Kind::App { number: app.number } });
        let filesystems = self
            .filesystems
            .iter()
            .map(|step| Holder { worker: step.worker, kind: Kind::Filesystem { survives_exit: step.survives_exit } });
        Shape(apps.chain(filesystems).collect())
    }

    /// The mounts that are frozen, in freeze order.
    #[must_use]
    pub fn frozen_mounts(&self) -> Vec<Mount> {
        self.filesystems.iter().map(|step| step.mount.clone()).collect()
    }

    /// Notes whose resumes throw away what was stored to shared mappings.
    pub fn note_dropping(&mut self, drops_mapped: impl Fn(WorkerId) -> bool) {
        self.filesystems.iter_mut().for_each(|step| step.drops_mapped = drops_mapped(step.worker));
    }

    /// The mounts whose resume throws away what was stored to shared mappings.
    #[must_use]
    pub fn dropping_mounts(&self) -> Vec<Mount> {
        self.filesystems.iter().filter(|step| step.drops_mapped).map(|step| step.mount.clone()).collect()
    }

    /// This one was unmounted before it could be frozen: from now on it counts as left out. Mounted again it has the same id, since UFS keeps that
    /// in its superblock.
    pub fn is_gone(&mut self, fsid: FsId) {
        self.gone.insert(fsid);
    }

    fn frozen(&self) -> impl Iterator<Item = FsId> {
        self.filesystems.iter().map(|step| step.mount.fsid).filter(|fsid| !self.gone.contains(fsid))
    }

    /// Compares the plan with the mount table as it is once everything is held, and again when it is to be let go.
    ///
    /// # Errors
    /// A sentence that says that something is mounted and not listed, or names the first writable mount which the plan did not know as such: it is
    /// in the backup, and was not frozen.
    pub fn compare(&self, now: &Table, exemptions: &[Exemption]) -> Result<(), String> {
        // What is held may be among the hidden: its unmount waits for the release.
        let held_and_hidden = self.frozen().filter(|fsid| now.mounts.iter().all(|mount| mount.fsid != *fsid)).count();
        if now.hidden > held_and_hidden {
            return Err("a filesystem is being unmounted, which hides it, so nobody knows whether all of it is frozen"
                .to_owned());
        }
        let frozen: HashSet<FsId> = self.frozen().collect();
        let exempt = |mount: &Mount| exemptions.iter().any(|exemption| exemption.covers(mount));
        let looked_at = |mount: &&Mount| !mount.read_only && !frozen.contains(&mount.fsid) && !exempt(mount);
        for mount in now.mounts.iter().filter(looked_at) {
            let known = self.judged.iter().any(|judged| {
                let same = judged.mount.fsid == mount.fsid
                    && judged.mount.on == mount.on
                    && judged.mount.fstype == mount.fstype;
                let turned_writable = judged.mount.read_only && !judged.exempt();
                same && !turned_writable && !self.gone.contains(&mount.fsid)
            });
            if !known {
                return Err(format!(
                    "{} ({}) was mounted, or became writable, while the others were being frozen or were held; the next try will include it",
                    mount.on, mount.fstype
                ));
            }
        }
        Ok(())
    }
}

impl Judged {
    fn veto(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Veto { reason, .. } => Some(reason.clone()),
            Verdict::Freeze(_) | Verdict::Ignore { .. } => None,
        }
    }

    fn exempt(&self) -> bool {
        matches!(&self.verdict, Verdict::Ignore { by, .. } if by == "configuration")
    }
}
