//! How much is still to be written to the disks.

#[cfg_attr(target_os = "freebsd", path = "freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "linux.rs")]
mod system;

/// Dirty buffers (FreeBSD), or kilobytes of dirty pages and of pages being written (Linux), of the whole machine: to be compared with an earlier
/// answer only. None: the kernel doesn't tell.
#[must_use]
pub fn buffers() -> Option<u64> {
    system::buffers()
}

/// Whether so little is dirty that whoever suspends a filesystem writes it out sooner than a flush before would: what any disk takes within some
/// milliseconds. False where the kernel doesn't tell.
#[must_use]
pub fn is_little() -> bool {
    buffers().is_some_and(|left| left <= system::LITTLE)
}

/// Whether [`buffers`] counts what was written through shared mappings as well.
pub(crate) const COUNTS_MAPPINGS: bool = system::COUNTS_MAPPINGS;

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_has_a_count() {
        assert!(super::buffers().is_some());
    }
}
