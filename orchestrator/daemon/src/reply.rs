//! The obligation to answer one host request.

use hv_vss_device::{AnswerError, Message, Verdict};

use crate::port::Port;

/// Answer it once; drop it and it answers *fail*, so that neither an early return nor a panic can leave the host waiting.
#[must_use = "dropping this tells the host that the request failed"]
pub struct Reply {
    port: Port,
    request: Message,
    answered: bool,
}

impl Reply {
    /// The obligation that reading `request` from `port` has brought upon us.
    pub fn owed(port: Port, request: Message) -> Self {
        Self { port, request, answered: false }
    }

    /// Tells the host.
    ///
    /// # Errors
    /// [`AnswerError::TooLate`] when the driver had given up on the request: the host has heard a failure. Only our driver tells; with the one in
    /// base, success proves nothing.
    pub fn answer(mut self, verdict: Verdict) -> Result<(), AnswerError> {
        self.answered = true;
        self.port.answer(&self.request, verdict)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.answered {
            // Nobody is left to tell if this fails; the driver's own limit then answers the host.
            let _ = self.port.answer(&self.request, Verdict::Fail);
        }
    }
}
