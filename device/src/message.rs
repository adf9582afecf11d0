//! A request of the host, as the driver hands it over, and the two answers to it.

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

/// What a host can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Could a freeze succeed?
    Check,
    /// Bring everything to rest.
    Freeze,
    /// Let go.
    Thaw,
    /// A number this program doesn't know.
    Unknown(u32),
}

/// How a request ended: all that the host learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was done.
    Success,
    /// It was not done.
    Fail,
}

impl From<u32> for Operation {
    fn from(number: u32) -> Self {
        match number {
            1 => Self::Check,
            2 => Self::Freeze,
            3 => Self::Thaw,
            unknown => Self::Unknown(unknown),
        }
    }
}

impl Message {
    /// What the host asks for.
    #[must_use]
    pub fn asks_for(&self) -> Operation {
        self.operation.into()
    }
}

impl Verdict {
    /// As the driver wants it.
    pub(crate) const fn status(self) -> u32 {
        match self {
            Self::Success => 0,
            Self::Fail => 1,
        }
    }
}
