//! The orchestrator's record of what is owed, on disk. As long as the orchestrator lives it keeps the record; once it is dead, or has been stopped
//! and the expiry has passed, this process pays the debts, and must strike them off, or the next orchestrator would pay them again.
//!
//! Of the record only this much is known here: a JSON object whose `cycle` is the cycle's id and whose `hooks` is a list of names.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hv_vss_platform::OsError;
use serde_json::Value;

/// Leaves in the record of this cycle only the hooks for which `still_owed` holds. A record that is missing, or another cycle's, is left alone.
///
/// # Errors
/// When it can't be read or replaced.
pub(crate) fn strike(record: &Path, cycle: &str, still_owed: impl Fn(&str) -> bool) -> Result<(), OsError> {
    let cannot = |cause: io::Error| OsError::new(format!("bring the record {} up to date", record.display()), cause);
    let text = match fs::read(record) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot(error)),
    };
    let mut object: Value = serde_json::from_slice(&text).map_err(|error| cannot(error.into()))?;
    if object.get("cycle").and_then(Value::as_str) != Some(cycle) {
        return Ok(());
    }
    if let Some(hooks) = object.get_mut("hooks").and_then(Value::as_array_mut) {
        hooks.retain(|hook| hook.as_str().is_some_and(&still_owed));
    }
    let new = record.with_extension("new");
    let write = || {
        let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        writeln!(file, "{object}")
    };
    write().and_then(|()| fs::rename(&new, record)).map_err(cannot)
}
