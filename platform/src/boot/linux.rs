//! Linux: /proc/sys/kernel/random/boot_id.

use crate::{OsError, Result};

pub(super) fn id() -> Result<String> {
    const ID: &str = "/proc/sys/kernel/random/boot_id";
    let id =
        std::fs::read_to_string(ID).map_err(|cause| OsError::new(format!("read the boot's id from {ID}"), cause))?;
    Ok(id.trim_end().to_owned())
}
