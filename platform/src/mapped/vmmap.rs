//! The entries of kern.proc.vmmap: `struct kinfo_vmentry` of sys/sys/user.h, packed, since FreeBSD 12.

use super::Found;

/// `KVME_TYPE_VNODE`: a file.
const VNODE: i32 = 2;
/// `KVME_PROT_WRITE`.
const WRITE: i32 = 2;
/// `KVME_FLAG_COW`: a store makes a private copy.
const COPY_ON_WRITE: i32 = 1;
/// `KF_ATTR_VALID`: the file's attributes are filled in.
const ATTRIBUTES: u16 = 1;

const TYPE: usize = 4;
pub(super) const FLAGS: usize = 44;
pub(super) const PROTECTION: usize = 56;
pub(super) const STATUS: usize = 86;
pub(super) const DEVICE: usize = 88;
pub(super) const PATH: usize = 136;

/// The shared writable mappings of files.
pub(super) fn shared_and_writable(mut entries: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    while let Some(length) = int(entries, 0).and_then(|length| usize::try_from(length).ok())
        && let Some((entry, rest)) = entries.split_at_checked(length).filter(|_| length >= PATH)
    {
        found.extend(judge(entry));
        entries = rest;
    }
    found
}

fn judge(entry: &[u8]) -> Option<Found> {
    let shared_and_writable =
        int(entry, TYPE)? == VNODE && int(entry, PROTECTION)? & WRITE != 0 && int(entry, FLAGS)? & COPY_ON_WRITE == 0;
    if !shared_and_writable {
        return None;
    }
    let known = u16::from_ne_bytes(*entry.get(STATUS..)?.first_chunk()?) & ATTRIBUTES != 0;
    let device = u64::from_ne_bytes(*entry.get(DEVICE..)?.first_chunk()?);
    let path = text(&entry[PATH..]);
    Some(Found { device: known.then_some(device), file: Some(path).filter(|path| !path.is_empty()) })
}

fn int(entry: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*entry.get(at..)?.first_chunk()?))
}

/// Characters up to the first zero.
pub(super) fn text(array: &[u8]) -> String {
    let end = array.iter().position(|byte| *byte == 0).unwrap_or(array.len());
    String::from_utf8_lossy(&array[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry as the kernel packs it: the path with its zero, then up to a multiple of eight.
    fn entry(kind: i32, protection: i32, flags: i32, device: Option<u64>, path: &str) -> Vec<u8> {
        let mut entry = vec![0; (PATH + path.len() + 1).next_multiple_of(8)];
        let length = i32::try_from(entry.len()).unwrap();
        for (at, value) in [(0, length), (TYPE, kind), (FLAGS, flags), (PROTECTION, protection)] {
            entry[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        entry[STATUS..STATUS + 2].copy_from_slice(&u16::from(device.is_some()).to_ne_bytes());
        entry[DEVICE..DEVICE + 8].copy_from_slice(&device.unwrap_or_default().to_ne_bytes());
        entry[PATH..PATH + path.len()].copy_from_slice(path.as_bytes());
        entry
    }

    fn found(device: Option<u64>, file: Option<&str>) -> Found {
        Found { device, file: file.map(str::to_owned) }
    }

    #[test]
    fn only_shared_writable_files_are_found_among_what_a_program_maps() {
        let map = [
            entry(VNODE, 5, COPY_ON_WRITE | 2, Some(90), "/usr/local/bin/sqlite3"),
            entry(VNODE, 3, COPY_ON_WRITE, Some(90), "/usr/local/bin/sqlite3"),
            entry(3, 3, 0, None, ""),
            entry(VNODE, 3, 0, Some(91), "/var/db/app.db-shm"),
            entry(VNODE, 1, 0, Some(91), "/var/db/read-only"),
            entry(4, 3, 0, None, "/dev/fb0"),
            entry(VNODE, 3, 0, Some(92), ""),
            entry(VNODE, 3, 0, None, "/tmp/x"),
            entry(9, 0, 0, None, ""),
        ];
        let expected =
            [found(Some(91), Some("/var/db/app.db-shm")), found(Some(92), None), found(None, Some("/tmp/x"))];
        assert_eq!(shared_and_writable(&map.concat()), expected);
    }

    #[test]
    fn an_answer_that_is_cut_or_garbled_ends_the_list() {
        let one = entry(VNODE, 3, 0, Some(1), "/a");
        for cut in 0..one.len() {
            assert_eq!(shared_and_writable(&one[..cut]), []);
        }
        let mut none = one.clone();
        none[..4].copy_from_slice(&0_i32.to_ne_bytes());
        assert_eq!(shared_and_writable(&[one, none].concat()).len(), 1);
    }
}
