//! What one descriptor holds, and what ends a hold.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Report, holder_of, is_frozen, is_writable, went_on};
use crate::ground::Ground;

pub(crate) fn holding(ground: &Ground, report: &mut Report) {
    report.claim(
        "one descriptor holds one filesystem: a second one gets EBUSY and stays writable, the first stays held",
        || {
            let mut holder = holder_of(&ground.inner)?;
            holder.tell(&format!("also {}", ground.outer.id));
            holder.says("refused EBUSY")?;
            is_writable(&ground.outer)?;
            let writer = is_frozen(&ground.inner)?;
            holder.tell("resume");
            holder.says("resumed")?;
            went_on(writer)
        },
    );
    report.claim(
        "two descriptors hold two filesystems, the one in a file on the other first, and both are released",
        || {
            let mut inner = holder_of(&ground.inner)?;
            let mut outer = holder_of(&ground.outer)?;
            let writers = [is_frozen(&ground.inner)?, is_frozen(&ground.outer)?];
            outer.tell("resume");
            outer.says("resumed")?;
            inner.tell("resume");
            inner.says("resumed")?;
            writers.into_iter().try_for_each(went_on)
        },
    );
    report.claim("a holder that is killed lets go at once", || {
        let mut holder = holder_of(&ground.outer)?;
        let writer = is_frozen(&ground.outer)?;
        holder.kill();
        went_on(writer)?;
        holder.has_ended()
    });
    report.claim("the last close lets go", || {
        let mut holder = holder_of(&ground.outer)?;
        let writer = is_frozen(&ground.outer)?;
        holder.tell("close");
        holder.says("closed")?;
        went_on(writer)
    });
    report.claim("a copy of the descriptor in a child keeps the filesystem frozen until the child ends", || {
        let mut holder = holder_of(&ground.outer)?;
        holder.tell("leave-copy");
        let child =
            holder.hears(crate::actor::PATIENCE).and_then(|line| line.parse().ok()).ok_or("no child was started")?;
        holder.kill();
        holder.has_ended()?;
        let writer = is_frozen(&ground.outer);
        kill(Pid::from_raw(child), Signal::SIGKILL).map_err(|errno| format!("the child can't be killed: {errno}"))?;
        went_on(writer?)
    });
}
