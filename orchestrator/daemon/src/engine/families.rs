//! What the scripts of the cycle in work have started, as their worker reports it.
//!
//! When the worker dies, these processes become this daemon's children (it is their reaper), and are ended before another worker runs a thaw:
//! an application must not come to rest, or wake up, behind the daemon's back. What is alive when a thaw has been answered is no longer ours:
//! a service that a thaw started is never ended.

use hv_vss_core::cycle::WorkerId;
use hv_vss_platform::reaper;
use hv_vss_wire::Phase;
use nix::unistd::Pid;

/// All families.
#[derive(Default)]
pub(super) struct Families(Vec<Family>);

/// A script's process and what descends from it.
struct Family {
    worker: WorkerId,
    script: String,
    phase: Phase,
    pid: Pid,
    mark: String,
}

impl Families {
    /// A script was started.
    pub(super) fn began(&mut self, worker: WorkerId, script: String, phase: Phase, pid: i32, mark: String) {
        // None of a script's numbers, and each of them means something else to kill(2).
        if pid > 1 && !mark.is_empty() {
            self.0.push(Family { worker, script, phase, pid: Pid::from_raw(pid), mark });
        }
    }

    /// A script's thaw has ended: what it started goes on.
    pub(super) fn thaw_ended(&mut self, worker: WorkerId, script: &str) {
        self.0.retain(|family| family.worker != worker || family.phase != Phase::Thaw || family.script != script);
    }

    /// A plugin's thaw is over; not so if it was `answered` by its process's death.
    pub(super) fn are_no_longer_ours(&mut self, worker: WorkerId, answered: bool) {
        if answered {
            self.0.retain(|family| family.worker != worker);
        }
    }

    /// A worker has died: its scripts of the cycle in work are ended.
    pub(super) fn end_those_of(&mut self, worker: WorkerId, name: &str) {
        let (ended, left) = std::mem::take(&mut self.0).into_iter().partition(|family| family.worker == worker);
        self.0 = left;
        let ended: Vec<Family> = ended;
        for Family { script, pid, mark, .. } in ended {
            match reaper::kill_family(pid, &mark) {
                Ok(0) => {}
                Ok(1) => tracing::error!("plugin {name}: 1 process that {script} had started was killed"),
                Ok(count) => tracing::error!("plugin {name}: {count} processes that {script} had started were killed"),
                Err(error) => tracing::error!("plugin {name}: what {script} had started may go on: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thaw_started_is_ours_until_it_has_ended_and_no_longer() {
        let worker = WorkerId(0);
        let mut families = Families::default();
        families.began(worker, "10-a".into(), Phase::Freeze, 100, "m1".into());
        families.began(worker, "10-a".into(), Phase::Thaw, 101, "m2".into());
        families.began(WorkerId(1), "10-a".into(), Phase::Thaw, 102, "m3".into());
        families.thaw_ended(worker, "10-a");
        let left = |families: &Families| families.0.iter().map(|family| family.pid.as_raw()).collect::<Vec<_>>();
        assert_eq!(left(&families), [100, 102]);
        families.are_no_longer_ours(worker, false);
        assert_eq!(left(&families), [100, 102], "its worker's death is no answer");
        families.are_no_longer_ours(worker, true);
        assert_eq!(left(&families), [102]);
        for pid in [1, 0, -1] {
            families.began(worker, "10-a".into(), Phase::Freeze, pid, "m4".into());
        }
        assert_eq!(left(&families), [102], "these numbers are no process of a script's");
    }
}
