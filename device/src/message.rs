//! A request of the host, as the driver hands it over, and the two answers to it.

use hv_vss_types::Operation;

/// One request. It must be answered with the same operation and id: the driver in base asserts that they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the host asks for, as a number; [`Operation::from`] names it.
    pub operation: u32,
    /// 0 in a request.
    pub status: u32,
    /// The wall clock in nanoseconds at the moment the kernel took the request from the host.
    pub msgid: u64,
}

impl Message {
    /// What the host asks for.
    #[must_use]
    pub fn asks_for(&self) -> Operation {
        self.operation.into()
    }
}
