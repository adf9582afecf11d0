//! Claims every filesystem that no other plugin claimed, and vetoes the backup with the reason and the remedy.
//!
//! A backup that silently leaves out a filesystem is worse than none. So this plugin, the last in the order, has an answer for each mount: it keeps
//! nothing on a disk of this machine and is ignored, or it can't be frozen and the veto says which lines of the configuration would exempt
//! it. The exemptions themselves are applied by the orchestrator, before it asks. It freezes nothing.

mod verdict;

use hv_vss_plugin::{About, Claim, Failure, Mount, Opening, Plugin, Step, export_plugin};

/// The plugin; it has nothing to remember.
pub struct ZfsVeto;

impl Plugin for ZfsVeto {
    const ABOUT: About = About::filesystem(
        "zfs-veto",
        env!("CARGO_PKG_VERSION"),
        "Vetoes a backup when a filesystem is mounted that can't be frozen",
    )
    .with_number(99);

    fn open(opening: Opening<'_>) -> Result<Self, Failure> {
        opening.config.refuse_unknown(&[])?;
        Ok(Self)
    }

    fn check(&mut self, _step: &Step<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn claim(&mut self, _step: &Step<'_>, mount: &Mount<'_>) -> Claim {
        verdict::on(mount)
    }

    fn freeze(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        let mounts: Vec<_> = step.mounts().map(|mount| mount.on).collect();
        Err(Failure::Refused(format!("{} can't be frozen", mounts.join(", "))))
    }

    fn thaw(&mut self, _step: &Step<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

export_plugin!(ZfsVeto);
