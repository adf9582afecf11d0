//! The record of what this plugin owes, kept up to date once the orchestrator is gone, or is stopped beyond the expiry (see `hv_vss_wire::owed`).
//! Until then the file is the orchestrator's: this process does not touch it, since the filesystem it lies on may be frozen.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hv_vss_wire::owed::{MOST_BYTES, Owed};

/// One plugin's record.
#[derive(Default)]
pub struct Debt {
    path: Option<PathBuf>,
    settled: RefCell<Vec<String>>,
    /// Whether this process lets go by itself: then nobody else keeps the record.
    by_itself: Cell<bool>,
}

impl Debt {
    /// The record that `--owed PATH` names, if it is among the arguments.
    pub fn from_arguments(arguments: &[OsString]) -> Self {
        let path = arguments.chunks(2).find(|pair| pair[0] == "--owed").and_then(|pair| pair.get(1)).map(PathBuf::from);
        Self { path, ..Self::default() }
    }

    /// From now on thaws are run that nobody asked for.
    pub fn lets_go_by_itself(&self) {
        self.by_itself.set(true);
    }

    /// A sub-step has had its thaw. Once we are `alone` the record says so at once: should this process die, too, it is not run again.
    pub fn settled(&self, name: String, alone: bool) {
        self.settled.borrow_mut().push(name);
        if alone || self.by_itself.get() {
            self.keep(|record, settled| record.substeps.retain(|name| !settled.contains(name)));
        }
    }

    /// A new freeze: nothing of it is settled.
    pub fn begin(&self) {
        self.settled.borrow_mut().clear();
        self.by_itself.set(false);
    }

    /// Everything was let go without the orchestrator: what is left was never started.
    pub fn paid(&self) {
        let Some(path) = &self.path else { return };
        // If it can't be removed, the next orchestrator lets go once more, which is harmless.
        if self.is_ours() {
            let _ = hv_vss_trust::remove(path);
        }
    }

    fn keep(&self, change: impl FnOnce(&mut Owed, &[String])) {
        let Some(path) = &self.path else { return };
        if let Some(mut record) = read(path)
            && u32::try_from(record.pid) == Ok(std::process::id())
        {
            change(&mut record, &self.settled.borrow());
            let _ = record.to_bytes().and_then(|bytes| hv_vss_trust::replace(path, &bytes, 0o600));
        }
    }

    fn is_ours(&self) -> bool {
        let record = self.path.as_deref().and_then(read);
        record.is_some_and(|record| u32::try_from(record.pid) == Ok(std::process::id()))
    }
}

fn read(path: &Path) -> Option<Owed> {
    let bytes = hv_vss_trust::read_within(path, MOST_BYTES).ok().flatten()?;
    Owed::parse(&bytes).ok()
}
