//! The request that is to be answered. The driver has one at a time.

use hv_vss_types::Monotonic;

use super::Look;
use crate::machine::Machine;
use crate::pool::Pool;
use crate::pools::Number;
use crate::protocol::{Message, Request, Status};
use crate::settings::Settings;

/// What its answer waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    Nothing,
    /// A look at the disk.
    Look(Look),
    /// A change is written, up to this number.
    Write(Pool, Number),
    /// The script may begin.
    Script(Settings),
    /// The script ends.
    Running,
}

#[derive(Debug)]
pub(super) struct Outstanding {
    message: Message,
    pub(super) machine: Machine,
    not_before: Monotonic,
    by: Monotonic,
    waits: Waits,
    /// What is answered, if that is a status.
    settled: Option<Status>,
}

impl Outstanding {
    pub(super) fn new(message: Message, machine: Machine, not_before: Monotonic) -> Self {
        Self { message, machine, not_before, by: not_before, waits: Waits::Nothing, settled: None }
    }

    pub(super) fn request(&self) -> Request {
        self.message.request()
    }

    pub(super) fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Its answer waits for this, until then at the most.
    pub(super) fn waits_for(&mut self, waits: Waits, by: Monotonic) {
        if matches!(waits, Waits::Script(_)) {
            self.settled = Some(Status::Failed);
        }
        self.waits = waits;
        self.by = by;
    }

    pub(super) fn waits_no_more(&mut self) {
        self.waits = Waits::Nothing;
    }

    /// Its script begins now, if it waits for that.
    pub(super) fn script_begins(&mut self) -> Option<Settings> {
        match std::mem::replace(&mut self.waits, Waits::Running) {
            Waits::Script(settings) => Some(settings),
            other => {
                self.waits = other;
                None
            }
        }
    }

    /// The answer is this status.
    pub(super) fn is_settled(&mut self, status: Status) {
        self.settled = Some(status);
    }

    pub(super) fn settled(&self) -> Option<Status> {
        self.settled
    }

    pub(super) fn wants_the_disk(&self) -> bool {
        matches!(self.waits, Waits::Look(_) | Waits::Write(..) | Waits::Script(_))
    }

    /// When it is answered, if nothing comes in between.
    pub(super) fn due(&self) -> Monotonic {
        if self.waits == Waits::Nothing { self.not_before } else { self.by.max(self.not_before) }
    }

    pub(super) fn into_message(self) -> Message {
        self.message
    }
}
