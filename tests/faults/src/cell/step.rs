//! What the matrix's steps are called in the record, at the gates and in the simulated kernel.

use hv_vss_stories::Moment as Call;

use crate::guest::{Bench, DISKS, HOOKS};
use crate::matrix::Step;
use crate::record::Mark;

pub(super) fn began_before(bench: &Bench, step: Step) -> usize {
    who(step).map_or(0, |(who, call)| bench.record.count(&who, call, Mark::Began))
}

/// Who says in the record that a step has begun, and as what.
pub(super) fn who(step: Step) -> Option<(String, &'static str)> {
    let (who, call) = match step {
        Step::AppCheck => ("app", "check"),
        Step::AppFreeze => ("app", "freeze"),
        Step::VendorCheck => ("vendor", "check"),
        Step::VendorFreeze => ("vendor", "freeze"),
        Step::VendorThaw => ("vendor", "thaw"),
        Step::Claim => ("claimer", "claim"),
        Step::FirstHookFreeze => (HOOKS[0], "freeze"),
        Step::SecondHookFreeze => (HOOKS[1], "freeze"),
        Step::FirstHookThaw => (HOOKS[1], "thaw"),
        Step::SecondHookThaw => (HOOKS[0], "thaw"),
        Step::LastFlush => ("flush", "-"),
        Step::Noting | Step::FirstSuspend | Step::SecondSuspend | Step::FirstResume | Step::SecondResume => {
            return None;
        }
    };
    Some((who.to_owned(), call))
}

/// The gate that holds a step.
pub(super) fn gate_of(step: Step) -> Option<String> {
    let (who, call) = who(step)?;
    Some(if step == Step::LastFlush { who } else { format!("{who}-{call}") })
}

/// The call of the simulated kernel that holds a step.
pub(super) fn kernel_call(step: Step) -> Option<(&'static str, Call)> {
    match step {
        Step::FirstSuspend => Some((DISKS[1], Call::Suspend)),
        Step::SecondSuspend => Some((DISKS[0], Call::Suspend)),
        Step::FirstResume => Some((DISKS[0], Call::Resume)),
        Step::SecondResume => Some((DISKS[1], Call::Resume)),
        _ => None,
    }
}
