//! The one claim whose proof costs a filesystem: it is left frozen, and only a reset of the machine helps.

use super::{Report, is_frozen};
use crate::actor::{Actor, PATIENCE};
use crate::ground::{Ground, text};

pub(crate) fn last_wish(ground: &Ground, report: &mut Report) {
    report.claim("a killed holder with a disk file on a descriptor below ufssuspend's hangs in its exit, and the filesystem stays frozen", || {
        let file = text(&ground.inner.file("below"));
        std::fs::write(&file, "x").map_err(|error| error.to_string())?;
        let mut holder = Actor::start("hold", &[&ground.inner.id.to_string(), "file-below", &file])?;
        holder.says("held")?;
        holder.kill();
        if holder.ends(PATIENCE) {
            return Err("it died".into());
        }
        is_frozen(&ground.inner).map(drop)
    });
}
