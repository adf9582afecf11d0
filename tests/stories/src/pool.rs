//! The pool of key-value pairs as a Hyper-V host would see it: read as hv_kvp_daemon(8) reads the file, and passed on as FreeBSD's driver does.
//!
//! Knows the format and nothing of the plugin that writes it.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

const KEY: usize = 512;
const VALUE: usize = 2048;

/// All pairs of the pool in this directory, in their order; none when there is no pool.
///
/// # Panics
/// When the file is not a whole number of records, or has text that is no UTF-8.
#[must_use]
#[track_caller]
pub fn as_the_host_sees_it(directory: &Path) -> Vec<(String, String)> {
    let Ok(mut file) = OpenOptions::new().read(true).write(true).open(directory.join(".kvp_pool_1")) else {
        return Vec::new();
    };
    let whole = libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
        #[cfg(target_os = "freebsd")]
        l_sysid: 0,
    };
    fcntl(&file, FcntlArg::F_SETLKW(&whole)).expect("the daemon's lock");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("a file that can be read");
    assert_eq!(bytes.len() % (KEY + VALUE), 0, "a torn record");
    let records = bytes.chunks(KEY + VALUE);
    records.map(|record| (passed_on(&record[..KEY]), passed_on(&record[KEY..]))).collect()
}

/// The text up to its null byte, as UTF-16; two units less than the field has are written (FreeBSD: sys/dev/hyperv/utilities/hv_kvp.c).
#[track_caller]
fn passed_on(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let units: Vec<u16> = std::str::from_utf8(text).expect("UTF-8").encode_utf16().collect();
    assert!(
        units.len() <= field.len() / 2 - 2,
        "the host would be told a length that is not there: {} units",
        units.len()
    );
    String::from_utf16(&units).expect("whole characters")
}
