//! Linux: one directory a thread in /proc/self/task.

use std::fs;

use crate::{OsError, Result};

pub(super) fn count() -> Result<usize> {
    let tasks = fs::read_dir("/proc/self/task")
        .map_err(|cause| OsError::new("count this process's threads in /proc/self/task", cause))?;
    Ok(tasks.count())
}
