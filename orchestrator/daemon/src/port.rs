//! Where the host's requests come from and our answers go to: the driver's node, or, in the harness, somebody who plays the driver.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use hv_vss_device::{AnswerError, Device, Driver, Message, Verdict};

/// One end of the conversation with the driver. Clone it freely: all clones are one.
#[derive(Clone)]
pub enum Port {
    /// The driver's node.
    Node(Arc<Device>),
    /// No driver is behind it.
    Played(Rc<PlayedDriver>),
}

/// Plays the driver.
pub struct PlayedDriver {
    /// Which one.
    pub driver: Driver,
    /// Takes an answer.
    pub answer: TakesAnswer,
}

/// Takes an answer, as the driver's WRITE does.
pub type TakesAnswer = Box<dyn Fn(&Message, Verdict) -> Result<(), AnswerError>>;

impl Port {
    /// Which driver is behind it.
    #[must_use]
    pub fn driver(&self) -> Driver {
        match self {
            Self::Node(device) => device.driver(),
            Self::Played(played) => played.driver,
        }
    }

    /// The node's path, for sentences.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Node(device) => device.path(),
            Self::Played(_) => "a played driver",
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// As [`Device::answer`].
    pub fn answer(&self, request: &Message, verdict: Verdict) -> Result<(), AnswerError> {
        match self {
            Self::Node(device) => device.answer(request, verdict),
            Self::Played(played) => (played.answer)(request, verdict),
        }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}
