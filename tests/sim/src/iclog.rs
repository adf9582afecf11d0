//! The record of what went over the wire: every message both ways with its instant, and what the simulated kernel had to say.
//!
//! Kept in memory for who asks over the control socket, and appended to a file if one is named. That file must not lie on a filesystem
//! that is going to be frozen.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use hv_vss_platform::clock;
use serde::{Deserialize, Serialize};

use crate::ic;

/// One line of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, on the machine's monotonic clock, in nanoseconds.
    pub at_ns: u64,
    /// What it was about.
    #[serde(flatten)]
    pub event: Event,
}

/// What can be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The host sent a message.
    ToGuest {
        /// The transport's id, which an answer carries too.
        xactid: u64,
        /// In a word.
        name: String,
        /// All of it.
        hex: String,
    },
    /// The guest answered one.
    ToHost {
        /// The transport's id.
        xactid: u64,
        /// In a word.
        name: String,
        /// The status field.
        status: u32,
        /// All of it.
        hex: String,
    },
    /// A filesystem was really frozen.
    Frozen {
        /// Where it is mounted.
        on: String,
    },
    /// A filesystem was really thawed.
    Thawed {
        /// Where it is mounted.
        on: String,
    },
    /// The simulated kernel remarks something.
    Note {
        /// What.
        text: String,
    },
    /// A debug kernel would have stopped here.
    Panic {
        /// Why.
        text: String,
    },
}

pub(crate) struct IcLog {
    kept: Mutex<Vec<Entry>>,
    file: Option<File>,
}

impl IcLog {
    pub(crate) fn to(path: Option<&Path>) -> Result<Self, String> {
        let open = |path: &Path| {
            File::create(path).map_err(|error| format!("can't create the log {}: {error}", path.display()))
        };
        Ok(Self { kept: Mutex::default(), file: path.map(open).transpose()? })
    }

    pub(crate) fn add(&self, event: Event) {
        let entry = Entry { at_ns: clock::now().as_ns(), event };
        if let (Some(mut file), Ok(mut line)) = (self.file.as_ref(), serde_json::to_string(&entry)) {
            line.push('\n');
            // A log that can't be written must not stop the simulated kernel; the record in memory is the one tests read.
            let _ = file.write_all(line.as_bytes());
        }
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(entry);
    }

    pub(crate) fn note(&self, text: impl Into<String>) {
        self.add(Event::Note { text: text.into() });
    }

    pub(crate) fn sent_to_guest(&self, xactid: u64, bytes: &[u8]) {
        self.add(Event::ToGuest { xactid, name: ic::name(bytes), hex: ic::to_hex(bytes) });
    }

    pub(crate) fn sent_to_host(&self, xactid: u64, bytes: &[u8]) {
        let status = ic::Answer::read(bytes).map_or(0, |answer| answer.status);
        self.add(Event::ToHost { xactid, name: ic::name(bytes), status, hex: ic::to_hex(bytes) });
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
