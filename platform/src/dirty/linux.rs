//! Linux: `Dirty` and `Writeback` of /proc/meminfo.

/// Kilobytes.
pub(super) const LITTLE: u64 = 1024;
/// A page is counted from the first store through a mapping on.
pub(super) const COUNTS_MAPPINGS: bool = true;

pub(super) fn buffers() -> Option<u64> {
    sum(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn sum(meminfo: &str) -> Option<u64> {
    let field = |name: &str| {
        meminfo.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok())
    };
    Some(field("Dirty:")? + field("Writeback:")?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dirty_and_in_flight_are_added_and_writebacktmp_is_neither() {
        let meminfo =
            "MemFree:  7 kB\nDirty:               120 kB\nWriteback:             3 kB\nWritebackTmp:         50 kB\n";
        assert_eq!(super::sum(meminfo), Some(123));
        assert_eq!(super::sum("Dirty: 1 kB\n"), None);
    }
}
