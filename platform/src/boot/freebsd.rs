//! FreeBSD: the sysctl kern.boot_id, 16 random bytes (sys/kern/kern_mib.c). Not kern.boottime, which moves whenever the clock is set.

use crate::sysctl_freebsd::{bytes, numbers};
use crate::{OsError, Result};

pub(super) fn id() -> Result<String> {
    let id = numbers(c"kern.boot_id").and_then(|mib| bytes(&mib));
    let id = id.map_err(|cause| OsError::new("read the boot's id (sysctl kern.boot_id)", cause))?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}
