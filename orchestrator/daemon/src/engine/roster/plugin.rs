//! One plugin: its file, its process, and what that owes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hv_vss_wire::About;

use super::Whose;
use crate::child::Handle;
use crate::plugin_files;
use crate::sleep::Later;
use hv_vss_core::config::PluginConfig;

/// One plugin.
pub(in crate::engine) struct Plugin {
    pub(in crate::engine) name: String,
    pub(super) file: PathBuf,
    pub(super) default: plugin_files::Default,
    pub(super) config: PluginConfig,
    pub(in crate::engine) state: State,
    /// Counts its processes: what an earlier one says is not heard any more.
    pub(in crate::engine) generation: u64,
    /// Which file the running process was loaded from.
    pub(super) loaded: Option<FileId>,
    /// What its current process owes: scripts that were started and not let go. Keeps its order.
    pub(in crate::engine) owed: Vec<String>,
    /// Its sub-steps of this cycle that have a thaw.
    pub(in crate::engine) planned: Vec<String>,
    /// The process in which they were started.
    pub(in crate::engine) owed_by: u64,
    pub(in crate::engine) restarts: u64,
    /// Its file, when it was last loaded, said that it is an observer.
    pub(super) observes: bool,
    /// To be started when nothing is in work.
    pub(super) wanted: bool,
    /// Until it has said what it has loaded.
    pub(super) loading: Option<Later>,
}

/// How a plugin stands.
pub(in crate::engine) enum State {
    /// No process, and why.
    Absent(String),
    /// A process that is loading, or opening its configuration.
    Starting(Handle, Option<About>),
    /// Ready for calls.
    Ready(Handle, About),
}

/// Tells a file from its replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

/// The number of a plugin that has none of its own.
const DEFAULT_NUMBER: u8 = 50;
impl FileId {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            size: meta.size(),
        })
    }
}

impl Plugin {
    /// A plugin that can't be used fails the backup, unless the configuration says otherwise.
    pub(in crate::engine) fn required(&self) -> bool {
        self.config.required.unwrap_or(true) && !self.observes
    }

    /// Nobody's backup waits for it.
    pub(in crate::engine) fn observes(&self) -> bool {
        self.observes
    }

    pub(super) fn is_among(&self, whose: Whose) -> bool {
        match whose {
            Whose::Holders => !self.observes,
            Whose::Observers => self.observes,
            Whose::Everybodys => true,
        }
    }

    pub(super) fn enabled(&self) -> bool {
        self.default.enabled(&self.config)
    }

    pub(in crate::engine) fn number(&self) -> u8 {
        let own = match &self.state {
            State::Ready(_, about) | State::Starting(_, Some(about)) => about.number,
            State::Absent(_) | State::Starting(_, None) => None,
        };
        self.config.number.or(own).unwrap_or(DEFAULT_NUMBER)
    }

    pub(in crate::engine) fn ready(&self) -> Option<(&Handle, &About)> {
        match &self.state {
            State::Ready(handle, about) => Some((handle, about)),
            State::Absent(_) | State::Starting(..) => None,
        }
    }

    pub(super) fn handle(&self) -> Option<&Handle> {
        match &self.state {
            State::Ready(handle, _) | State::Starting(handle, _) => Some(handle),
            State::Absent(_) => None,
        }
    }

    /// Nobody knows which of its planned sub-steps it has started.
    pub(in crate::engine) fn may_owe_all_it_planned(&mut self) {
        let unknown: Vec<String> = self.planned.iter().filter(|name| !self.owed.contains(name)).cloned().collect();
        self.owed.extend(unknown);
        self.owed_by = self.generation;
    }

    /// Was its file replaced since its process was started? A file that is gone altogether counts as replaced.
    pub(super) fn replaced(&self) -> bool {
        self.handle().is_some() && FileId::of(&self.file) != self.loaded
    }

    /// Its process is not wanted any more. One that holds something is not killed: it lets go by itself when its socket closes.
    pub(super) fn let_go(&mut self, why: &str) {
        if let Some(handle) = self.handle().filter(|_| self.observes) {
            handle.kill("it is to be started anew");
        }
        self.state = State::Absent(why.to_owned());
        self.generation += 1;
    }
}
