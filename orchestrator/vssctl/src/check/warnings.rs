//! What would not stop a backup now, and will one day.

use super::findings::Findings;
use crate::cycles::answered_ms;
use crate::when::{float, span, span_of};
use hv_vss_core::deadline::Limits;
use hv_vss_core::record::CycleResult;

/// What resuming a UFS took per cached vnode, in milliseconds: 120 to 165 ms with 10,000 of them, 37 to 42 ms with 2,000 (tried on FreeBSD 12.1 and
/// 14.0 in emulation). The upper end: a warning may come early.
const RESUME_MS_PER_VNODE: f64 = 0.021;
/// A freeze that took more of its time than this is on its way to fail.
const MUCH_OF_THE_TIME: f64 = 0.6;

/// All of them, each a sentence with what to do.
pub(super) fn all(findings: &Findings, limits: &Limits, cached_vnodes: Option<u64>) -> Vec<String> {
    let thaw_ms = limits.limit.saturating_sub(limits.reserve).as_secs_f64() * 1000.0;
    [slow_resume(cached_vnodes, thaw_ms), slow_freeze(findings), findings.hooks.not_run.clone()]
        .into_iter()
        .flatten()
        .collect()
}

/// Resuming reads the inode of each cached vnode again, and a THAW is answered FAIL if that takes too long.
fn slow_resume(cached: Option<u64>, thaw_ms: f64) -> Option<String> {
    let cached = cached?;
    let estimate_ms = float(cached) * RESUME_MS_PER_VNODE;
    (estimate_ms > thaw_ms / 2.0).then(|| {
        format!(
            "{cached} vnodes are cached, and resuming reads each of a frozen filesystem again: that may take up to {}, and a THAW that takes longer than {} is answered FAIL. Lower kern.maxvnodes",
            span(estimate_ms),
            span(thaw_ms)
        )
    })
}

fn slow_freeze(findings: &Findings) -> Option<String> {
    let last = findings.last.as_ref().filter(|last| last.ending.result == Some(CycleResult::Ok))?;
    let took_ms = answered_ms(last)?;
    (took_ms > float(last.budget_ms) * MUCH_OF_THE_TIME).then(|| {
        format!(
            "the last freeze took {} of the {} it had: `vssctl timeline {}` shows where the time went",
            span(took_ms),
            span_of(last.budget_ms),
            last.cycle
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_cached_vnodes_are_a_warning_before_a_thaw_comes_too_late() {
        assert_eq!(slow_resume(None, 14_000.0), None);
        assert_eq!(slow_resume(Some(200_000), 14_000.0), None);
        let warned = slow_resume(Some(400_000), 14_000.0).unwrap();
        assert!(warned.contains("400000 vnodes") && warned.contains("kern.maxvnodes"), "{warned}");
    }
}
